//! The shipped admission policies, judged twice: by our worker before anything is signed, and by a live API server with
//! the same files installed. Case by case, and on generated variations of the passing cases, both say the same.
//!
//! `live.rs` asks the API server, `variations.rs` makes the objects.

mod live;
mod variations;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use countersign_fleet::{
    admit::{Candidate, Decision, PolicySet, admit},
    document::Kubernetes,
    kinds::Kinds,
    render::Workers,
};
use countersign_tests::{until, workspace};
use serde_json::{Value, json};

use self::live::{Live, Ruling};
use crate::renderer;

const LIMIT: Duration = Duration::from_secs(60);
/// Variations that are judged.
const VARIATIONS: usize = 160;
/// `COUNTERSIGN_SEED` chooses other variations.
const SEED: u64 = 0x00c0_ffee_0041;

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let folder = workspace::root().join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    files
}

fn stem(path: &std::path::Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// An object of a case: to be judged on both sides.
struct Case {
    /// `images-by-digest/fail-ephemeral 0`
    name: String,
    /// The policy whose case it is, and whether that one must refuse it.
    wanted: Option<(String, bool)>,
    object: Value,
}

fn ephemeral(object: &Value) -> bool {
    object["kind"] == "Pod" && object["spec"].get("ephemeralContainers").is_some()
}

async fn cases(workers: &Workers) -> Vec<Case> {
    let mut cases = Vec::new();
    for policy in yaml_files("policies") {
        let policy = stem(&policy);
        for file in yaml_files(&format!("policies/cases/{policy}")) {
            let fails = stem(&file).starts_with("fail-");
            let objects = renderer::plain(workers, &std::fs::read(&file).unwrap()).await;
            for (n, mut object) in objects.into_iter().enumerate() {
                let name = format!("{policy}/{} {n}", stem(&file));
                if ephemeral(&object) {
                    // Made for real, so that a debugging container can be asked for: under a name of its own.
                    object["metadata"]["name"] = format!("{policy}-{}-{n}", stem(&file)).into();
                }
                let wanted = Some((policy.clone(), fails));
                cases.push(Case {
                    name,
                    wanted,
                    object,
                });
            }
        }
    }
    cases
}

/// What the worker says of each object: policy → the worst decision.
async fn ours(
    workers: &Workers,
    set: &PolicySet,
    objects: &[&Value],
) -> Vec<BTreeMap<String, Decision>> {
    let kinds = Kinds::of(&Kubernetes::default());
    let candidates: Vec<Candidate> = objects
        .iter()
        .map(|object| {
            let (group, _) = live::group_version(object);
            let known = kinds.get(group, object["kind"].as_str().unwrap()).unwrap();
            Candidate {
                json: (*object).clone(),
                namespaced: known.namespaced,
                resource: known.resource.clone(),
            }
        })
        .collect();
    let mut all = vec![BTreeMap::new(); objects.len()];
    for verdict in admit(workers, set, &candidates).await.unwrap() {
        let decision = all[verdict.object]
            .entry(verdict.policy)
            .or_insert(verdict.decision);
        if verdict.decision == Decision::Undecidable {
            *decision = Decision::Undecidable;
        }
    }
    all
}

fn shipped() -> PolicySet {
    let files = yaml_files("policies").into_iter().map(|path| {
        let name = format!("policies/{}.yaml", stem(&path));
        (name, std::fs::read(&path).unwrap().into())
    });
    PolicySet {
        files: files.collect(),
        kubernetes_version: renderer::KUBERNETES.to_owned(),
    }
}

/// Both sides of one object, as far as they differ.
fn difference(ours: &BTreeMap<String, Decision>, answer: &live::Answer) -> Option<String> {
    let blocking: BTreeSet<&String> = ours
        .iter()
        .filter(|(_, decision)| decision.blocks())
        .map(|(policy, _)| policy)
        .collect();
    let warned: BTreeSet<&String> = answer.warned.iter().collect();
    let agree = match &answer.ruling {
        Ruling::Taken => blocking.is_empty() && warned.is_empty(),
        // The message names one of the policies that refuse, the warnings all of them.
        Ruling::Denied(policy) => blocking == warned && blocking.contains(policy),
        // What the API server takes for invalid never comes to a policy: refused on that side whatever we say.
        Ruling::Invalid(_) => true,
    };
    (!agree).then(|| format!("ours {ours:?}, the API server's {answer:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_api_server_gives_the_same_verdicts_as_our_worker() {
    let workers = renderer::workers().await;
    let live = Live::start(&["shop"]).await;
    let set = shipped();
    let cases = cases(&workers).await;
    for case in cases.iter().filter(|case| ephemeral(&case.object)) {
        live.make_without_ephemeral(&case.object).await;
    }
    let objects: Vec<&Value> = cases.iter().map(|case| &case.object).collect();
    let verdicts = ours(&workers, &set, &objects).await;
    live.install(&set.files).await;

    // A policy is in force once an object that no other one refuses is refused by it.
    let mut probes: Vec<Value> = objects.iter().map(|object| (*object).clone()).collect();
    probes.retain(|object| !ephemeral(object));
    let owned = probes.clone().into_iter().map(|mut object| {
        object["metadata"]["labels"] = json!({"countersign.dev/owner": "payments"});
        object
    });
    probes.extend(owned.collect::<Vec<_>>());
    let of_probes = ours(&workers, &set, &probes.iter().collect::<Vec<_>>()).await;
    for policy in yaml_files("policies").iter().map(|path| stem(path)) {
        let probe = probes
            .iter()
            .zip(&of_probes)
            .find(|(_, verdict)| verdict.keys().eq([&policy]));
        let (probe, _) = probe.unwrap_or_else(|| panic!("{policy} refuses nothing alone"));
        until(&format!("{policy} is in force"), LIMIT, async || {
            let answer = live.ask(probe).await;
            let refused = answer.ruling == Ruling::Denied(policy.clone());
            anyhow::ensure!(refused && answer.warned.contains(&policy), "{answer:?}");
            Ok(())
        })
        .await;
    }

    let (mut wrong, mut invalid) = (Vec::new(), BTreeSet::new());
    for (case, ours) in cases.iter().zip(&verdicts) {
        let answer = live.ask(&case.object).await;
        if let Ruling::Invalid(why) = &answer.ruling {
            invalid.insert(format!("{}: {why}", case.name));
        }
        if let Some((policy, fails)) = &case.wanted
            && ours.contains_key(policy) != *fails
        {
            wrong.push(format!("{}: ours {ours:?}", case.name));
        }
        if let Some(difference) = difference(ours, &answer) {
            wrong.push(format!("{}: {difference}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The API server itself refuses more memory requested than allowed; our worker says so earlier. Nothing else may
    // hide here: a case that never comes to a policy shows nothing.
    let unexpected: Vec<&String> = invalid
        .iter()
        .filter(|case| !case.contains("fail-request-above-limit"))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");

    let seed = std::env::var("COUNTERSIGN_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let passing: Vec<&Value> = cases
        .iter()
        .filter(|case| case.wanted.as_ref().is_some_and(|(_, fails)| !fails))
        .map(|case| &case.object)
        .filter(|object| !ephemeral(object))
        .collect();
    let variations = variations::make(seed, &passing, VARIATIONS);
    let objects: Vec<&Value> = variations.iter().map(|(_, object)| object).collect();
    let verdicts = ours(&workers, &set, &objects).await;
    let (mut judged, mut denied) = (0, BTreeMap::<&String, usize>::new());
    for ((what, object), ours) in variations.iter().zip(&verdicts) {
        let answer = live.ask(object).await;
        if !matches!(answer.ruling, Ruling::Invalid(_)) {
            judged += 1;
        }
        for policy in ours.keys() {
            *denied.entry(policy).or_default() += 1;
        }
        if let Some(difference) = difference(ours, &answer) {
            wrong.push(format!("seed {seed}: {what}: {difference}\n{object}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        judged >= 100,
        "only {judged} of {VARIATIONS} came to a policy"
    );
    assert_eq!(
        denied.len(),
        set.files.len(),
        "each policy refuses some variation: {denied:?}"
    );
}

/// What only the cluster knows is undecidable before: it blocks, whatever the API server would say.
#[tokio::test(flavor = "multi_thread")]
async fn threat_cve_2025_46342_what_is_undecidable_here_is_never_taken_for_allowed() {
    let workers = renderer::workers().await;
    let live = Live::start(&["shop"]).await;
    let open = [
        ("old", "", "oldObject == null", ""),
        (
            "space",
            "",
            "has(namespaceObject.metadata.labels) && 'team' in namespaceObject.metadata.labels",
            "",
        ),
        ("user", "", "request.userInfo.username == 'nobody'", ""),
        (
            "authorizer",
            "",
            "!authorizer.group('').resource('secrets').namespace('shop').check('get').allowed()",
            "",
        ),
        (
            "selected",
            "",
            "false",
            "  matchResources:\n    namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}\n",
        ),
        (
            "params",
            "  paramKind: {apiVersion: v1, kind: ConfigMap}\n",
            "params.data.open == 'yes'",
            "  paramRef: {name: none, namespace: shop, parameterNotFoundAction: Deny}\n",
        ),
    ];
    let files: Vec<(String, bytes::Bytes)> = open
        .iter()
        .map(|(name, kind, expression, binding)| {
            let text = format!(
                "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: {name}}}\nspec:\n{kind}  failurePolicy: Fail\n  matchConstraints:\n    resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}}]\n    objectSelector: {{matchLabels: {{judged: \"yes\"}}}}\n  validations: [{{expression: \"{expression}\"}}]\n---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: {name}}}\nspec:\n  policyName: {name}\n  validationActions: [Deny]\n{binding}"
            );
            (format!("policies/{name}.yaml"), text.into())
        })
        .collect();
    let set = PolicySet {
        files,
        kubernetes_version: renderer::KUBERNETES.to_owned(),
    };
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "x", "namespace": "shop", "labels": {"judged": "yes"}},
    });
    let verdict = ours(&workers, &set, &[&object]).await.remove(0);
    let names: BTreeSet<&str> = open.iter().map(|(name, ..)| *name).collect();
    assert_eq!(
        verdict.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        names
    );
    assert!(
        verdict
            .values()
            .all(|decision| *decision == Decision::Undecidable),
        "{verdict:?}"
    );

    // The API server refuses for reasons that nobody could know before; all of them are among what blocked here.
    live.install(&set.files).await;
    let refused = until("policies refuse", LIMIT, async || {
        let answer = live.ask(&object).await;
        let all = ["space", "user", "authorizer", "selected"];
        anyhow::ensure!(
            all.iter().all(|name| answer.warned.contains(*name)),
            "{answer:?}"
        );
        Ok(answer)
    })
    .await;
    assert!(matches!(refused.ruling, Ruling::Denied(_)));
    assert!(
        !refused.warned.contains("old"),
        "a creation has no old object, which the hub can't know"
    );
}
