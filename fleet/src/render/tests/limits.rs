//! A render that loops, balloons or dies ends alone; the next one is good.
use std::{process::Command, time::Duration};

use super::*;

async fn next_is_good(workers: &Workers) {
    for _ in 0..3 {
        let rendered = workers
            .render(&plain(&["a.yaml"]), memory(&[("a.yaml", CONFIG_MAP)]))
            .await
            .unwrap();
        assert_eq!(names(&rendered), ["one"]);
    }
}

#[tokio::test]
async fn a_template_that_loops_reaches_the_time_limit_alone() {
    let workers = pool(|config| config.time_max = Duration::from_millis(700)).await;
    let loops = chart("{{ range until 30000 }}{{ range until 30000 }}{{ end }}{{ end }}");
    let failure = workers
        .render(&helm("c", serde_json::json!({})), loops)
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::RenderTimeout, "{failure}");
    next_is_good(&workers).await;
}

/// THREATS 1.2: CVE-2022-31016, CVE-2023-40584.
#[tokio::test]
async fn threat_cve_2022_31016_a_template_that_balloons_reaches_the_memory_limit_alone() {
    let workers = pool(|config| config.memory_bytes_max = 256 << 20).await;
    let balloon = chart("{{ $s := repeat 1048576 \"x\" }}{{ range until 4000 }}{{ $s }}{{ end }}");
    let failure = workers
        .render(&helm("c", serde_json::json!({})), balloon)
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::RenderMemory, "{failure}");
    next_is_good(&workers).await;
}

/// Kills the worker while it waits for a file.
struct Killing(u32);

impl Files for Killing {
    fn stat(&self, _: &str) -> Result<Stat, FilesFault> {
        let status = Command::new("kill")
            .args(["-9", &self.0.to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        Ok(Stat::Absent)
    }
    fn read(&self, _: &str) -> Result<bytes::Bytes, FilesFault> {
        unreachable!("nothing is there")
    }
    fn list(&self, _: &str) -> Result<Vec<FolderEntry>, FilesFault> {
        unreachable!("nothing is there")
    }
}

#[tokio::test]
async fn a_worker_that_dies_fails_its_render_alone() {
    let workers = pool(|config| config.workers = 1).await;
    let pid = workers.pids()[0];
    let failure = workers
        .render(&plain(&["a.yaml"]), Arc::new(Killing(pid)))
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::RenderCrashed, "{failure}");
    assert!(failure.code.is_fault());
    next_is_good(&workers).await;
    assert_ne!(workers.pids(), [pid]);
}

#[tokio::test]
async fn a_dropped_render_gives_its_place_back() {
    let workers = pool(|config| config.workers = 1).await;
    let loops = chart("{{ range until 30000 }}{{ range until 30000 }}{{ end }}{{ end }}");
    let dropped = tokio::time::timeout(
        Duration::from_millis(200),
        workers.render(&helm("c", serde_json::json!({})), loops),
    )
    .await;
    assert!(dropped.is_err());
    next_is_good(&workers).await;
}

#[tokio::test]
async fn a_worker_is_replaced_after_its_share_of_renders() {
    let workers = pool(|config| {
        config.workers = 1;
        config.renders_per_worker = 2;
    })
    .await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        let rendered = workers
            .render(&plain(&["a.yaml"]), memory(&[("a.yaml", CONFIG_MAP)]))
            .await
            .unwrap();
        ids.push(rendered.worker);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
}

#[tokio::test]
async fn a_worker_inherits_nothing() {
    let workers = pool(|config| config.workers = 1).await;
    let pid = workers.pids()[0];
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let mut variables: Vec<&str> = environment
        .split_terminator('\0')
        .filter_map(|variable| variable.split('=').next())
        .collect();
    variables.sort_unstable();
    assert_eq!(
        variables,
        ["GOMAXPROCS", "GOMEMLIMIT", "HOME", "PATH", "TMPDIR"]
    );
    let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
}

#[tokio::test]
async fn a_program_that_is_no_renderer_is_not_used() {
    for program in ["/bin/true", "/nonexistent/renderer"] {
        let failure = Workers::start(Config::new(program, Launcher::Unconfined))
            .await
            .unwrap_err();
        assert_eq!(failure.code, Code::RenderUnavailable, "{failure}");
    }
}

/// Answers everything by ending the conversation in the middle of a frame.
const RUDE: &str = "#!/bin/sh\n# hello, then half a frame\nprintf '\\003\\012\\001\\012' >&0\n";

#[tokio::test]
async fn a_worker_that_breaks_the_protocol_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("rude");
    std::fs::write(&program, RUDE).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&program, mode).unwrap();
    let failure = Workers::start(Config::new(&program, Launcher::Unconfined))
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::RenderUnavailable, "{failure}");
}
