//! Generates the Go types of `proto/` for the renderer worker, with no protoc installed.
//!
//! protox reads the `.proto` file; `protoc-gen-go`, built from the worker's own module (its `tool` directive pins the
//! version), writes the Go file. The result is committed: `check` compares, so that CI sees a forgotten run.
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use prost::Message as _;
use prost_types::compiler::{CodeGeneratorRequest, CodeGeneratorResponse, Version};

const PROTO: &str = "renderer/v1/renderer.proto";
const GENERATED: &str = "hub/renderer/rendererpb/renderer.pb.go";

/// Writes the generated Go file, or, with `check`, fails if the committed one differs.
///
/// # Errors
/// If a tool is missing, the `.proto` file is wrong, or (`check`) the file is out of date.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let source = generate(root)?;
    let path = root.join(GENERATED);
    if check {
        let committed =
            std::fs::read_to_string(&path).with_context(|| format!("read {GENERATED}"))?;
        ensure!(
            committed == source,
            "{GENERATED} is out of date: run `cargo xtask codegen`"
        );
        return Ok(());
    }
    std::fs::write(&path, source).with_context(|| format!("write {GENERATED}"))
}

fn generate(root: &Path) -> anyhow::Result<String> {
    let descriptors = protox::compile([PROTO], [root.join("proto")]).context("compile .proto")?;
    let request = CodeGeneratorRequest {
        file_to_generate: vec![PROTO.to_owned()],
        parameter: Some("module=countersign.dev/renderer".to_owned()),
        proto_file: descriptors.file,
        compiler_version: Some(Version {
            major: Some(6),
            minor: Some(0),
            patch: Some(0),
            suffix: None,
        }),
    };
    let plugin = build_plugin(root)?;
    let mut child = Command::new(&plugin)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start protoc-gen-go")?;
    child
        .stdin
        .take()
        .context("protoc-gen-go has no input")?
        .write_all(&request.encode_to_vec())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "protoc-gen-go: {}", output.status);
    let response = CodeGeneratorResponse::decode(output.stdout.as_slice())?;
    if let Some(error) = response.error {
        bail!("protoc-gen-go: {error}");
    }
    response
        .file
        .into_iter()
        .find_map(|file| file.content)
        .context("protoc-gen-go wrote no file")
}

fn build_plugin(root: &Path) -> anyhow::Result<PathBuf> {
    // Absolute: go runs in the module's own folder.
    let plugin = root
        .canonicalize()
        .context("find the repository")?
        .join("target/tools/protoc-gen-go");
    let status = Command::new("go")
        .args(["build", "-ldflags=-s -w", "-o"])
        .arg(&plugin)
        .arg("google.golang.org/protobuf/cmd/protoc-gen-go")
        .current_dir(root.join("hub/renderer"))
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-trimpath")
        .status()
        .context("run go")?;
    ensure!(status.success(), "go build protoc-gen-go: {status}");
    Ok(plugin)
}
