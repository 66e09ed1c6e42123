//! `countersign override list`: what override keys signed, checked, and what became of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use countersign_fleet::api::{Overrides, ProvenEntry};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Override, Statement};
use countersign_ledger::time::Time;
use countersign_ledger::trust::{Roots, VerifiedRoot};
use countersign_ledger::verify::Known;
use countersign_ledger::verify::overrides::{Standing, VerifiedOverride, rejudge, standing};
use jiff::Timestamp;
use serde::Serialize;

use crate::args::HubArgs;
use crate::command::wait;
use crate::entry::{in_log, trust_root};
use crate::exit::{CODES, Failure};
use crate::hub::Hub;
use crate::output::{Form, Style, Table, safe, write, write_value};

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  countersign override list --in-force")]
pub struct OverrideArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List what override keys signed, and what became of it.
    List(ListArgs),
}

/// Arguments of `list`.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign override list
  countersign override list --in-force -o json

Each entry is checked: it is in the log whose key the trust root names, and the person whom it
names signed it. From a copy of the log, with no hub: countersign audit exceptions.

{CODES}"))]
struct ListArgs {
    /// Only what holds now.
    #[arg(long)]
    in_force: bool,
    /// The fleet's trust root: its keys count.
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    trust: PathBuf,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    #[command(flatten)]
    hub: HubArgs,
}

/// Runs it.
pub fn run(args: &OverrideArgs) -> Result<(), Failure> {
    let What::List(args) = &args.what;
    let root = trust_root(&args.trust)?;
    let hub = Hub::from_args(&args.hub)?;
    let found: Overrides = wait(hub.get("/api/v1/overrides"))?;
    let words = found
        .overrides
        .iter()
        .map(|entry| read(&root, entry))
        .collect::<Result<Vec<_>, _>>()?;
    let ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    let mut rows = judged(&root, words, Time::from_ms(ms).unwrap_or_default());
    rows.retain(|row| !args.in_force || row.is_in_force());
    let mut text = Vec::new();
    if args.output == Form::Table {
        text = table(&rows, found.more).into_bytes();
    } else {
        write_value(args.output, &rows, &mut text)?;
    }
    write(&mut std::io::stdout(), &String::from_utf8_lossy(&text))
}

/// A word with its place, which was proven.
struct Word {
    index: u64,
    bytes: Vec<u8>,
    says: Override,
}

fn read(root: &VerifiedRoot, entry: &ProvenEntry) -> Result<Word, Failure> {
    let odd = |problem: &dyn std::fmt::Display| {
        Failure::Negative(safe(&format!("an entry of the hub's: {problem}")))
    };
    let bytes = STANDARD.decode(&entry.envelope).map_err(|e| odd(&e))?;
    let envelope = Envelope::parse(&bytes, &Limits::entry()).map_err(|e| odd(&e))?;
    let entered = in_log(root, entry.proof.as_bytes(), &envelope.leaf_hash())?;
    match Statement::parse(envelope.payload()).map_err(|e| odd(&e))? {
        Statement::Override(says) => Ok(Word {
            index: entered.index,
            bytes,
            says,
        }),
        _ => Err(odd(&"is no override")),
    }
}

/// A word and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    index: u64,
    /// `inForce`, `ended`, `resumed`, `done` (a resume) or `invalid`.
    state: &'static str,
    /// The resume that ended it.
    resumed_by: Option<u64>,
    /// Why it does not count.
    code: Option<&'static str>,
    #[serde(flatten)]
    says: Override,
}

impl Row {
    fn is_in_force(&self) -> bool {
        self.state == "inForce"
    }
}

/// Judges all by the trust root that is at hand. Pure.
fn judged(root: &VerifiedRoot, words: Vec<Word>, now: Time) -> Vec<Row> {
    let roots = Roots::new(root.clone());
    // One of the whole fleet is judged beside those of the whole fleet; one of a cluster beside those too.
    let mut clusters: BTreeMap<Option<String>, Vec<VerifiedOverride>> = BTreeMap::new();
    for scope in words.iter().map(|word| word.says.cluster.clone()) {
        let known = Known::new(scope.as_deref().unwrap_or_default(), roots.clone(), None);
        clusters.entry(scope).or_insert_with_key(|scope| {
            let concerns =
                |word: &&Word| word.says.cluster.is_none() || word.says.cluster == *scope;
            let all = words.iter().filter(concerns);
            all.filter_map(|word| rejudge(&known, &word.bytes, word.index, &RingVerifier).ok())
                .collect()
        });
    }
    let row = |word: Word| {
        let counted = clusters.get(&word.says.cluster);
        let all = counted
            .map(|words| standing(words, now))
            .unwrap_or_default();
        let (state, resumed_by) = match all.get(&word.index) {
            Some((_, Standing::Holds)) if word.says.kind == OverrideKind::Resume => ("done", None),
            Some((_, Standing::Holds)) => ("inForce", None),
            Some((_, Standing::Ended)) => ("ended", None),
            Some((_, Standing::Resumed(by))) => ("resumed", Some(*by)),
            None => ("invalid", None),
        };
        let known = Known::new(
            word.says.cluster.as_deref().unwrap_or_default(),
            roots.clone(),
            None,
        );
        let refused = rejudge(&known, &word.bytes, word.index, &RingVerifier).err();
        Row {
            index: word.index,
            state,
            resumed_by,
            code: refused.map(|refusal| refusal.code()),
            says: word.says,
        }
    };
    words.into_iter().map(row).collect()
}

fn table(rows: &[Row], more: bool) -> String {
    let mut table = Table::new(&[
        "ENTRY", "KIND", "CLUSTER", "APP", "BY", "UNTIL", "STATE", "REASON",
    ]);
    for row in rows {
        let says = &row.says;
        let (state, style) = match (row.state, row.resumed_by, row.code) {
            ("inForce", ..) => ("in force".to_owned(), Style::Open),
            (_, Some(by), _) => (format!("resumed by {by}"), Style::Dim),
            (_, _, Some(code)) => (format!("does not count: {code}"), Style::Bad),
            (state, ..) => (state.to_owned(), Style::Dim),
        };
        let plain = |text: &str| (text.to_owned(), Style::Plain);
        table.row([
            plain(&row.index.to_string()),
            plain(kind(says.kind)),
            plain(says.cluster.as_deref().unwrap_or("all")),
            plain(says.app.as_deref().unwrap_or("all")),
            plain(&says.by),
            plain(&says.until.to_string()),
            (state, style),
            plain(&says.reason),
        ]);
    }
    let mut text = if table.is_empty() {
        "none\n".to_owned()
    } else {
        table.text(false)
    };
    if more {
        text.push_str("older ones are left out: countersign audit exceptions has all\n");
    }
    text
}

fn kind(kind: OverrideKind) -> &'static str {
    match kind {
        OverrideKind::Pause => "pause",
        OverrideKind::Resume => "resume",
        OverrideKind::BreakGlass => "break-glass",
        OverrideKind::Deletion => "deletion",
        OverrideKind::Rewrite => "rewrite",
        OverrideKind::Policies => "policies",
    }
}

#[cfg(test)]
mod tests;
