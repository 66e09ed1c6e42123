//! `audit at`, `who`, `history` and `diff`: what ran, where it came from, and since when.

use countersign_ledger::digest::Digest;
use countersign_ledger::manifest::Line;
use countersign_ledger::statement::Statement;
use serde_json::{Value, json};

use super::answer::Answer;
use super::open::Audit;
use crate::audit::content::{self, Lines, digest, kind};
use crate::audit::index::Held;
use crate::audit::judge::{span, time};
use crate::exit::Failure;
use crate::output::safe;

fn nothing(why: String) -> Failure {
    Failure::Negative(safe(&why))
}

fn manifest(audit: &Audit<'_>, held: &Held, answer: &mut Answer) -> Result<Option<Lines>, Failure> {
    let Ok(digest) = held.row.subject.parse::<Digest>() else {
        return Ok(None);
    };
    let lines = content::manifest(&audit.log, &digest)?;
    if lines.is_none() {
        answer.notes.push(format!(
            "The content of manifest {digest} is not among these files: copy the store's blobs/ too."
        ));
    }
    Ok(lines)
}

/// What a cluster said that it ran at a time.
pub fn at(audit: &Audit<'_>, cluster: &str, ms: u64) -> Result<Answer, Failure> {
    let title = format!("What ran on {cluster} at {}?", time(ms));
    let columns = ["object", "line", "app", "commit", "digest", "images"];
    let mut answer = audit.answer(title, &columns);
    let receipt = audit.index.receipt_by(cluster, ms)?.ok_or_else(|| {
        nothing(format!(
            "no receipt of {cluster:?} was written by {}",
            time(ms)
        ))
    })?;
    let Ok(Statement::Receipt(said)) = audit.show(&receipt)?.read.said else {
        return Err(nothing("the entry is no receipt".to_owned()));
    };
    let state = said
        .desired
        .map(|digest| audit.index.state_by_digest(&digest))
        .transpose()?
        .flatten();
    let state = state.ok_or_else(|| {
        nothing(format!(
            "receipt {} is for a state that the log does not have",
            receipt.row.index
        ))
    })?;
    audit.show(&state)?;
    answer.also.extend([receipt.row.index, state.row.index]);
    answer.notes.push(format!(
        "Generation {} (entry {}, commit {}, manifest {}): so {cluster} signed at {} (entry {}, {} earlier), health {}.",
        state.row.generation,
        state.row.index,
        state.row.commit,
        state.row.subject,
        said.ended,
        receipt.row.index,
        span(ms.saturating_sub(said.ended.ms())),
        receipt.row.who,
    ));
    answer
        .notes
        .push(match audit.index.receipt_after(cluster, ms)? {
            Some(next) => format!(
                "Its next word is entry {}: {} of generation {}, {} later.",
                next.row.index,
                next.row.what,
                next.row.generation,
                span(next.row.at.unwrap_or(ms).saturating_sub(ms)),
            ),
            None => "It has said nothing since.".to_owned(),
        });
    if let Some(lines) = manifest(audit, &state, &mut answer)? {
        for (object, line) in lines {
            let images = content::images(&audit.log, &line)?;
            answer.rows.push(vec![
                json!(object),
                json!(kind(&line)),
                json!(line.app()),
                json!(line.commit()),
                json!(digest(&line)),
                json!(images.join(" ")),
            ]);
        }
    }
    Ok(answer)
}

/// Who is behind what runs now: an object or digest, a cluster, an app.
pub fn who(
    audit: &mut Audit<'_>,
    what: Option<&str>,
    cluster: Option<&str>,
    app: Option<&str>,
) -> Result<Answer, Failure> {
    audit.fill()?;
    let title = format!(
        "Who is behind {}?",
        what.or(app).or(cluster).unwrap_or_default()
    );
    let columns = [
        "cluster",
        "generation",
        "index",
        "object",
        "app",
        "commit",
        "author",
        "signer",
        "verdict",
        "sourceIndex",
        "permittedBy",
        "policies",
        "denied",
        "appliedAt",
        "receiptIndex",
        "digest",
    ];
    let mut answer = audit.answer(title, &columns);
    let named = what.map(|name| matching(audit, name)).transpose()?;
    let size = audit.log.size();
    for name in audit.index.clusters()? {
        if cluster.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let Some(state) = audit.index.head(&name, size)? else {
            continue;
        };
        let Some(lines) = manifest(audit, &state, &mut answer)? else {
            continue;
        };
        let policies = policies(audit, &state)?;
        for (object, line) in lines {
            let wanted = match &named {
                Some(Matching { objects, contents }) => {
                    objects.contains(&object) || contents.contains(&digest(&line))
                }
                None => true,
            };
            if wanted && app.is_none_or(|app| app == line.app()) {
                answer
                    .rows
                    .push(behind(audit, &state, &object, &line, &policies)?);
            }
        }
    }
    if answer.rows.is_empty() {
        answer.notes.push(
            "Nothing of that name is in any cluster's newest state; `history` looks into the past."
                .to_owned(),
        );
    }
    Ok(answer)
}

