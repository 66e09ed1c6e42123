//! `audit access` and `consistency`: who could deploy where, and whether the log is still the one of the last audit.

use std::path::Path;

use countersign_ledger::trust::TrustRoot;
use serde_json::json;

use super::answer::Answer;
use super::open::Audit;
use crate::audit::index::{Asked, Between};
use crate::audit::judge::time;
use crate::exit::Failure;
use crate::log::Signed;
use crate::output::safe;

/// Who could deploy where, under the trust root in effect at a time.
pub fn access(audit: &Audit<'_>, ms: Option<u64>) -> Result<Answer, Failure> {
    let at = ms.map_or_else(|| "now".to_owned(), time);
    let columns = [
        "cluster",
        "environment",
        "level",
        "role",
        "name",
        "key",
        "scope",
        "since",
    ];
    let mut answer = audit.answer(format!("Who could deploy where at {at}?"), &columns);
    // An entry that may have been logged by then is in effect: who might have had access is not left out.
    let (_, end) = audit.index.range(None, ms.map(|ms| ms.saturating_add(1)))?;
    answer.basis.range = (0, end);
    let ask = |kinds: &[&str]| {
        audit.index.entries(&Asked {
            kinds,
            from: 0,
            to: end,
            ..Asked::default()
        })
    };
    let mut root = audit.trust.roots.pinned();
    let mut since = "the log's beginning".to_owned();
    for held in ask(&["trust"])?.into_iter().filter(|held| held.holds) {
        if let Some(next) = audit.trust.roots.at(held.row.generation) {
            root = next;
            since = format!("entry {}", held.row.index);
        }
    }
    answer.notes.push(format!(
        "Under trust root {} (sha256:{}), in effect since {since}.",
        root.version(),
        root.digest()
    ));
    let revoked: Vec<(String, u64)> = ask(&["revocation"])?
        .into_iter()
        .filter(|held| held.holds)
        .map(|held| (held.row.subject, held.row.index))
        .collect();
    let document = root.document();
    for (cluster, trust) in &document.clusters {
        for (role, name, key, scope) in roles(document, &trust.environment) {
            let ended = revoked.iter().find(|(had, _)| *had == key);
            let since =
                ended.map_or_else(|| since.clone(), |(_, at)| format!("revoked at entry {at}"));
            answer.rows.push(vec![
                json!(cluster),
                json!(trust.environment),
                json!(trust.level),
                json!(role),
                json!(name),
                json!(key),
                json!(scope),
                json!(since),
            ]);
        }
    }
    // Key and access events up to then.
    for held in ask(&["enrolment"])?.into_iter().filter(|held| held.holds) {
        let between = audit.index.between(held.row.index)?;
        let trust = document.clusters.get(&held.row.cluster);
        answer.rows.push(vec![
            json!(held.row.cluster),
            json!(trust.map(|trust| trust.environment.as_str())),
            json!(trust.map(|trust| trust.level)),
            json!("countersigns"),
            json!(format!(
                "enrolment {} by {}",
                held.row.generation, held.row.what
            )),
            json!(held.row.subject),
            json!(held.row.object),
            json!(format!("entry {}{}", held.row.index, logged(between))),
        ]);
    }
    Ok(answer)
}

fn logged(between: Between) -> String {
    match (between.after, between.by) {
        (Some(after), Some(by)) => format!(", logged {} to {}", time(after), time(by)),
        (None, Some(by)) => format!(", logged by {}", time(by)),
        (Some(after), None) => format!(", logged after {}", time(after)),
        (None, None) => String::new(),
    }
}

/// Role, name, key and scope of all whose word counts for an environment.
fn roles(root: &TrustRoot, environment: &str) -> Vec<(&'static str, String, String, String)> {
    let mut roles = Vec::new();
    for sealer in root.sealers.get(environment).into_iter().flatten() {
        let name = format!("sealer of {environment}");
        roles.push((
            "seals",
            name,
            sealer.key.to_string(),
            environment.to_owned(),
        ));
    }
    for person in &root.people {
        for key in &person.keys {
            let mut scope = person.paths.join(" ");
            if let Some(end) = key.valid_before {
                scope.push_str(&format!(" until {end}"));
            }
            if let Some(start) = key.valid_after {
                scope.push_str(&format!(" from {start}"));
            }
            let role = if person.forge {
                "merges"
            } else {
                "signs commits"
            };
            roles.push((role, person.name.clone(), key.key.clone(), scope));
        }
    }
    for (role, keys) in [
        ("overrides", &root.overriders),
        ("renders again", &root.reproducers),
        ("changes infrastructure", &root.ci),
    ] {
        for key in keys {
            roles.push((
                role,
                key.name.clone(),
                key.key.to_string(),
                "all".to_owned(),
            ));
        }
    }
    roles
}

/// Whether the log begins with what an earlier checkpoint covers.
pub fn consistency(audit: &Audit<'_>, since: &Path) -> Result<Answer, Failure> {
    let bytes = std::fs::read(since).map_err(|e| Failure::file(since, &e))?;
    let old = Signed::read(&bytes, &audit.trust.known()?)?;
    let new = audit.log.head();
    let columns = ["checkpoint", "size", "root", "witness", "cosignedAt"];
    let mut answer = audit.answer("Was the log edited since the last audit?", &columns);
    for (name, head) in [("then", &old), ("now", new)] {
        let mut witnesses: Vec<(&str, Option<u64>)> = head
            .witnesses
            .iter()
            .map(|(name, at)| (name.as_str(), Some(*at)))
            .collect();
        if witnesses.is_empty() {
            witnesses.push(("", None));
        }
        for (witness, at) in witnesses {
            let at = at.map(|seconds| time(seconds.saturating_mul(1_000)));
            answer.rows.push(vec![
                json!(name),
                json!(head.checkpoint.size),
                json!(head.checkpoint.root.to_string()),
                json!(witness),
                json!(at),
            ]);
        }
    }
    if old.checkpoint.size > audit.log.size() {
        return Err(Failure::Negative(format!(
            "the log has {} entries, the earlier checkpoint {}: it was rolled back, or this is an older copy",
            audit.log.size(),
            old.checkpoint.size
        )));
    }
    let proof = audit
        .log
        .consistency(old.checkpoint.size, &old.checkpoint.root);
    let proof = proof.map_err(|error| {
        Failure::Negative(safe(&format!(
            "the log does not begin with the {} entries of the earlier checkpoint: {error}. Both are signed by the log: keep \
             both checkpoints, they prove a fork",
            old.checkpoint.size
        )))
    })?;
    answer.notes.push(format!(
        "The {} entries of then are the first of the {} of now, unchanged: proven by {} hashes.",
        old.checkpoint.size,
        audit.log.size(),
        proof.len()
    ));
    Ok(answer)
}
