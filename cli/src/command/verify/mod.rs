//! `countersign verify now`: clusters are asked for their signed word, and it is checked before it is shown.

mod word;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use countersign_fleet::api::{VerifyAnswer, VerifyAsked};
use countersign_ledger::trust::VerifiedRoot;
use jiff::SignedDuration;
use serde::Serialize;

use super::wait;
use crate::args::HubArgs;
use crate::entry::trust_root;
use crate::exit::Failure;
use crate::hub::{Hub, part};
use crate::output::{Form, Style, Table, safe, write, write_value};
use word::Word;

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  countersign verify now --all")]
pub struct VerifyArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Ask clusters for a receipt now, and check it.
    Now(NowArgs),
}

/// Arguments of `now`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign verify now --cluster metal-fra
  countersign verify now --all --wait 2m
  countersign verify now --all -o json

Each cluster signs what it runs, with a nonce that was made for this question, so that it can be
no older word. Checked here: the receipt is in the log whose key the trust root names, and the key
that signed it is enrolled there for the cluster.

Exit codes:
  0  all clusters answered
  1  some did not, or an answer does not prove what it says
  2  wrong usage, or a mistake in what was given
  3  a fault: the hub can't be reached; asking again may help")]
struct NowArgs {
    /// The cluster.
    #[arg(long, value_name = "CLUSTER", required_unless_present = "all")]
    cluster: Option<String>,
    /// All clusters that the trust root lists.
    #[arg(long, conflicts_with = "cluster")]
    all: bool,
    /// How long answers are waited for: 30s, 2m; at most 10m.
    #[arg(long = "wait", value_name = "TIME", default_value = "60s")]
    patience: SignedDuration,
    /// The fleet's trust root: its keys count.
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    trust: PathBuf,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    #[command(flatten)]
    hub: HubArgs,
}

/// Between two looks at the hub.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The hub remembers a question for so long.
const PATIENCE_MAX: Duration = Duration::from_secs(600);

/// Runs it.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let What::Now(args) = &args.what;
    let root = trust_root(&args.trust)?;
    let patience = patience(args.patience)?;
    let names = match &args.cluster {
        Some(name) => vec![part("cluster", name)?],
        None => root.document().clusters.keys().cloned().collect(),
    };
    let hub = Hub::from_args(&args.hub)?;
    let asked = wait(ask(&hub, &names, &root, patience))?;
    write(&mut std::io::stdout(), &shown(&asked, args.output)?)?;
    match silent(&asked, patience) {
        None => Ok(()),
        Some(text) => Err(Failure::Negative(text)),
    }
}

fn patience(given: SignedDuration) -> Result<Duration, Failure> {
    let long = Duration::try_from(given).ok();
    long.filter(|long| (Duration::from_secs(1)..=PATIENCE_MAX).contains(long))
        .ok_or_else(|| Failure::Mistake("--wait: must be a time from 1s to 10m".to_owned()))
}

/// A cluster and what it said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    cluster: String,
    connected: bool,
    /// What it attests; none if it did not answer.
    word: Option<Word>,
}

/// Asks all at once, then waits for each.
async fn ask(
    hub: &Hub,
    names: &[String],
    root: &VerifiedRoot,
    patience: Duration,
) -> Result<Vec<Asked>, Failure> {
    let until = Instant::now() + patience;
    let mut questions: Vec<VerifyAsked> = Vec::new();
    for name in names {
        let path = format!("/api/v1/clusters/{name}/verify");
        questions.push(hub.post(&path, &serde_json::json!({})).await?);
    }
    let mut all = Vec::new();
    for (name, question) in names.iter().zip(questions) {
        let nonce = part("nonce", &question.nonce)?;
        let path = format!("/api/v1/clusters/{name}/verify/{nonce}");
        let word = loop {
            let answer: VerifyAnswer = hub.get(&path).await?;
            if answer.receipt.is_some() {
                let word = word::read(root, name, &nonce, &answer);
                break Some(word.map_err(|problem| {
                    Failure::Negative(safe(&format!("{name}: its answer {problem}")))
                })?);
            }
            if Instant::now() >= until {
                break None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        all.push(Asked {
            cluster: name.clone(),
            connected: question.connected,
            word,
        });
    }
    Ok(all)
}

/// Names those who did not answer.
fn silent(asked: &[Asked], patience: Duration) -> Option<String> {
    let name = |one: &Asked| {
        let away = if one.connected {
            ""
        } else {
            " (not connected)"
        };
        format!("{}{away}", safe(&one.cluster))
    };
    let names: Vec<String> = asked
        .iter()
        .filter(|one| one.word.is_none())
        .map(name)
        .collect();
    (!names.is_empty()).then(|| {
        let seconds = patience.as_secs();
        format!("no answer within {seconds} s: {}", names.join(", "))
    })
}

fn shown(asked: &[Asked], form: Form) -> Result<String, Failure> {
    if form != Form::Table {
        let mut text = Vec::new();
        write_value(form, &asked, &mut text)?;
        return Ok(String::from_utf8_lossy(&text).into_owned());
    }
    let mut table = Table::new(&[
        "CLUSTER",
        "GENERATION",
        "STATE",
        "APPS",
        "FAILED",
        "HEALTH",
        "SAID",
        "ENTRY",
        "NOTE",
    ]);
    for one in asked {
        let Some(word) = &one.word else { continue };
        let cells = [
            one.cluster.clone(),
            word.generation.to_string(),
            word.state.map_or_else(String::new, |state| {
                state.to_string().chars().take(12).collect()
            }),
            word.apps.to_string(),
            word.failed.to_string(),
            word.health.clone(),
            word.said.to_string(),
            word.index.to_string(),
            word.note(),
        ];
        table.row(cells.map(|cell| (cell, Style::Plain)));
    }
    Ok(if table.is_empty() {
        String::new()
    } else {
        table.text(false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_did_not_answer_are_named() {
        let one = |cluster: &str, connected| Asked {
            cluster: cluster.into(),
            connected,
            word: None,
        };
        let asked = [one("a", true), one("b", false)];
        let text = silent(&asked, Duration::from_secs(60)).unwrap();
        assert_eq!(text, "no answer within 60 s: a, b (not connected)");
        assert_eq!(silent(&[], Duration::from_secs(60)), None);
        assert_eq!(shown(&asked, Form::Table).unwrap(), "");
    }

    #[test]
    fn patience_has_bounds() {
        for (text, good) in [
            ("1s", true),
            ("10m", true),
            ("0s", false),
            ("-5s", false),
            ("11m", false),
        ] {
            assert_eq!(patience(text.parse().unwrap()).is_ok(), good, "{text}");
        }
    }
}
