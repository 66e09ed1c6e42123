//! Tests through real worker processes. The renderer is built once a run, or named by `COUNTERSIGN_RENDERER`.
mod limits;
mod sandbox;
mod worker;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Builds a package of the renderer's module into `target/tools`; fast if nothing changed.
fn build(package: &str, name: &str) -> PathBuf {
    let program = root().join("target/tools").join(name);
    let status = Command::new("go")
        .args(["build", "-ldflags=-s -w", "-o"])
        .arg(&program)
        .arg(package)
        .current_dir(root().join("hub/renderer"))
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-trimpath")
        .status()
        .unwrap();
    assert!(status.success(), "go build {package}: {status}");
    program.canonicalize().unwrap()
}

/// The renderer's program.
pub(crate) fn renderer() -> &'static Path {
    static RENDERER: OnceLock<PathBuf> = OnceLock::new();
    RENDERER.get_or_init(|| match std::env::var_os("COUNTERSIGN_RENDERER") {
        Some(path) => PathBuf::from(path),
        None => build(".", "countersign-renderer"),
    })
}

/// A pool of unconfined workers.
pub(crate) async fn pool(change: impl FnOnce(&mut Config)) -> Workers {
    let mut config = Config::new(renderer(), Launcher::Unconfined);
    change(&mut config);
    Workers::start(config).await.unwrap()
}

fn request(how: How) -> RenderRequest {
    RenderRequest {
        how,
        kubernetes_version: "v1.35.4".to_owned(),
        api_versions: vec!["apps/v1".to_owned()],
    }
}

fn plain(files: &[&str]) -> RenderRequest {
    request(How::Plain {
        files: files.iter().map(|file| (*file).to_owned()).collect(),
    })
}

fn helm(folder: &str, values: serde_json::Value) -> RenderRequest {
    let serde_json::Value::Object(values) = values else {
        panic!("values are a map")
    };
    request(How::Helm(Helm {
        chart: Chart::Folder(folder.to_owned()),
        values: vec![Values::Inline(values)],
        release_name: "cart".to_owned(),
        namespace: "shop".to_owned(),
        dependencies: Vec::new(),
    }))
}

/// A chart with one template.
fn chart(template: &str) -> Arc<dyn Files> {
    memory(&[
        (
            "c/Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        ),
        ("c/templates/a.yaml", template),
    ])
}

fn memory(files: &[(&str, &str)]) -> Arc<dyn Files> {
    Arc::new(MemoryFiles::new(files.iter().map(|(path, content)| {
        ((*path).to_owned(), content.as_bytes().to_vec())
    })))
}

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n";

fn names(rendered: &Rendered) -> Vec<&str> {
    rendered
        .objects
        .iter()
        .map(|object| object.json["metadata"]["name"].as_str().unwrap())
        .collect()
}
