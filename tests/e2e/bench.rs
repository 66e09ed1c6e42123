//! The benchmarks run, and their report says what a report must say. Their numbers mean nothing here.

use countersign_tests::program;
use serde_json::Value;

/// What each result has.
const FIELDS: [&str; 10] = [
    "name",
    "value",
    "unit",
    "p50",
    "p95",
    "runs",
    "compared_with",
    "ratio",
    "target",
    "met",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_benchmark_runs_and_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let table = folder.path().join("report.md");
    let bench = tokio::task::spawn_blocking(|| program::path("countersign-bench"))
        .await
        .unwrap()
        .unwrap();
    let output = tokio::process::Command::new(&bench)
        .arg("--quick")
        .arg("--report")
        .arg(&report)
        .arg("--markdown")
        .arg(&table)
        .env(program::BUILT, bench.parent().unwrap())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let read: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let results = read["results"].as_array().unwrap();
    for result in results {
        for field in FIELDS {
            assert!(result.get(field).is_some(), "{result} has no {field}");
        }
    }
    for begin in [
        "floor:",
        "push to live: app of 10 ",
        "drift to healed",
        "initial sync:",
        "memory: agent, 0 ",
        "memory: hub, ",
        "idle: agent",
        "commit that touches nothing: hub",
    ] {
        let there = |result: &Value| result["name"].as_str().unwrap().starts_with(begin);
        assert!(results.iter().any(there), "no result begins with {begin:?}");
    }
    for begin in [
        "commit that touches nothing: requests",
        "commit that touches nothing: new states",
    ] {
        let result = results
            .iter()
            .find(|result| result["name"].as_str().unwrap().starts_with(begin))
            .unwrap();
        assert_eq!(result["met"], true, "holds on any machine: {result}");
    }
    let table = std::fs::read_to_string(table).unwrap();
    assert_eq!(table.lines().count(), results.len() + 2);
}
