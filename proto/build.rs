//! Generates the wire's types with protox, so that no protoc has to be installed.
use prost::Message as _;

const FILES: [&str; 3] = [
    "agent/v1/agent.proto",
    "courier/v1/courier.proto",
    "renderer/v1/renderer.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
