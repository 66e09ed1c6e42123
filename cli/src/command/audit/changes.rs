//! `audit changes` and `drift`: populations, each with the range of the log that they are all of.

use countersign_ledger::digest::Digest;
use countersign_ledger::statement::Statement;
use serde_json::{Value, json};

use super::answer::Answer;
use super::open::Audit;
use crate::audit::entry::word;
use crate::audit::index::{Asked, Held};
use crate::audit::judge::time;
use crate::exit::Failure;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// From this time on, in milliseconds since 1970.
    pub from: Option<u64>,
    /// Before this time.
    pub to: Option<u64>,
    /// One cluster.
    pub cluster: Option<String>,
    /// One environment.
    pub environment: Option<String>,
}

impl Which {
    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        if let Some(cluster) = &self.cluster {
            words.push_str(&format!(" on cluster {cluster}"));
        }
        if let Some(environment) = &self.environment {
            words.push_str(&format!(" in environment {environment}"));
        }
        if let Some(from) = self.from {
            words.push_str(&format!(" from {}", time(from)));
        }
        if let Some(to) = self.to {
            words.push_str(&format!(" to {}", time(to)));
        }
        words
    }
}

pub(super) fn when(ms: Option<u64>) -> Value {
    json!(ms.map(time))
}

/// The columns of `changes`.
pub const CHANGES: [&str; 20] = [
    "index",
    "loggedAfter",
    "loggedBy",
    "cluster",
    "environment",
    "generation",
    "commit",
    "author",
    "signer",
    "verdict",
    "permittedBy",
    "manifest",
    "statement",
    "sourceIndex",
    "appliedAt",
    "receiptIndex",
    "appsFailed",
    "health",
    "holds",
    "what",
];

/// Every state that was sealed in a time, and every change of the infrastructure that CI put into the log.
pub fn changes(audit: &Audit<'_>, which: &Which) -> Result<Answer, Failure> {
    let title = format!("Which changes were made{}?", which.words());
    let mut answer = audit.answer(title, &CHANGES);
    let (from, to) = audit.index.range(which.from, which.to)?;
    answer.basis.range = (from, to);
    let held = audit.index.entries(&Asked {
        kinds: &["desired"],
        from,
        to,
        cluster: which.cluster.as_deref(),
        environment: which.environment.as_deref(),
        app: None,
    })?;
    let mut rows = Vec::new();
    for held in &held {
        rows.push((held.row.index, change(audit, held)?));
    }
    // The infrastructure lies below all clusters of an environment: it is no change of one of them.
    if which.cluster.is_none() {
        let below = audit.index.entries(&Asked {
            kinds: &["infrastructure"],
            from,
            to,
            cluster: None,
            environment: which.environment.as_deref(),
            app: None,
        })?;
        for held in &below {
            rows.push((held.row.index, infrastructure(audit, held)?));
        }
    }
    rows.sort_by_key(|(index, _)| *index);
    answer.rows.extend(rows.into_iter().map(|(_, row)| row));
    answer.notes.push(
        "A change counts if it may have been logged in that time: after one cluster's word and by another's. Each is one \
         signed state of one cluster, or a plan or apply of the infrastructure that CI put into the log."
            .to_owned(),
    );
    Ok(answer)
}

