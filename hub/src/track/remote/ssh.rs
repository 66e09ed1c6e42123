//! OpenSSH's own `ssh`, run with fixed arguments: no configuration file, no agent, no password, no forwarding, host keys
//! strictly checked against one file. What varies are user, host, port and path, all checked by the URL's parser.

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::track::limits::CONNECT_TIMEOUT;
use crate::track::remote::Wire;
use crate::track::trouble::Trouble;
use crate::track::url::SshUrl;

/// Bytes of ssh's error text that are looked at.
const STDERR_BYTES_MAX: u64 = 8 << 10;

/// What a remote is opened with.
#[derive(Debug, Clone)]
pub struct SshAuth {
    /// `ssh`, absolute.
    pub program: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Host keys that are trusted.
    pub known_hosts: PathBuf,
}

/// One `ssh` process at a time.
pub struct SshWire {
    url: SshUrl,
    auth: SshAuth,
    running: Option<Running>,
}

struct Running {
    child: Arc<Mutex<Child>>,
    input: Option<ChildStdin>,
    output: ChildStdout,
    errors: Option<ChildStderr>,
    /// Dropped when the process is no longer needed, which ends its watchdog.
    _watchdog: Sender<()>,
}

impl SshWire {
    /// Starts nothing yet.
    #[must_use]
    pub const fn new(url: SshUrl, auth: SshAuth) -> Self {
        Self {
            url,
            auth,
            running: None,
        }
    }

    fn start(&mut self, deadline: Instant) -> Result<&mut Running, Trouble> {
        self.close();
        let mut child = Command::new(&self.auth.program)
            .args(arguments(&self.url, &self.auth))
            .env_clear()
            .env("GIT_PROTOCOL", "version=2")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Trouble::SourceInvalid {
                field: "ssh-program",
                problem: format!("can't be started ({})", error.kind()),
            })?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Trouble::MirrorFault {
                reason: "ssh started without pipes".into(),
            });
        };
        let child = Arc::new(Mutex::new(child));
        let watchdog = watch(Arc::clone(&child), deadline);
        Ok(self.running.insert(Running {
            child,
            input: Some(input),
            output,
            errors: Some(errors),
            _watchdog: watchdog,
        }))
    }

    fn unreachable(&self, reason: &str) -> Trouble {
        Trouble::Unreachable {
            host: self.url.host.clone(),
            reason: reason.into(),
        }
    }
}

/// Kills the process at the deadline, so that a silent host can't hold a fetch for ever.
fn watch(child: Arc<Mutex<Child>>, deadline: Instant) -> Sender<()> {
    let (sender, ended) = channel::<()>();
    std::thread::spawn(move || {
        let left = deadline.saturating_duration_since(Instant::now());
        if ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        }
    });
    sender
}

/// All arguments of `ssh`, in order.
#[must_use]
pub fn arguments(url: &SshUrl, auth: &SshAuth) -> Vec<OsString> {
    let option = |name: &str, value: &std::path::Path| {
        let mut text = OsString::from(format!("{name}="));
        text.push(value);
        text
    };
    let mut arguments: Vec<OsString> = vec![
        "-F".into(),
        "/dev/null".into(),
        "-T".into(),
        "-x".into(),
        "-a".into(),
        "-i".into(),
    ];
    arguments.push(auth.key.clone().into_os_string());
    let fixed = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "VerifyHostKeyDNS=no",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "PreferredAuthentications=publickey",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "ProxyCommand=none",
        "ControlMaster=no",
        "ControlPath=none",
        "EscapeChar=none",
        "ServerAliveInterval=10",
        "ServerAliveCountMax=3",
        "SendEnv=GIT_PROTOCOL",
        "LogLevel=ERROR",
    ];
    for text in fixed {
        arguments.extend(["-o".into(), text.into()]);
    }
    arguments.extend(["-o".into(), option("UserKnownHostsFile", &auth.known_hosts)]);
    arguments.extend([
        "-o".into(),
        format!("ConnectTimeout={}", CONNECT_TIMEOUT.as_secs()).into(),
    ]);
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    arguments.extend([
        "-p".into(),
        url.port.to_string().into(),
        "-l".into(),
        url.user.clone().into(),
    ]);
    arguments.extend([
        "--".into(),
        host.into(),
        format!("git-upload-pack '{}'", url.path).into(),
    ]);
    arguments
}

