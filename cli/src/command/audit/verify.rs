//! `audit verify`: the whole log, and one sentence on what was checked and what it does not prove.

use std::collections::BTreeMap;

use serde_json::json;

use super::answer::AnswerForm;
use super::disagreement::detail;
use super::open::Audit;
use crate::audit::finding::Weight;
use crate::exit::Failure;
use crate::output::{Style, Table, safe, write};

/// Findings that a table shows; the other forms have all.
const SHOWN_MAX: usize = 200;

/// Runs it.
pub fn run(audit: &Audit<'_>, form: AnswerForm, strict: bool, color: bool) -> Result<(), Failure> {
    let outcome = &audit.outcome;
    let mut answer = audit.answer(
        "What does not hold in the log?",
        &["index", "weight", "code", "cluster", "detail", "meaning"],
    );
    for finding in &outcome.findings {
        let weight = finding.code.weight();
        answer.rows.push(vec![
            json!(finding.index),
            json!(weight),
            json!(finding.code.name()),
            json!(finding.cluster),
            json!(detail(audit, finding)),
            json!(finding.code.meaning().trim()),
        ]);
    }
    let broken = audit.broken();
    let sentence = sentence(audit);
    answer.notes.push(sentence.clone());
    match form {
        AnswerForm::Table => write(&mut std::io::stdout(), &table(audit, &sentence, color))?,
        AnswerForm::Json | AnswerForm::Jsonl | AnswerForm::Csv => answer.write(form, color)?,
    }
    if broken > 0 {
        let found = counted(broken, "contradiction");
        return Err(Failure::Negative(format!(
            "the record does not hold: {found}"
        )));
    }
    if strict && !outcome.findings.is_empty() {
        return Err(Failure::Negative(format!(
            "{} notices",
            outcome.findings.len()
        )));
    }
    Ok(())
}

fn table(audit: &Audit<'_>, sentence: &str, color: bool) -> String {
    let findings = &audit.outcome.findings;
    let mut text = String::new();
    if !findings.is_empty() {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut table = Table::new(&["INDEX", "CODE", "CLUSTER", "DETAIL"]);
        for finding in findings {
            *counts.entry(finding.code.name()).or_default() += 1;
        }
        for finding in findings.iter().take(SHOWN_MAX) {
            let style = match finding.code.weight() {
                Weight::Broken => Style::Bad,
                Weight::Notice => Style::Open,
            };
            let index = finding
                .index
                .map_or_else(String::new, |index| index.to_string());
            table.row([
                (index, Style::Plain),
                (finding.code.name().to_owned(), style),
                (finding.cluster.clone(), Style::Plain),
                (detail(audit, finding), Style::Plain),
            ]);
        }
        text.push_str(&table.text(color));
        if findings.len() > SHOWN_MAX {
            let counted: Vec<String> = counts
                .iter()
                .map(|(code, count)| format!("{count} {code}"))
                .collect();
            text.push_str(&format!(
                "… {} more; in all {}. All of them: -o jsonl\n",
                findings.len() - SHOWN_MAX,
                counted.join(", ")
            ));
        }
        text.push('\n');
    }
    text.push_str(&safe(sentence));
    text.push('\n');
    text
}

/// What was checked, what held, and what that does not prove.
pub fn sentence(audit: &Audit<'_>) -> String {
    let outcome = &audit.outcome;
    let head = audit.log.head();
    let counts: Vec<String> = outcome
        .counts
        .iter()
        .map(|(kind, count)| format!("{count} {}", if kind == "?" { "unreadable" } else { kind }))
        .collect();
    let broken = audit.broken();
    let notices = outcome.findings.len() - broken;
    let verdict = match (broken, notices) {
        (0, 0) => "all of it held".to_owned(),
        (0, notices) => format!("all of it held, with {}", counted(notices, "notice")),
        (broken, 0) => format!(
            "not all of it held, with {}",
            counted(broken, "contradiction")
        ),
        (broken, notices) => format!(
            "not all of it held, with {} and {}",
            counted(broken, "contradiction"),
            counted(notices, "notice")
        ),
    };
    let since = outcome.since.lines().nth(1).filter(|_| outcome.before > 0);
    let since = since.map_or_else(String::new, |size| {
        format!(" (the last checkpoint had {size})")
    });
    let how = if outcome.before > 0 {
        format!(
            "{} entries were read now, {} at earlier audits whose root this log still has{since}",
            outcome.read, outcome.before
        )
    } else {
        format!("{} entries were read", outcome.read)
    };
    let by = if head.witnesses.is_empty() {
        "no witness".to_owned()
    } else {
        head.witnesses
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(", ")
    };
    let roots = match audit.trust.pinned {
        Some(version) => format!("trust root {version}, which you named"),
        None => format!(
            "the trust root that came with the log (version 1 is sha256:{}: compare it with the one you were given)",
            audit.trust.roots.pinned().digest()
        ),
    };
    format!(
        "Of {origin} ({how}: {counts}) every hash up to root {root} at size {size}, cosigned by {by}, each signature by a key \
         valid at its place under {roots}, the chain of states and of receipts of each cluster, and each receipt's state were \
         checked: {verdict}. This does not prove that a cluster told the truth about itself, that its clock was right, that \
         nothing was changed past its agent, or that a person understood what they signed; that manifests are what the \
         commits render to, a second renderer proves.",
        origin = head.checkpoint.origin,
        counts = counts.join(", "),
        root = head.checkpoint.root,
        size = head.checkpoint.size,
    )
}

fn counted(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}
