//! One cluster at one commit: render, check, carry. Whatever fails is one app's failure; the others move on.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use countersign_fleet::admit::{Decision, Verdict};
use countersign_fleet::carry::{self, Carried, Previous, Wanted, WantedApp, WantedLine};
use countersign_fleet::failure::AppFailure;
use countersign_fleet::guard::DeletionPermits;
use countersign_fleet::model::{App, Fleet, Source};
use countersign_fleet::object::Object;
use countersign_ledger::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::json;
use countersign_ledger::manifest::{Content, Line};
use countersign_ledger::statement::Admission;

use crate::pipeline::pause;
use crate::pipeline::policies::PolicyFiles;
use crate::pipeline::stage::{Ask, RenderedApp, RenderedApps, Stage};
use crate::pipeline::words::Paused;
use crate::seal::{Plain, SecretError, Secrets};

/// All that decides one cluster's next state.
pub struct Input<'a> {
    /// The commit, hex.
    pub commit: &'a str,
    /// Its tree, fleet and cluster.
    pub ask: Ask<'a>,
    /// What it ran before.
    pub previous: &'a Previous,
    /// Sets that must all admit.
    pub judges: &'a [PolicyFiles],
    /// Identities that it reported gone.
    pub gone: &'a BTreeSet<ObjectId>,
    /// Deletions that a person allowed.
    pub permits: &'a DeletionPermits,
    /// Apps that a person holds still.
    pub paused: &'a Paused,
    /// Its age recipient, once its agent registered.
    pub recipient: Option<&'a str>,
    /// Renders that differed from their repetition, by app and [`name_of`]; they stay refused.
    pub differing: &'a BTreeSet<(String, Digest)>,
}

/// What came of it.
pub struct Outcome {
    /// Lines, apps, reports.
    pub carried: Carried,
    /// New objects and verdicts by digest.
    pub blobs: BTreeMap<Digest, Bytes>,
    /// For the statement.
    pub admission: Admission,
    /// Renders done now and not yet a second time, by app.
    pub unrepeated: Vec<(String, RenderedApp)>,
    /// Renders whose repetition before sealing gave something else.
    pub differed: Vec<(String, Digest)>,
    /// Apps whose objects were all known.
    pub known: u64,
}

/// Names what an app renders to: equal names mean equal objects.
#[must_use]
pub fn name_of(objects: &[Object]) -> Digest {
    let all: Vec<u8> = objects
        .iter()
        .flat_map(|object| object.sha256.as_bytes())
        .copied()
        .collect();
    Digest::of(&all)
}

/// Takes one cluster through render, check and carry.
pub async fn next(stage: &dyn Stage, secrets: &Secrets, input: &Input<'_>) -> Outcome {
    let mut rendered = render(stage, input).await;
    let known = rendered
        .values()
        .filter(|app| app.as_ref().is_ok_and(|app| !app.fresh))
        .count() as u64;
    let mut blobs = BTreeMap::new();
    let admission = admit(stage, input, &mut rendered, &mut blobs).await;
    let mut wanted = want(secrets, input, &rendered, &mut blobs).await;
    let mut carried = carry(input, &wanted);
    let (mut repeated, mut differed) = (BTreeSet::new(), Vec::new());
    // What deletes is rendered twice before anything is signed (DECISIONS 13); what was known was rendered twice when it
    // was new. An app that then fails gives nothing away, so others may fail, but nobody deletes more.
    loop {
        let deletes = |name: &String| {
            carried
                .reports
                .get(name)
                .is_some_and(|report| report.removed > 0)
        };
        let deleting: Vec<String> = rendered
            .keys()
            .filter(|name| deletes(name) && !repeated.contains(*name))
            .cloned()
            .collect();
        if deleting.is_empty() {
            break;
        }
        for name in deleting {
            if let Some(Ok(app)) = rendered
                .get(&name)
                .filter(|app| app.as_ref().is_ok_and(|app| app.fresh))
                && let Err(failure) = stage.again(input.ask, &name, app).await
            {
                if failure.code == NOT_REPEATABLE {
                    differed.push((name.clone(), name_of(&app.objects)));
                }
                wanted.insert(name.clone(), Wanted::Failed(failure));
            }
            repeated.insert(name);
        }
        carried = carry(input, &wanted);
    }
    let unrepeated = rendered
        .into_iter()
        .filter(|(name, _)| !repeated.contains(name))
        .filter_map(|(name, app)| app.ok().filter(|app| app.fresh).map(|app| (name, app)))
        .collect();
    Outcome {
        carried,
        blobs,
        admission,
        unrepeated,
        differed,
        known,
    }
}