/// How many policies judged a state, and how many said no.
fn policies(audit: &Audit<'_>, state: &Held) -> Result<(Value, Value), Failure> {
    let Ok(Statement::Desired(said)) = audit.show(state)?.read.said else {
        return Ok((Value::Null, Value::Null));
    };
    let Some(digest) = said.admission.verdicts else {
        return Ok((json!("none judged"), Value::Null));
    };
    let Some(bytes) = audit.log.blob(&digest)? else {
        return Ok((
            json!(format!("verdicts {digest} are not here")),
            Value::Null,
        ));
    };
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let verdicts = value.get("verdicts").and_then(Value::as_array);
    let verdicts = verdicts.map_or(&[][..], Vec::as_slice);
    let denied = verdicts.iter().filter(|verdict| {
        let said = verdict.get("decision").and_then(Value::as_str);
        matches!(said, Some("denied" | "undecidable"))
    });
    Ok((
        json!(format!("judged, {} remarks", verdicts.len())),
        json!(denied.count()),
    ))
}

fn behind(
    audit: &Audit<'_>,
    state: &Held,
    object: &str,
    line: &Line,
    (policies, denied): &(Value, Value),
) -> Result<Vec<Value>, Failure> {
    // A line's commit is that of its app's last good render, which may be older than the state's.
    let source = audit.index.source_by_commit(line.commit())?;
    let mut author = Value::Null;
    if let Some(source) = &source
        && let Ok(Statement::Source(said)) = audit.show(source)?.read.said
    {
        author = json!(said.author);
    }
    let row = &state.row;
    let receipt = audit
        .index
        .answer(&row.cluster, row.generation, row.index)?;
    let of =
        |held: &Option<Held>, field: fn(&Held) -> Value| held.as_ref().map_or(Value::Null, field);
    Ok(vec![
        json!(row.cluster),
        json!(row.generation),
        json!(row.index),
        json!(object),
        json!(line.app()),
        json!(line.commit()),
        author,
        of(&source, |had| json!(had.row.who)),
        of(&source, |had| json!(had.row.what)),
        of(&source, |had| json!(had.row.index)),
        json!(row.who),
        policies.clone(),
        denied.clone(),
        of(&receipt, |had| json!(had.row.at.map(time))),
        of(&receipt, |had| json!(had.row.index)),
        json!(digest(line)),
    ])
}

/// What a name may mean.
struct Matching {
    objects: Vec<String>,
    contents: Vec<String>,
}

fn matching(audit: &Audit<'_>, name: &str) -> Result<Matching, Failure> {
    let bare = name.strip_prefix("sha256:").unwrap_or(name);
    let mut contents = Vec::new();
    let is_digest = bare.len() == 64 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        contents.push(bare.to_owned());
    }
    if is_digest || name.contains([':', '@']) {
        let images = audit
            .index
            .with_image(if is_digest { bare } else { name })?;
        contents.extend(images.into_iter().map(|(digest, _)| digest));
    }
    let objects = if is_digest {
        Vec::new()
    } else {
        audit.index.objects_named(name)?
    };
    Ok(Matching { objects, contents })
}

