//! `audit exceptions`: everything that an auditor looks at first, each with who, why, and when it ended.

use std::collections::BTreeMap;

use countersign_ledger::digest::Digest;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Permit, PermitKind, Statement, Verdict};
use countersign_ledger::time::Time;
use serde_json::{Value, json};

use super::answer::Answer;
use super::changes::{Which, when};
use super::disagreement;
use super::open::Audit;
use crate::audit::entry::word;
use crate::audit::finding::{Code, Finding};
use crate::audit::index::{Asked, Held};
use crate::audit::overrides::{End, Word};
use crate::exit::Failure;

const COLUMNS: [&str; 16] = [
    "index",
    "kind",
    "what",
    "cluster",
    "app",
    "generation",
    "commit",
    "loggedAfter",
    "loggedBy",
    "by",
    "reason",
    "from",
    "until",
    "ended",
    "endIndex",
    "detail",
];

/// One row.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Exception {
    index: Option<u64>,
    kind: String,
    what: String,
    cluster: String,
    app: String,
    generation: u64,
    commit: String,
    by: String,
    reason: String,
    from: Option<u64>,
    until: Option<u64>,
    ended: Option<u64>,
    end_index: Option<u64>,
    detail: String,
}

impl Exception {
    fn new(index: Option<u64>, kind: &str, cluster: &str, detail: String) -> Self {
        Self {
            index,
            kind: kind.to_owned(),
            cluster: cluster.to_owned(),
            detail,
            ..Self::default()
        }
    }

    fn about(mut self, held: &Held) -> Self {
        self.app.clone_from(&held.row.app);
        self.generation = held.row.generation;
        self.commit.clone_from(&held.row.commit);
        self
    }

    fn cells(self, audit: &Audit<'_>) -> Result<Vec<Value>, Failure> {
        let between = self.index.map(|index| audit.index.between(index));
        let between = between.transpose()?.unwrap_or_default();
        Ok(vec![
            json!(self.index),
            json!(self.kind),
            json!(self.what),
            json!(self.cluster),
            json!(self.app),
            json!((self.generation > 0).then_some(self.generation)),
            json!(self.commit),
            when(between.after),
            when(between.by),
            json!(self.by),
            json!(self.reason),
            when(self.from),
            when(self.until),
            when(self.ended),
            json!(self.end_index),
            json!(self.detail),
        ])
    }
}

/// Everything that an auditor looks at first.
pub fn exceptions(audit: &Audit<'_>, which: &Which) -> Result<Answer, Failure> {
    let title = format!("What was out of the ordinary{}?", which.words());
    let mut answer = audit.answer(title, &COLUMNS);
    let range = audit.index.range(which.from, which.to)?;
    answer.basis.range = range;
    let asking = Asking {
        audit,
        which,
        range,
        keys: audit.keys(),
        words: words(audit)?,
    };
    let mut rows = Vec::new();
    asking.findings(&mut rows)?;
    asking.overrides(&mut rows)?;
    asking.unhealed(&mut rows)?;
    asking.states(&mut rows)?;
    rows.sort();
    for row in rows {
        answer.rows.push(row.cells(audit)?);
    }
    Ok(answer)
}

/// Every override that counts, in the log's order.
fn words(audit: &Audit<'_>) -> Result<Vec<Word>, Failure> {
    let held = audit.index.entries(&Asked {
        kinds: &["override"],
        to: audit.log.size(),
        ..Asked::default()
    })?;
    let mut words = Vec::new();
    for held in held.iter().filter(|held| held.holds) {
        if let Ok(Statement::Override(says)) = audit.show(held)?.read.said {
            let index = held.row.index;
            words.push(Word { index, says });
        }
    }
    Ok(words)
}

struct Asking<'a, 'l> {
    audit: &'a Audit<'l>,
    which: &'a Which,
    range: (u64, u64),
    keys: crate::audit::keys::Keys,
    words: Vec<Word>,
}

