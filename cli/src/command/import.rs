//! `countersign import`: what a cluster without a network countersigned goes into the log.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_fleet::api::ReportTaken;
use countersign_proto::courier::v1 as courier;
use countersign_proto::limits::REPORT_FILE_BYTES_MAX;
use countersign_proto::parcel::{Kind, Reader};
use prost::Message as _;

use super::wait;
use crate::args::HubArgs;
use crate::exit::{CODES, Failure};
use crate::hub::{Hub, part, query};
use crate::output::safe;

/// Arguments.
#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Bring an agent's report to the hub: its receipts and drift records go into the log.
    #[command(after_help = format!("\
Examples:
  countersign import receipts stick/metal-fra.report
  countersign import receipts stick/metal-fra.report --admit sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

The agent writes the file into its --export-dir. The proofs go back with the next `countersign export --since` the same
file. The first time a person admits the agent by its key's digest, which it says in its own log: compare the two.

{CODES}"))]
    Receipts {
        /// The report.
        file: PathBuf,
        /// SHA-256 of the agent's receipt key: it is registered for its cluster.
        #[arg(long, value_name = "DIGEST")]
        admit: Option<String>,
        #[command(flatten)]
        hub: HubArgs,
    },
}

/// Runs it.
pub fn run(args: &ImportArgs) -> Result<(), Failure> {
    let What::Receipts { file, admit, hub } = &args.what;
    let hub = Hub::from_args(hub)?;
    let mistake = |why: &dyn std::fmt::Display| {
        Failure::Mistake(format!("{}: {why}", safe(&file.display().to_string())))
    };
    let about = std::fs::metadata(file).map_err(|error| Failure::file(file, &error))?;
    if about.len() > REPORT_FILE_BYTES_MAX as u64 {
        return Err(mistake(&"is larger than any report"));
    }
    let bytes = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
    let mut reader = Reader::new(&bytes[..]).map_err(|error| mistake(&error))?;
    let header = match reader.frame().map_err(|error| mistake(&error))? {
        Some((Kind::Report, content)) => courier::ReportHeader::decode(&content[..])
            .map_err(|_| mistake(&"has a header that can't be read"))?,
        _ => return Err(mistake(&"is no report of an agent")),
    };
    let name = part("cluster", &header.cluster)?;
    let admit = admit
        .as_ref()
        .map_or_else(String::new, |admit| format!("?admit={}", query(admit)));
    let path = format!("/api/v1/clusters/{name}/report{admit}");
    let taken: ReportTaken = wait(hub.upload(&path, bytes.into()))?;
    if taken.registered {
        println!(
            "{}: an agent with the key sha256:{} is registered",
            safe(&taken.cluster),
            safe(&taken.key)
        );
    }
    println!(
        "{}: {} receipts and drift records; the next one is {}",
        safe(&taken.cluster),
        taken.receipts,
        taken.next_seq
    );
    if taken.refused_code.is_empty() {
        Ok(())
    } else {
        Err(Failure::Negative(format!(
            "the hub does not take one: {} ({})",
            safe(&taken.refused),
            safe(&taken.refused_code)
        )))
    }
}