/// Code of an app whose two renders of one input differ.
pub const NOT_REPEATABLE: &str = "NONDETERMINISTIC";

fn not_repeatable() -> AppFailure {
    AppFailure::new(
        NOT_REPEATABLE,
        "two renders of the same input differ; the app is not signed until its files change",
    )
}

/// A render that is known to differ from its repetition stays refused.
async fn render(stage: &dyn Stage, input: &Input<'_>) -> RenderedApps {
    let mut rendered = stage.apps(input.ask).await;
    for (name, app) in &mut rendered {
        let differs = |app: &RenderedApp| {
            input.differing.iter().any(|(known, _)| known == name)
                && input
                    .differing
                    .contains(&(name.clone(), name_of(&app.objects)))
        };
        if app.as_ref().is_ok_and(differs) {
            *app = Err(not_repeatable());
        }
    }
    rendered
}

/// Every object of every app passes here, whatever it is: one gate.
async fn admit(
    stage: &dyn Stage,
    input: &Input<'_>,
    rendered: &mut RenderedApps,
    blobs: &mut BTreeMap<Digest, Bytes>,
) -> Admission {
    let judges: Vec<&PolicyFiles> = input.judges.iter().filter(|set| !set.is_empty()).collect();
    let Some(named) = judges.first() else {
        return Admission::default();
    };
    let mut said: Vec<(String, String, Verdict)> = Vec::new();
    let judged = judge(stage, input, &judges, rendered, &mut said).await;
    // Nothing is signed that was not judged.
    if let Err(failure) = judged {
        for app in rendered.values_mut() {
            *app = Err(failure.clone());
        }
        return Admission::default();
    }
    let mut listed = Vec::new();
    for (owner, object, verdict) in said {
        if verdict.decision.blocks() {
            rendered.insert(owner.clone(), Err(denied(&verdict, &object)));
        }
        listed.push(serde_json::json!({
            "app": owner, "object": object, "policy": verdict.policy, "binding": verdict.binding,
            "decision": decision(verdict.decision), "message": verdict.message,
        }));
    }
    let policies = named.bytes();
    let policies_digest = Digest::of(&policies);
    blobs.insert(policies_digest, policies);
    let verdicts = json::canonical(&serde_json::json!({ "verdicts": listed }))
        .ok()
        .map(Bytes::from);
    let verdicts_digest = verdicts.map(|bytes| {
        let digest = Digest::of(&bytes);
        blobs.insert(digest, bytes);
        digest
    });
    Admission {
        policies: Some(policies_digest),
        verdicts: verdicts_digest,
    }
}

/// Each verdict with its app and object.
async fn judge(
    stage: &dyn Stage,
    input: &Input<'_>,
    judges: &[&PolicyFiles],
    rendered: &RenderedApps,
    said: &mut Vec<(String, String, Verdict)>,
) -> Result<(), AppFailure> {
    let objects = rendered.iter().flat_map(|(name, app)| {
        app.iter()
            .flat_map(move |app| app.objects.iter().map(move |object| (name, object)))
    });
    let (owners, objects): (Vec<&String>, Vec<&Object>) = objects.unzip();
    for set in judges {
        for verdict in stage.admit(input.ask.cluster, set, &objects).await? {
            let (Some(owner), Some(object)) =
                (owners.get(verdict.object), objects.get(verdict.object))
            else {
                return Err(
                    AppFailure::new("RENDER_PROTOCOL", "a verdict about no object").as_fault(),
                );
            };
            said.push(((*owner).clone(), object.id.to_string(), verdict));
        }
    }
    Ok(())
}

fn denied(verdict: &Verdict, object: &str) -> AppFailure {
    let code = match verdict.decision {
        Decision::Undecidable => "POLICY_UNDECIDABLE",
        Decision::Denied | Decision::Warned | Decision::Audited => "ADMISSION_DENIED",
    };
    AppFailure::new(
        code,
        format!("{object}: policy {}: {}", verdict.policy, verdict.message),
    )
}

const fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Denied => "denied",
        Decision::Warned => "warned",
        Decision::Audited => "audited",
        Decision::Undecidable => "undecidable",
    }
}

