//! One cluster at one commit: render, check, carry. Whatever fails is one app's failure; the others move on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use countersign_fleet::admit::{Decision, Verdict};
use countersign_fleet::carry::{self, Carried, Previous, Wanted, WantedApp, WantedLine};
use countersign_fleet::failure::AppFailure;
use countersign_fleet::guard::DeletionPermits;
use countersign_fleet::model::{App, Cluster, Fleet, Source};
use countersign_fleet::tree::SharedTree;
use countersign_ledger::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::json;
use countersign_ledger::manifest::Content;
use countersign_ledger::statement::Admission;

use crate::pipeline::policies::PolicyFiles;
use crate::pipeline::stage::{AppObjects, Ask, ReadyObject, RenderedApps, Stage};
use crate::seal::{Plain, SecretError, Secrets};

/// All that decides one cluster's next state.
pub struct Input<'a> {
    /// The commit, hex.
    pub commit: &'a str,
    /// Its tree.
    pub tree: &'a SharedTree,
    /// Its fleet.
    pub fleet: &'a Fleet,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What it ran before.
    pub previous: &'a Previous,
    /// Sets that must all admit.
    pub judges: &'a [PolicyFiles],
    /// Identities that it reported gone.
    pub gone: &'a BTreeSet<ObjectId>,
    /// Deletions that a person allowed.
    pub permits: &'a DeletionPermits,
    /// Its age recipient, once its agent registered.
    pub recipient: Option<&'a str>,
    /// Renders that differed from their repetition, by app and digest; they stay refused.
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
    /// Apps rendered now and not yet a second time.
    pub unrepeated: Vec<(String, Digest)>,
    /// Renders whose repetition before sealing gave something else.
    pub differed: Vec<(String, Digest)>,
    /// Renders done by a worker, and those that were not needed.
    pub renders: (u64, u64),
}

impl<'a> Input<'a> {
    fn ask(&self) -> Ask<'a> {
        Ask { tree: self.tree, fleet: self.fleet, cluster: self.cluster }
    }
}

