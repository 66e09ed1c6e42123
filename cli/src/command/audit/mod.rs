//! `countersign audit`: an auditor's questions, answered from the signed log.

use clap::{Args, Subcommand};

use crate::exit::Failure;

/// Arguments.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {}

/// Runs it.
pub fn run(args: &AuditArgs, _color: bool) -> Result<(), Failure> {
    match args.what {}
}
