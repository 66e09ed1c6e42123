//! The sandbox, from inside: this test program stands in for hub and CLI as the launcher.
use std::ffi::OsString;

use super::*;

const LAUNCHER: &str = "render::tests::sandbox::becomes_the_program_that_it_is_told";

/// Not a test of its own: started by the others with a program's path as last argument, it becomes that program.
#[test]
fn becomes_the_program_that_it_is_told() {
    if let Some(path) = std::env::args()
        .next_back()
        .filter(|last| last.starts_with('/'))
        && std::env::args().any(|argument| argument == LAUNCHER)
    {
        panic!(
            "{}",
            crate::render::sandbox::enter_and_exec(Path::new(&path))
        );
    }
}

fn arguments() -> Vec<OsString> {
    ["--exact", "--nocapture", "--test-threads=1", LAUNCHER]
        .map(OsString::from)
        .to_vec()
}

#[test]
fn in_the_sandbox_there_are_no_files_no_network_and_no_programs() {
    let probe = build("./internal/sandboxprobe", "sandboxprobe");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(arguments())
        .arg(&probe)
        .current_dir(folder.path())
        .env_clear()
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for attempt in [
        "read /etc/passwd: ",
        "a Unix socket: ",
        "connect by TCP: ",
        "run a program: ",
    ] {
        assert!(told.contains(attempt), "{told}");
    }
    assert!(!told.contains("<nil>"), "{told}");
}

#[tokio::test]
async fn a_worker_in_the_sandbox_renders() {
    let launcher = Launcher::Sandbox {
        program: std::env::current_exe().unwrap(),
        arguments: arguments(),
    };
    let workers = pool(|config| config.launcher = launcher).await;
    let files = chart("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n");
    let rendered = workers
        .render(&helm("c", serde_json::json!({})), files)
        .await
        .unwrap();
    assert_eq!(names(&rendered), ["cart"]);
    for pid in workers.pids() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(
            status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"),
            "{status}"
        );
    }
}

#[test]
fn a_renderer_that_is_not_there_is_said_so() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(arguments())
        .arg("/nonexistent/renderer")
        .output()
        .unwrap();
    assert!(!output.status.success());
}
