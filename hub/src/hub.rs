//! Joins the tasks.
use std::process::ExitCode;
/// x
pub fn sandbox(_arguments: Vec<std::ffi::OsString>) -> ExitCode { ExitCode::FAILURE }
/// x
pub async fn run(_config: crate::config::Config, _stop: tokio_util::sync::CancellationToken) -> Result<(), std::io::Error> { Ok(()) }
