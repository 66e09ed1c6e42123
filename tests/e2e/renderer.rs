//! The real render worker, and what it makes of this repository's files.

use std::{path::Path, sync::Arc};

use countersign_fleet::render::{
    Chart, Config, Helm, How, Launcher, MemoryFiles, RenderRequest, Values, Workers,
};
use countersign_tests::{tool::Tool, workspace};
use serde_json::Value;

/// Version that is rendered for.
pub(crate) const KUBERNETES: &str = "v1.35.4";

/// A pool of workers.
pub(crate) async fn workers() -> Workers {
    let program = tokio::task::spawn_blocking(|| Tool::Renderer.path())
        .await
        .unwrap()
        .unwrap();
    Workers::start(Config::new(program, Launcher::Unconfined))
        .await
        .unwrap()
}

/// All files below a folder of the repository, by their path in it.
pub(crate) fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![workspace::root().join(folder)];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(workspace::root()).unwrap();
                files.push((
                    name.to_str().unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                ));
            }
        }
    }
    files
}

async fn render(workers: &Workers, how: How, files: MemoryFiles) -> Vec<Value> {
    let request = RenderRequest {
        how,
        kubernetes_version: KUBERNETES.to_owned(),
        api_versions: Vec::new(),
    };
    let rendered = workers.render(&request, Arc::new(files)).await;
    let rendered = rendered.unwrap_or_else(|failure| panic!("{failure}"));
    rendered
        .objects
        .into_iter()
        .map(|object| object.json)
        .collect()
}

/// Objects of YAML, as the worker reads them.
pub(crate) async fn plain(workers: &Workers, yaml: &[u8]) -> Vec<Value> {
    let how = How::Plain {
        files: vec!["case.yaml".to_owned()],
    };
    let files = MemoryFiles::new([("case.yaml", yaml.to_vec())]);
    render(workers, how, files).await
}

/// An install chart with the values of one of its cases, as the release `countersign-<part>` in `countersign`.
pub(crate) async fn chart(workers: &Workers, chart: &str, case: &str) -> Vec<Value> {
    let folder = format!("manifests/{chart}");
    let values = format!("{folder}/ci/{case}-values.yaml");
    assert!(
        Path::new(workspace::root()).join(&values).exists(),
        "{values}"
    );
    let how = How::Helm(Helm {
        chart: Chart::Folder(folder.clone()),
        values: vec![Values::File {
            path: values,
            optional: false,
        }],
        release_name: chart.to_owned(),
        namespace: "countersign".to_owned(),
        dependencies: Vec::new(),
    });
    render(workers, how, MemoryFiles::new(files(&folder))).await
}