/// One state with all its links.
pub fn change(audit: &Audit<'_>, held: &Held) -> Result<Vec<Value>, Failure> {
    let row = &held.row;
    let between = audit.index.between(row.index)?;
    audit.show(held)?;
    let leaf: Option<Digest> = row.object.parse().ok();
    let source = match leaf {
        Some(leaf) => audit.index.source_by_leaf(&leaf)?,
        None => None,
    };
    let mut author = Value::Null;
    if let Some(source) = &source
        && let Ok(Statement::Source(said)) = audit.show(source)?.read.said
    {
        author = json!(said.author);
    }
    let receipt = audit
        .index
        .answer(&row.cluster, row.generation, row.index)?;
    let receipt = receipt.filter(|receipt| receipt.row.generation == row.generation);
    let mut failed = Value::Null;
    if let Some(receipt) = &receipt
        && let Ok(Statement::Receipt(said)) = audit.show(receipt)?.read.said
    {
        failed = json!(said.apps.failed);
    }
    let of =
        |held: &Option<Held>, field: fn(&Held) -> Value| held.as_ref().map_or(Value::Null, field);
    Ok(vec![
        json!(row.index),
        when(between.after),
        when(between.by),
        json!(row.cluster),
        json!(row.environment),
        json!(row.generation),
        json!(row.commit),
        author,
        of(&source, |had| json!(had.row.who)),
        of(&source, |had| json!(had.row.what)),
        json!(row.who),
        json!(row.subject),
        json!(row.digest.to_string()),
        of(&source, |had| json!(had.row.index)),
        of(&receipt, |had| when(had.row.at)),
        of(&receipt, |had| json!(had.row.index)),
        failed,
        of(&receipt, |had| json!(had.row.who)),
        json!(held.holds),
        json!("state"),
    ])
}

/// A plan, or its being applied: by whom, of which workspace and commit.
fn infrastructure(audit: &Audit<'_>, held: &Held) -> Result<Vec<Value>, Failure> {
    let row = &held.row;
    let between = audit.index.between(row.index)?;
    audit.show(held)?;
    let mut cells = vec![Value::Null; CHANGES.len()];
    for (name, value) in [
        ("index", json!(row.index)),
        ("loggedAfter", when(between.after)),
        ("loggedBy", when(between.by)),
        ("environment", json!(row.environment)),
        ("commit", json!(row.commit)),
        ("author", json!(row.who)),
        ("statement", json!(row.digest.to_string())),
        ("holds", json!(held.holds)),
        (
            "what",
            json!(format!("infrastructure {} of {}", row.what, row.object)),
        ),
    ] {
        let place = CHANGES.iter().position(|column| *column == name);
        if let Some(cell) = place.and_then(|place| cells.get_mut(place)) {
            *cell = value;
        }
    }
    Ok(cells)
}

/// Drift records.
pub fn drift(audit: &Audit<'_>, which: &Which, unhealed: bool) -> Result<Answer, Failure> {
    let title = format!("What drifted{}?", which.words());
    let columns = [
        "index",
        "cluster",
        "app",
        "object",
        "what",
        "managers",
        "paths",
        "count",
        "first",
        "last",
        "healed",
        "healedAfterMs",
        "holds",
    ];
    let mut answer = audit.answer(title, &columns);
    let (from, to) = audit.index.range(which.from, which.to)?;
    answer.basis.range = (from, to);
    let held = if unhealed {
        let mut held = audit.index.unhealed(which.cluster.as_deref())?;
        held.retain(|held| (from..to).contains(&held.row.index));
        held
    } else {
        audit.index.entries(&Asked {
            kinds: &["drift"],
            from,
            to,
            cluster: which.cluster.as_deref(),
            environment: None,
            app: None,
        })?
    };
    let keys = audit.keys();
    for held in held {
        if let Some(wanted) = &which.environment
            && keys
                .cluster(&held.row.cluster)
                .is_none_or(|trust| trust.environment != *wanted)
        {
            continue;
        }
        let Ok(Statement::Drift(said)) = audit.show(&held)?.read.said else {
            continue;
        };
        answer.rows.push(vec![
            json!(held.row.index),
            json!(said.cluster),
            json!(said.app),
            json!(said.object.to_string()),
            json!(word(&said.what)),
            json!(said.managers.join(", ")),
            json!(said.paths.join(", ")),
            json!(said.count),
            json!(said.first.to_string()),
            json!(said.last.to_string()),
            json!(said.healed),
            json!(said.healed_after_ms),
            json!(held.holds),
        ]);
    }
    Ok(answer)
}