impl Wire for SshWire {
    fn greet(&mut self, deadline: Instant) -> Result<Box<dyn Read + '_>, Trouble> {
        let running = self.start(deadline)?;
        Ok(Box::new(&mut running.output))
    }

    fn ask(&mut self, request: Vec<u8>, _deadline: Instant) -> Result<Box<dyn Read + '_>, Trouble> {
        let sent = match &mut self.running {
            Some(Running {
                input: Some(input), ..
            }) => input.write_all(&request).and_then(|()| input.flush()),
            Some(Running { input: None, .. }) | None => {
                return Err(self.unreachable("no connection"));
            }
        };
        if let Err(error) = sent {
            return Err(self.explain(error));
        }
        let host = &self.url.host;
        match &mut self.running {
            Some(running) => Ok(Box::new(&mut running.output)),
            None => Err(Trouble::Unreachable {
                host: host.clone(),
                reason: "no connection".into(),
            }),
        }
    }

    fn stateless(&self) -> bool {
        false
    }

    fn close(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.input.take());
            let mut child = running.child.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `ssh` says why only in its error text and with exit code 255; that text is classified here, once.
    fn explain(&mut self, _error: io::Error) -> Trouble {
        let host = self.url.host.clone();
        let Some(running) = &mut self.running else {
            return Trouble::Unreachable {
                host,
                reason: "no connection".into(),
            };
        };
        drop(running.input.take());
        let mut said = Vec::new();
        if let Some(errors) = running.errors.take() {
            let _ = errors.take(STDERR_BYTES_MAX).read_to_end(&mut said);
        }
        let code = {
            let mut child = running.child.lock().unwrap_or_else(PoisonError::into_inner);
            child.wait().ok().and_then(|status| status.code())
        };
        self.close();
        classify(host, code, &String::from_utf8_lossy(&said))
    }

    fn host(&self) -> &str {
        &self.url.host
    }
}

impl Drop for SshWire {
    fn drop(&mut self) {
        self.close();
    }
}

fn classify(host: String, code: Option<i32>, said: &str) -> Trouble {
    if said.contains("Host key verification failed")
        || said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED")
    {
        return Trouble::HostUntrusted {
            host,
            reason: "its host key is not the one in the known-hosts file".into(),
        };
    }
    if said.contains("Permission denied") {
        return Trouble::AccessDenied {
            host,
            detail: "the key was refused".into(),
        };
    }
    match code {
        Some(255) => Trouble::Unreachable {
            host,
            reason: "ssh could not connect".into(),
        },
        Some(code) => Trouble::AccessDenied {
            host,
            detail: format!("git-upload-pack ended with {code}"),
        },
        None => Trouble::Unreachable {
            host,
            reason: "no answer in time".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::url::Source;

    fn auth() -> SshAuth {
        SshAuth {
            program: "/usr/bin/ssh".into(),
            key: "/keys/id".into(),
            known_hosts: "/keys/known_hosts".into(),
        }
    }

    #[test]
    fn nothing_of_the_url_stands_where_an_option_could() {
        let Ok(Source::Ssh(url)) = Source::parse(
            "deploy@git.example.org:acme/fleet.git",
            std::path::Path::new("/"),
        ) else {
            unreachable!()
        };
        let arguments = arguments(&url, &auth());
        let end = arguments
            .iter()
            .position(|argument| argument == "--")
            .unwrap();
        assert_eq!(
            arguments[end + 1..],
            [
                OsString::from("git.example.org"),
                OsString::from("git-upload-pack 'acme/fleet.git'")
            ]
        );
        assert_eq!(arguments[end - 1], "deploy");
        assert!(arguments.contains(&"StrictHostKeyChecking=yes".into()));
        assert!(arguments.contains(&"UserKnownHostsFile=/keys/known_hosts".into()));
    }

    #[test]
    fn ssh_failures_are_told_apart() {
        let code = |code, said: &str| classify("h".into(), code, said).code();
        assert_eq!(
            code(Some(255), "Host key verification failed."),
            "HOST_UNTRUSTED"
        );
        assert_eq!(
            code(Some(255), "git@h: Permission denied (publickey)."),
            "ACCESS_DENIED"
        );
        assert_eq!(
            code(Some(255), "connect to host h port 22: Connection refused"),
            "UNREACHABLE"
        );
        assert_eq!(code(Some(128), "fatal: not a repository"), "ACCESS_DENIED");
        assert_eq!(code(None, ""), "UNREACHABLE");
    }
}
