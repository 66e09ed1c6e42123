//! `countersign export`: a cluster's newest state as one file, for an agent that no network reaches.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_fleet::api::ParcelRequest;
use countersign_proto::courier::v1 as courier;
use countersign_proto::parcel::{Kind, ParcelError, Reader};
use prost::Message as _;

use super::wait;
use crate::args::HubArgs;
use crate::exit::{CODES, Failure};
use crate::hub::{Hub, part};
use crate::output::safe;

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign export --cluster metal-fra --out stick/metal-fra.parcel
  countersign export --cluster metal-fra --since stick/metal-fra.report --out stick/metal-fra.parcel

The agent runs with --import-dir and --export-dir; put the file into its import folder under a name that ends in
\".parcel\", when it is whole. It passes the same checks as what comes from a hub. It holds the cluster's Secrets, encrypted
to that cluster's key alone.

With --since it holds what the cluster lacks by its report (or by the parcel that it was given last), and leads on from the
log as the cluster has seen it. Without it the whole chain is in it.

{CODES}"))]
pub struct ExportArgs {
    /// The cluster.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// The cluster's newest report, or the parcel that it took last; may be said often.
    #[arg(long, value_name = "FILE")]
    since: Vec<PathBuf>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    hub: HubArgs,
}

/// Runs it.
pub fn run(args: &ExportArgs) -> Result<(), Failure> {
    let hub = Hub::from_args(&args.hub)?;
    let name = part("cluster", &args.cluster)?;
    let asked = since(&args.cluster, &args.since)?;
    let folder = args.out.parent().filter(|parent| *parent != Path::new(""));
    let scratch = tempfile::Builder::new()
        .prefix(".countersign-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(|error| Failure::file(&args.out, &error))?;
    let mut file = scratch.as_file();
    wait(hub.download(
        &format!("/api/v1/clusters/{name}/parcel"),
        &asked,
        &mut file,
    ))?;
    file.flush()
        .and_then(|()| file.sync_all())
        .map_err(|error| Failure::file(&args.out, &error))?;
    // A hub that broke off leaves no end.
    let read = read(scratch.path())?;
    let Some(header) = read.parcel else {
        return Err(Failure::Fault("what the hub sent is no parcel".to_owned()));
    };
    scratch
        .persist(&args.out)
        .map_err(|error| Failure::file(&args.out, &error.error))?;
    let states = match header.generation - header.from_generation.min(header.generation) {
        0 => "no newer state".to_owned(),
        _ => format!(
            "generations {} to {}",
            header.from_generation + 1,
            header.generation
        ),
    };
    println!(
        "{}: {states}, a log of {} entries, {} bytes: {}",
        safe(&header.cluster),
        header.tree_size,
        read.bytes,
        safe(&args.out.display().to_string())
    );
    Ok(())
}

/// Where the agent stands, by the files that are known of it: the earliest of them.
fn since(cluster: &str, files: &[PathBuf]) -> Result<ParcelRequest, Failure> {
    let (mut from, mut seq) = (None::<u64>, None::<u64>);
    let mut sizes = BTreeSet::new();
    for path in files {
        let read = read(path)?;
        let (said, generation) = match (&read.parcel, &read.report) {
            (Some(parcel), _) => (&parcel.cluster, parcel.generation),
            (None, Some(report)) => (&report.cluster, report.generation),
            (None, None) => return Err(mistake(path, &"has no header")),
        };
        if said != cluster {
            return Err(mistake(path, &format!("is of cluster {}", safe(said))));
        }
        from = Some(from.map_or(generation, |from| from.min(generation)));
        sizes.extend(read.sizes);
        if let Some(report) = &read.report {
            seq = Some(seq.map_or(report.first_seq, |seq| seq.min(report.first_seq)));
        }
    }
    sizes.remove(&0);
    Ok(ParcelRequest {
        from_generation: from.unwrap_or_default(),
        tree_sizes: sizes.into_iter().collect(),
        from_seq: seq.unwrap_or_default(),
    })
}

/// What is read of a file.
#[derive(Debug, Default)]
struct Read {
    parcel: Option<courier::ParcelHeader>,
    report: Option<courier::ReportHeader>,
    /// Sizes of the log that the agent has seen, or sees once it takes the file.
    sizes: Vec<u64>,
    bytes: u64,
}

fn mistake(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::Mistake(format!("{}: {why}", safe(&path.display().to_string())))
}

fn read(path: &Path) -> Result<Read, Failure> {
    let odd = |_| mistake(path, &"holds a message that can't be read");
    let wrong = |error: ParcelError| mistake(path, &error);
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    let mut reader = Reader::new(BufReader::new(file)).map_err(wrong)?;
    let mut read = Read::default();
    while let Some((kind, content)) = reader.frame().map_err(wrong)? {
        match kind {
            Kind::Parcel => {
                let header = courier::ParcelHeader::decode(&content[..]).map_err(odd)?;
                read.sizes.push(header.tree_size);
                read.parcel = Some(header);
            }
            Kind::Report => {
                let header = courier::ReportHeader::decode(&content[..]).map_err(odd)?;
                read.sizes
                    .extend([header.tree_size, header.receipts_tree_size]);
                read.report = Some(header);
            }
            Kind::Answer => {
                let answer = courier::Answer::decode(&content[..]).map_err(odd)?;
                read.sizes.push(answer.tree_size);
            }
            Kind::TrustRoot | Kind::Ways | Kind::Head | Kind::Blob | Kind::Receipt => {}
        }
    }
    read.bytes = reader.position();
    Ok(read)
}
