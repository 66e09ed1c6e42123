//! Ends what this process started when it dies without a chance to do so itself (a kill, a crash, a time-out of CI).
//!
//! One small shell a process keeps the list of children; our end of its input closes with us, whatever happens, and the
//! shell then kills what is left. Orderly ends take their entry off the list first, so that no reused id is ever hit.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

/// `+ PID` adds, `- PID` takes off, the end of the input kills the rest.
const SCRIPT: &str = r#"
left=" "
while read -r what pid; do
  case "$what" in
    +) left="$left$pid " ;;
    -) left="${left%% "$pid" *} ${left#* "$pid" }" ;;
  esac
done
for pid in $left; do kill -KILL "$pid" 2>/dev/null; done
"#;

struct Watchdog {
    input: ChildStdin,
    // Kept so that the handle isn't dropped; the shell outlives us on purpose.
    _shell: Child,
}

/// Ends `pid` with this process from now on.
pub(crate) fn watch(pid: u32) {
    tell('+', pid);
}

/// Forgets `pid`. Call it before the process is waited for.
pub(crate) fn forget(pid: u32) {
    tell('-', pid);
}

fn tell(what: char, pid: u32) {
    static WATCHDOG: OnceLock<Option<Mutex<Watchdog>>> = OnceLock::new();
    // Without a shell nothing is watched: a net is missing, nothing else.
    if let Some(watchdog) = WATCHDOG.get_or_init(|| start().ok().map(Mutex::new)) {
        let mut watchdog = watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(watchdog.input, "{what} {pid}").and_then(|()| watchdog.input.flush());
    }
}

fn start() -> std::io::Result<Watchdog> {
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0) // a Ctrl-C must not end it before us
        .spawn()?;
    let input = shell.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
    Ok(Watchdog {
        input,
        _shell: shell,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the script as `tell` would feed it and says which of three sleeping processes it ended.
    fn ended_by(lines: impl Fn(&[u32]) -> String) -> Vec<bool> {
        let mut sleepers: Vec<Child> = (0..3)
            .map(|_| Command::new("sleep").arg("600").spawn().unwrap())
            .collect();
        let pids: Vec<u32> = sleepers.iter().map(Child::id).collect();
        let mut dog = start().unwrap();
        dog.input.write_all(lines(&pids).as_bytes()).unwrap();
        let Watchdog {
            input,
            _shell: mut shell,
        } = dog;
        drop(input);
        shell.wait().unwrap();
        // A kill by the shell has been sent by now; ours would come second and not change the signal.
        sleepers
            .iter_mut()
            .map(|sleeper| {
                use std::os::unix::process::ExitStatusExt as _;
                let _ = Command::new("kill")
                    .args(["-TERM", &sleeper.id().to_string()])
                    .status();
                sleeper.wait().unwrap().signal() == Some(9)
            })
            .collect()
    }

    #[test]
    fn kills_what_is_left_and_nothing_that_was_taken_off() {
        assert_eq!(
            ended_by(|p| format!("+ {}\n+ {}\n- {}\n", p[0], p[1], p[0])),
            [false, true, false]
        );
        assert_eq!(
            ended_by(|p| format!("+ {}\n+ {}\n+ {}\n- {}\n", p[0], p[1], p[2], p[1])),
            [true, false, true]
        );
        assert_eq!(
            ended_by(|p| format!("+ {}\n- {}\n", p[2], p[2])),
            [false, false, false]
        );
        assert_eq!(ended_by(|_| String::new()), [false, false, false]);
    }
}
