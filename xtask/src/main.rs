mod codegen;
fn main() -> anyhow::Result<()> {
    codegen::run(
        std::path::Path::new("."),
        std::env::args().any(|arg| arg == "--check"),
    )
}
