//! `countersign log fsck`: fetches every file of a log, some ahead, and tells what the check finds.

use std::io::IsTerminal as _;

use bytes::Bytes;
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::fsck::{File, Finding, Fsck, files};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::exit::Failure;
use crate::log::reader::{bundle, tile};
use crate::log::{Fault, Files, Known, KnownArgs, Log, SourceArgs};
use crate::output::{Form, safe, write, write_value};

/// Findings after which the rest is not looked at: such a log is lost, or none.
const FINDINGS_MAX: usize = 10_000;

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    origin: String,
    size: u64,
    root: String,
    sound: bool,
    /// Whether every file was looked at.
    complete: bool,
    findings: Vec<String>,
}

pub(super) fn run(source: &SourceArgs, known: &KnownArgs, form: Form) -> Result<(), Failure> {
    let known = Known::from_args(known)?;
    let files = source.open()?;
    let log = Log::open(files.as_ref(), &known)?;
    let checkpoint = &log.head().checkpoint;
    let (findings, complete) = check(files.as_ref(), checkpoint)?;
    let report = Report {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size,
        root: checkpoint.root.to_string(),
        sound: findings.is_empty() && complete,
        complete,
        findings: findings.iter().map(ToString::to_string).collect(),
    };
    let mut out = std::io::stdout();
    match form {
        Form::Table => write(&mut out, &text(&report))?,
        Form::Json | Form::Yaml => write_value(form, &report, &mut out)?,
    }
    if report.sound {
        return Ok(());
    }
    let (count, more) = (
        report.findings.len(),
        if complete { "" } else { " or more" },
    );
    let place = safe(&log.place());
    Err(Failure::Negative(format!(
        "{place}: {count}{more} things are wrong"
    )))
}

/// All findings, and whether every file was looked at.
fn check(source: &dyn Files, checkpoint: &Checkpoint) -> Result<(Vec<Finding>, bool), Failure> {
    let mut fsck = Fsck::new(checkpoint);
    let mut ahead = files(checkpoint.size);
    let mut found = Vec::new();
    let bar = bar(checkpoint.size);
    loop {
        let batch: Vec<File> = ahead.by_ref().take(source.at_once()).collect();
        if batch.is_empty() {
            break;
        }
        for (file, bytes) in batch.iter().zip(fetch(source, &batch)?) {
            found.extend(fsck.take(bytes.as_deref()));
            if let File::Bundle(id) = file {
                bar.inc(u64::from(id.width));
            }
        }
        if found.len() > FINDINGS_MAX {
            bar.finish_and_clear();
            return Ok((found, false));
        }
    }
    bar.finish_and_clear();
    let verdict = fsck.finish();
    found.extend(verdict.found);
    Ok((found, true))
}

/// The bytes of the files, in their order, fetched at the same time.
fn fetch(source: &dyn Files, batch: &[File]) -> Result<Vec<Option<Bytes>>, Failure> {
    if let [file] = batch {
        return Ok(vec![bytes(source, *file)?]);
    }
    std::thread::scope(|scope| {
        let fetching: Vec<_> = batch
            .iter()
            .map(|file| scope.spawn(|| bytes(source, *file)))
            .collect();
        fetching
            .into_iter()
            .map(|fetched| match fetched.join() {
                Ok(bytes) => Ok(bytes?),
                Err(_) => Err(Failure::Fault("a fetch ended in a bug".to_owned())),
            })
            .collect()
    })
}

fn bytes(source: &dyn Files, file: File) -> Result<Option<Bytes>, Fault> {
    match file {
        File::Bundle(id) => bundle(source, id),
        File::Tile(id) => tile(source, id),
    }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        out.push_str(&format!("{}\n", safe(finding)));
    }
    let (origin, size, root) = (safe(&report.origin), report.size, &report.root);
    if report.sound {
        out.push_str(&format!(
            "{origin}: all {size} entries hash to the signed root {root}; every tile is right.\n"
        ));
    } else if !report.complete {
        out.push_str("Too much is wrong; the rest was not looked at.\n");
    }
    out
}

fn bar(size: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{bar:30} {human_pos} of {human_len} entries, {per_sec}, {eta} left",
    );
    let bar = ProgressBar::new(size);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