/// The life of an object, a content or an image: where it ran from which state to which.
pub fn history(audit: &mut Audit<'_>, name: &str) -> Result<Answer, Failure> {
    audit.fill()?;
    let title = format!("Where is and was {name}?");
    let columns = [
        "cluster",
        "object",
        "app",
        "line",
        "digest",
        "commit",
        "fromGeneration",
        "fromIndex",
        "appliedAt",
        "untilGeneration",
        "untilIndex",
        "now",
    ];
    let mut answer = audit.answer(title, &columns);
    let Matching { objects, contents } = matching(audit, name)?;
    let mut found = Vec::new();
    for object in &objects {
        found.extend(audit.index.changes_of(Some(object), None)?);
    }
    for content in &contents {
        found.extend(audit.index.changes_of(None, Some(content))?);
    }
    found.sort_by(|a, b| (a.index, &a.object).cmp(&(b.index, &b.object)));
    found.dedup();
    let mut now = 0;
    for change in found {
        let state = audit.index.entry(change.index)?;
        let receipt = audit
            .index
            .answer(&change.cluster, change.generation, change.index)?;
        let next = audit.index.next_change(&change)?;
        let runs = next.is_none() && matches!(change.line.as_str(), "object" | "?");
        now += usize::from(runs);
        if let Some(state) = &state {
            audit.show(state)?;
        }
        answer.rows.push(vec![
            json!(change.cluster),
            json!(change.object),
            json!(change.app),
            json!(change.line),
            json!(change.digest),
            json!(change.commit),
            json!(change.generation),
            json!(change.index),
            json!(receipt.and_then(|receipt| receipt.row.at).map(time)),
            json!(next.as_ref().map(|next| next.generation)),
            json!(next.as_ref().map(|next| next.index)),
            json!(runs),
        ]);
    }
    answer.notes.push(if answer.rows.is_empty() {
        "It is in no state of any cluster, and was in none.".to_owned()
    } else {
        format!("It is in the newest state of {now} places.")
    });
    Ok(answer)
}

/// A state by what a person says: an index of the log, `CLUSTER@GENERATION`, a digest, or a time with `--cluster`.
pub fn state(
    audit: &Audit<'_>,
    said: &str,
    cluster: Option<&str>,
    ms: impl Fn(&str) -> Result<u64, Failure>,
) -> Result<Held, Failure> {
    let none = || nothing(format!("{said:?} is no state of this log"));
    if let Ok(index) = said.parse::<u64>() {
        let held = audit.index.entry(index)?;
        return held
            .filter(|held| held.row.kind == "desired")
            .ok_or_else(none);
    }
    if let Some((cluster, generation)) = said.split_once('@')
        && let Ok(generation) = generation.parse::<u64>()
    {
        return audit.index.state(cluster, generation)?.ok_or_else(none);
    }
    if let Ok(digest) = said.parse::<Digest>() {
        return audit.index.state_by_digest(&digest)?.ok_or_else(none);
    }
    let cluster = cluster.ok_or_else(|| {
        Failure::Mistake(format!(
            "{:?} is neither an index, CLUSTER@GENERATION nor a digest; a time needs --cluster",
            safe(said)
        ))
    })?;
    let receipt = audit
        .index
        .receipt_by(cluster, ms(said)?)?
        .ok_or_else(none)?;
    audit
        .index
        .state(cluster, receipt.row.generation)?
        .ok_or_else(none)
}

/// What differs between two states.
pub fn diff(audit: &Audit<'_>, a: &Held, b: &Held) -> Result<Answer, Failure> {
    let name = |held: &Held| {
        format!(
            "{}@{} (entry {})",
            held.row.cluster, held.row.generation, held.row.index
        )
    };
    let title = format!("What differs between {} and {}?", name(a), name(b));
    let columns = [
        "change", "object", "app", "commitA", "commitB", "digestA", "digestB", "imagesA", "imagesB",
    ];
    let mut answer = audit.answer(title, &columns);
    audit.show(a)?;
    audit.show(b)?;
    let (Some(old), Some(new)) = (
        manifest(audit, a, &mut answer)?,
        manifest(audit, b, &mut answer)?,
    ) else {
        return Err(nothing(answer.notes.join(" ")));
    };
    let objects: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for object in objects {
        let (had, has) = (old.get(object), new.get(object));
        let change = match (had, has) {
            (None, Some(Line::Object(_))) => "added",
            (Some(_), None) => "removed",
            (Some(Line::Object(_)), Some(Line::Tombstone(_))) => "deleted",
            (Some(Line::Object(_)), Some(Line::Orphan(_))) => "orphaned",
            (Some(had), Some(has)) if digest(had) != digest(has) => "changed",
            _ => continue,
        };
        let images = |line: Option<&Line>| -> Result<Value, Failure> {
            let images = line
                .map(|line| content::images(&audit.log, line))
                .transpose()?;
            Ok(json!(images.unwrap_or_default().join(" ")))
        };
        let app = has.or(had).map_or("", |line| line.app());
        answer.rows.push(vec![
            json!(change),
            json!(object),
            json!(app),
            json!(had.map(|line| line.commit())),
            json!(has.map(|line| line.commit())),
            json!(had.map(digest)),
            json!(has.map(digest)),
            images(had)?,
            images(has)?,
        ]);
    }
    answer
        .notes
        .push(format!("From {} to {}.", name(a), name(b)));
    Ok(answer)
}