async fn want(
    secrets: &Secrets,
    input: &Input<'_>,
    rendered: &RenderedApps,
    blobs: &mut BTreeMap<Digest, Bytes>,
) -> BTreeMap<String, Wanted> {
    // Where a broken app would run nobody knows; where it ran, it stays.
    let had = |name: &str| input.previous.apps.iter().any(|app| app.name == name);
    let broken = input
        .ask
        .fleet
        .broken_apps
        .iter()
        .filter(|(name, _)| had(name))
        .map(|(name, mistakes)| {
            (
                name.clone(),
                Wanted::Failed(AppFailure::of_mistakes(mistakes)),
            )
        });
    let mut wanted: BTreeMap<String, Wanted> = broken.collect();
    // What the manifest before names was sealed, so that its blobs lie in the store.
    let sealed: HashSet<Digest> = input
        .previous
        .lines
        .iter()
        .filter_map(|line| match line {
            Line::Object(object) => Some(*object.content.blob()),
            Line::Tombstone(_) | Line::Orphan(_) => None,
        })
        .collect();
    let paused = |app: &App| input.paused.contains_key(&app.name);
    for app in input.ask.fleet.apps_on(input.ask.cluster) {
        if paused(app) {
            continue;
        }
        let outcome = match rendered.get(&app.name) {
            Some(Ok(rendered)) => {
                let lines = lines(secrets, input, app, &rendered.objects, (&sealed, blobs));
                match lines.await {
                    Ok(lines) => Wanted::Rendered(wanted_app(input.ask.fleet, app, lines)),
                    Err(failure) => Wanted::Failed(failure),
                }
            }
            Some(Err(failure)) => Wanted::Failed(failure.clone()),
            None => {
                Wanted::Failed(AppFailure::new("RENDER_CRASHED", "it was not rendered").as_fault())
            }
        };
        wanted.insert(app.name.clone(), outcome);
    }
    let here = |name: &str| {
        let app = input.ask.fleet.apps.get(name);
        app.is_some_and(|app| app.runs_on(input.ask.cluster))
    };
    let concerns = |name: &str| here(name) || had(name);
    pause::hold(input.paused, concerns, &mut wanted);
    wanted
}

fn wanted_app(fleet: &Fleet, app: &App, lines: Vec<WantedLine>) -> WantedApp {
    WantedApp {
        health_rules: fleet.health_rules_of(app, lines.iter().map(|line| &line.id)),
        lines,
        depends_on: app.depends_on.clone(),
        exclusive: app.exclusive,
        limits: app.prune.clone(),
        may_be_empty: matches!(app.source, Source::ClusterFolder { .. }),
    }
}

async fn lines(
    secrets: &Secrets,
    input: &Input<'_>,
    app: &App,
    objects: &[Object],
    (sealed, blobs): (&HashSet<Digest>, &mut BTreeMap<Digest, Bytes>),
) -> Result<Vec<WantedLine>, AppFailure> {
    let mut lines = Vec::with_capacity(objects.len());
    for object in objects {
        let (content, bytes) = if object.secret {
            let (cluster, recipient) = (input.ask.cluster.name.as_str(), input.recipient);
            let plain = Plain {
                cluster,
                recipient,
                app: &app.name,
                object: &object.id,
                content: &object.bytes,
            };
            let made = secrets
                .encrypt(plain)
                .await
                .map_err(|error| secret_failure(&error))?;
            if let Some(blob) = made.blob {
                blobs.insert(*made.content.blob(), blob);
            }
            (made.content, made.bytes)
        } else {
            if !sealed.contains(&object.sha256) {
                blobs.insert(object.sha256, object.bytes.clone());
            }
            (
                Content::Plain {
                    sha256: object.sha256,
                },
                object.bytes.len() as u64,
            )
        };
        lines.push(WantedLine {
            id: object.id.clone(),
            wave: object.wave,
            bytes,
            content,
        });
    }
    Ok(lines)
}

fn secret_failure(error: &SecretError) -> AppFailure {
    let (code, fault) = match error {
        SecretError::NoRecipient { .. } => ("SECRET_NO_RECIPIENT", false),
        SecretError::BadRecipient { .. } => ("SECRET_BAD_RECIPIENT", false),
        SecretError::Encrypt { .. } | SecretError::Index(_) | SecretError::Store(_) => {
            ("SECRET_FAULT", true)
        }
    };
    AppFailure {
        fault,
        ..AppFailure::new(code, error.to_string())
    }
}

fn carry(input: &Input<'_>, wanted: &BTreeMap<String, Wanted>) -> Carried {
    let elsewhere: BTreeSet<String> = input
        .ask
        .fleet
        .apps
        .values()
        .filter(|app| !app.runs_on(input.ask.cluster))
        .map(|app| app.name.clone())
        .collect();
    let hidden = (!input.ask.fleet.unreadable.is_empty())
        .then(|| AppFailure::of_mistakes(&input.ask.fleet.unreadable));
    carry::carry(&carry::Input {
        cluster: &input.ask.cluster.name,
        commit: input.commit,
        previous: input.previous,
        apps: wanted,
        elsewhere: &elsewhere,
        hidden: hidden.as_ref(),
        gone: input.gone,
        permits: input.permits,
    })
}