/// Takes one cluster through render, check and carry.
pub async fn next(stage: &dyn Stage, secrets: &Secrets, input: &Input<'_>) -> Outcome {
    let mut rendered = render(stage, input).await;
    let count = |fresh: bool| rendered.values().filter(|app| app.as_ref().is_ok_and(|app| app.fresh == fresh)).count() as u64;
    let renders = (count(true), count(false));
    let mut blobs = BTreeMap::new();
    let admission = admit(stage, input, &mut rendered, &mut blobs).await;
    let mut wanted = want(secrets, input, &rendered, &mut blobs).await;
    let mut carried = carry(input, &wanted);
    let (mut repeated, mut differed) = (BTreeSet::new(), Vec::new());
    // What deletes is rendered twice before anything is signed (DECISIONS 13). An app that then fails gives nothing away,
    // which may make others fail, but nobody delete more.
    loop {
        let deleting: Vec<String> = carried
            .reports
            .iter()
            .filter(|(name, report)| report.removed > 0 && !repeated.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        if deleting.is_empty() {
            break;
        }
        for name in deleting {
            if let Some(Ok(first)) = rendered.get(&name) {
                if let Some(failure) = repeat(stage, input, &name, &first.objects).await {
                    if failure.code == NONDETERMINISTIC {
                        differed.push((name.clone(), first.objects.digest));
                    }
                    wanted.insert(name.clone(), Wanted::Failed(failure));
                }
            }
            repeated.insert(name);
        }
        carried = carry(input, &wanted);
    }
    let unrepeated = rendered
        .iter()
        .filter(|(name, _)| !repeated.contains(*name))
        .filter_map(|(name, app)| app.as_ref().ok().filter(|app| app.fresh).map(|app| (name.clone(), app.objects.digest)))
        .collect();
    Outcome { carried, blobs, admission, unrepeated, differed, renders }
}

/// Code of an app whose two renders of one input differ.
pub const NONDETERMINISTIC: &str = "RENDER_NOT_REPEATABLE";

/// Renders an app once more and says what is wrong with the first render, if anything is.
async fn repeat(stage: &dyn Stage, input: &Input<'_>, app: &str, first: &AppObjects) -> Option<AppFailure> {
    match stage.again(input.ask(), app).await {
        Ok(second) if second.digest == first.digest => None,
        Ok(_) => Some(not_repeatable()),
        Err(failure) => Some(failure),
    }
}

fn not_repeatable() -> AppFailure {
    AppFailure::new(NONDETERMINISTIC, "two renders of the same files differ; remove what makes them differ (random or time-dependent values)")
}

/// A render that is known to differ from its repetition stays refused.
async fn render(stage: &dyn Stage, input: &Input<'_>) -> RenderedApps {
    let mut rendered = stage.apps(input.ask()).await;
    for (name, app) in &mut rendered {
        if app.as_ref().is_ok_and(|app| input.differing.contains(&(name.clone(), app.objects.digest))) {
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
    let Some(named) = judges.first() else { return Admission::default() };
    let mut objects: Vec<ReadyObject> = Vec::new();
    let mut owners: Vec<String> = Vec::new();
    for (name, app) in rendered.iter() {
        for object in app.iter().flat_map(|app| &app.objects.objects) {
            objects.push(object.clone());
            owners.push(name.clone());
        }
    }
    let mut said: Vec<Verdict> = Vec::new();
    for set in &judges {
        match stage.admit(input.ask(), set, &objects).await {
            Ok(verdicts) => said.extend(verdicts),
            // Nothing is signed that was not judged.
            Err(failure) => {
                for app in rendered.values_mut() {
                    *app = Err(failure.clone());
                }
                return Admission::default();
            }
        }
    }
    let mut listed = Vec::new();
    for verdict in &said {
        let (Some(owner), Some(object)) = (owners.get(verdict.object), objects.get(verdict.object)) else { continue };
        if verdict.decision.blocks() {
            rendered.insert(owner.clone(), Err(denied(verdict, object)));
        }
        listed.push(serde_json::json!({
            "app": owner, "object": object.id.to_string(), "policy": verdict.policy, "binding": verdict.binding,
            "decision": decision(verdict.decision), "message": verdict.message,
        }));
    }
    let policies = named.bytes();
    let policies_digest = Digest::of(&policies);
    blobs.insert(policies_digest, policies);
    let verdicts = json::canonical(&serde_json::json!({ "verdicts": listed })).ok().map(Bytes::from);
    let verdicts_digest = verdicts.map(|bytes| {
        let digest = Digest::of(&bytes);
        blobs.insert(digest, bytes);
        digest
    });
    Admission { policies: Some(policies_digest), verdicts: verdicts_digest }
}

fn denied(verdict: &Verdict, object: &ReadyObject) -> AppFailure {
    let code = match verdict.decision {
        Decision::Undecidable => "POLICY_UNDECIDABLE",
        Decision::Denied | Decision::Warned | Decision::Audited => "ADMISSION_DENIED",
    };
    AppFailure::new(code, format!("{}: policy {}: {}", object.id, verdict.policy, verdict.message))
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
    let broken = input.fleet.broken_apps.iter().map(|(name, mistakes)| (name.clone(), Wanted::Failed(AppFailure::of_mistakes(mistakes))));
    let mut wanted: BTreeMap<String, Wanted> = broken.collect();
    for app in input.fleet.apps_on(input.cluster) {
        let outcome = match rendered.get(&app.name) {
            Some(Ok(rendered)) => match lines(secrets, input, app, &rendered.objects, blobs).await {
                Ok(lines) => Wanted::Rendered(wanted_app(app, lines)),
                Err(failure) => Wanted::Failed(failure),
            },
            Some(Err(failure)) => Wanted::Failed(failure.clone()),
            None => Wanted::Failed(AppFailure::new("RENDER_CRASHED", "it was not rendered").as_fault()),
        };
        wanted.insert(app.name.clone(), outcome);
    }
    wanted
}

fn wanted_app(app: &App, lines: Vec<WantedLine>) -> WantedApp {
    WantedApp {
        lines,
        depends_on: app.depends_on.clone(),
        exclusive: app.exclusive,
        health_rules: app.health_rules.clone(),
        limits: app.prune.clone(),
        may_be_empty: matches!(app.source, Source::ClusterFolder { .. }),
    }
}

async fn lines(
    secrets: &Secrets,
    input: &Input<'_>,
    app: &App,
    rendered: &AppObjects,
    blobs: &mut BTreeMap<Digest, Bytes>,
) -> Result<Vec<WantedLine>, AppFailure> {
    let mut lines = Vec::with_capacity(rendered.objects.len());
    for object in &rendered.objects {
        let (content, bytes) = if object.is_secret() {
            let plain =
                Plain { cluster: &input.cluster.name, recipient: input.recipient, app: &app.name, object: &object.id, content: &object.json };
            let made = secrets.encrypt(plain).await.map_err(|error| secret_failure(&error))?;
            if let Some(blob) = made.blob {
                blobs.insert(*made.content.blob(), blob);
            }
            (made.content, made.bytes)
        } else {
            blobs.insert(object.sha256, object.json.clone());
            (Content::Plain { sha256: object.sha256 }, object.json.len() as u64)
        };
        lines.push(WantedLine { id: object.id.clone(), wave: object.wave, bytes, content });
    }
    Ok(lines)
}

fn secret_failure(error: &SecretError) -> AppFailure {
    let (code, fault) = match error {
        SecretError::NoRecipient { .. } => ("SECRET_NO_RECIPIENT", false),
        SecretError::BadRecipient { .. } => ("SECRET_BAD_RECIPIENT", false),
        SecretError::Encrypt { .. } | SecretError::Index(_) | SecretError::Store(_) => ("SECRET_FAULT", true),
    };
    AppFailure { fault, ..AppFailure::new(code, error.to_string()) }
}

fn carry(input: &Input<'_>, wanted: &BTreeMap<String, Wanted>) -> Carried {
    let elsewhere: BTreeSet<String> = input.fleet.apps.values().filter(|app| !app.runs_on(input.cluster)).map(|app| app.name.clone()).collect();
    let hidden = (!input.fleet.unreadable.is_empty()).then(|| AppFailure::of_mistakes(&input.fleet.unreadable));
    carry::carry(&carry::Input {
        cluster: &input.cluster.name,
        commit: input.commit,
        previous: input.previous,
        apps: wanted,
        elsewhere: &elsewhere,
        hidden: hidden.as_ref(),
        gone: input.gone,
        permits: input.permits,
    })
}