impl Asking<'_, '_> {
    fn wanted(&self, index: Option<u64>, cluster: &str) -> bool {
        let (from, to) = self.range;
        let inside = index.is_none_or(|index| (from..to).contains(&index));
        let named = self.which.cluster.as_deref();
        let environment = |wanted: &String| {
            let trust = self.keys.cluster(cluster);
            trust.is_some_and(|trust| trust.environment == *wanted)
        };
        inside
            && (cluster.is_empty()
                || named.is_none_or(|name| name == cluster)
                    && self.which.environment.as_ref().is_none_or(environment))
    }

    fn findings(&self, rows: &mut Vec<Exception>) -> Result<(), Failure> {
        for finding in &self.audit.outcome.findings {
            // They are told below, with how they ended.
            let told = finding.code == Code::OverrideUsed;
            if !told && self.wanted(finding.index, &finding.cluster) {
                rows.push(self.finding(finding)?);
            }
        }
        Ok(())
    }

    fn finding(&self, finding: &Finding) -> Result<Exception, Failure> {
        let detail = disagreement::detail(self.audit, finding);
        let mut row = Exception::new(finding.index, finding.code.name(), &finding.cluster, detail);
        if let Some(index) = finding.index
            && let Some(held) = self.audit.index.entry(index)?
        {
            row = row.about(&held);
        }
        if matches!(
            finding.code,
            Code::ReproductionDisagrees | Code::StateUnreproduced
        ) {
            let apps = disagreement::apps(self.audit, &row.cluster, row.generation);
            let apps: Vec<String> = apps.into_iter().flatten().collect();
            row.app = apps.join(", ");
        }
        Ok(row)
    }

    fn overrides(&self, rows: &mut Vec<Exception>) -> Result<(), Failure> {
        for word in &self.words {
            let says = &word.says;
            let cluster = says.cluster.as_deref().unwrap_or_default();
            if self.wanted(Some(word.index), cluster) {
                rows.push(self.word(word)?);
            }
        }
        Ok(())
    }

    fn word(&self, word_: &Word) -> Result<Exception, Failure> {
        let says = &word_.says;
        let cluster = says.cluster.clone().unwrap_or_default();
        let now = Time::from_ms(self.audit.now).unwrap_or_default();
        let (ended, end_index) = match word_.end(&self.words, now) {
            End::Open => (None, None),
            End::Expired(at) => (Some(at.ms()), None),
            End::Resumed(at, index) => (Some(at.ms()), Some(index)),
        };
        let mut row = Exception {
            index: Some(word_.index),
            kind: Code::OverrideUsed.name().to_owned(),
            what: word(&says.kind),
            app: says.app.clone().unwrap_or_default(),
            by: says.by.clone(),
            reason: says.reason.clone(),
            from: Some(says.issued.ms()),
            until: Some(says.until.ms()),
            ended,
            end_index,
            detail: says.what.clone(),
            cluster,
            ..Exception::default()
        };
        let used = match says.kind {
            OverrideKind::Pause | OverrideKind::Resume => None,
            OverrideKind::BreakGlass => self.broken(word_)?,
            OverrideKind::Deletion | OverrideKind::Rewrite | OverrideKind::Policies => {
                self.permitted(word_)?
            }
        };
        if let Some((state, at, index)) = used {
            row.generation = state.row.generation;
            row.commit.clone_from(&state.row.commit);
            row.detail = format!("{}: used for entry {}", row.detail, state.row.index);
            // What allows one thing has ended once that was done.
            row.ended = at.or(row.ended);
            row.end_index = Some(index);
        }
        Ok(row)
    }

    /// The state that was applied under a break-glass, and the receipt that says so.
    fn broken(&self, word: &Word) -> Result<Option<(Held, Option<u64>, u64)>, Failure> {
        let index = &self.audit.index;
        let digest: Option<Digest> = word.says.what.parse().ok();
        let state = digest.map(|digest| index.state_by_digest(&digest));
        let Some(state) = state.transpose()?.flatten() else {
            return Ok(None);
        };
        let (cluster, generation) = (&state.row.cluster, state.row.generation);
        let answer = index.answer(cluster, generation, word.index)?;
        let answer = answer.filter(|answer| answer.row.generation == generation);
        Ok(answer.map(|answer| (state, answer.row.at, answer.row.index)))
    }

    /// The state whose permit rests on this word.
    fn permitted(&self, word: &Word) -> Result<Option<(Held, Option<u64>, u64)>, Failure> {
        for held in self.audit.index.permitted()? {
            let rests = self.permits(&held)?.iter().any(|permit| {
                held.row.index > word.index && word.permits(&held.row.cluster, permit)
            });
            if rests {
                let between = self.audit.index.between(held.row.index)?;
                let index = held.row.index;
                return Ok(Some((held, between.by.or(between.after), index)));
            }
        }
        Ok(None)
    }

    fn permits(&self, held: &Held) -> Result<Vec<Permit>, Failure> {
        Ok(match self.audit.show(held)?.read.said {
            Ok(Statement::Desired(said)) => said.permits,
            _ => Vec::new(),
        })
    }

    fn unhealed(&self, rows: &mut Vec<Exception>) -> Result<(), Failure> {
        for held in self.audit.index.unhealed(self.which.cluster.as_deref())? {
            let row = &held.row;
            if self.wanted(Some(row.index), &row.cluster) {
                let detail = format!("{} by {}", row.object, row.who);
                let told = Exception::new(Some(row.index), "DRIFT_UNHEALED", &row.cluster, detail);
                rows.push(Exception {
                    by: row.who.clone(),
                    from: row.at,
                    ..told.about(&held)
                });
            }
        }
        Ok(())
    }

    /// States of commits that nobody signed, and permits.
    fn states(&self, rows: &mut Vec<Exception>) -> Result<(), Failure> {
        let (from, to) = self.range;
        let states = self.audit.index.entries(&Asked {
            kinds: &["desired"],
            from,
            to,
            cluster: self.which.cluster.as_deref(),
            environment: self.which.environment.as_deref(),
            app: None,
        })?;
        let mut verdicts: BTreeMap<String, Option<String>> = BTreeMap::new();
        for held in states {
            let row = &held.row;
            let verdict = match verdicts.get(&row.object) {
                Some(verdict) => verdict.clone(),
                None => {
                    let leaf: Option<Digest> = row.object.parse().ok();
                    let source = leaf.map(|leaf| self.audit.index.source_by_leaf(&leaf));
                    let verdict = source.transpose()?.flatten().map(|source| source.row.what);
                    verdicts.insert(row.object.clone(), verdict.clone());
                    verdict
                }
            };
            let told = |kind, detail| {
                Exception::new(Some(row.index), kind, &row.cluster, detail).about(&held)
            };
            if let Some(verdict) = verdict.filter(|verdict| *verdict != word(&Verdict::Verified)) {
                let detail = format!("commit {} is {verdict}", row.commit);
                rows.push(told("COMMIT_UNVERIFIED", detail));
            }
            if row.who.is_empty() {
                continue;
            }
            for permit in self.permits(&held)? {
                let given = self
                    .words
                    .iter()
                    .find(|word| word.index < row.index && word.permits(&row.cluster, &permit));
                let deletes = permit.permit == PermitKind::Deletion;
                let detail = format!("{} {}", permit.subject, permit.object);
                rows.push(Exception {
                    what: word(&permit.permit),
                    app: if deletes {
                        permit.subject
                    } else {
                        String::new()
                    },
                    by: permit.by,
                    reason: permit.reason,
                    from: given.map(|word| word.says.issued.ms()),
                    until: given.map(|word| word.says.until.ms()),
                    end_index: given.map(|word| word.index),
                    ..told("PERMIT", detail)
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
