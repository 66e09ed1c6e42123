//! Admission through real workers, with the policies that the project ships.
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::*;
use crate::render::tests::pool;

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

fn set(files: &[PathBuf]) -> PolicySet {
    PolicySet {
        files: files
            .iter()
            .map(|path| {
                let name = format!("policies/{}.yaml", stem(path));
                (name, std::fs::read(path).unwrap().into())
            })
            .collect(),
        kubernetes_version: "v1.35.4".to_owned(),
    }
}

fn text(policy: &str) -> PolicySet {
    PolicySet {
        files: vec![("policies/p.yaml".to_owned(), policy.to_owned().into())],
        kubernetes_version: "v1.35.4".to_owned(),
    }
}

async fn candidates(workers: &Workers, case: &Path) -> Vec<Candidate> {
    let files = crate::render::MemoryFiles::new([("case.yaml", std::fs::read(case).unwrap())]);
    let request = crate::render::RenderRequest {
        how: crate::render::How::Plain {
            files: vec!["case.yaml".to_owned()],
        },
        kubernetes_version: "v1.35.4".to_owned(),
        api_versions: Vec::new(),
    };
    let rendered = workers
        .render(&request, std::sync::Arc::new(files))
        .await
        .unwrap();
    rendered
        .objects
        .into_iter()
        .map(|object| Candidate {
            namespaced: object.json["kind"] != "Namespace",
            json: object.json,
            resource: String::new(),
        })
        .collect()
}

/// THREATS 1.3: CVE-2023-2727, CVE-2023-2728, CVE-2024-3177, CVE-2021-25735.
#[tokio::test]
async fn threat_cve_2023_2727_each_shipped_policy_accepts_and_refuses_its_cases() {
    let workers = pool(|_| {}).await;
    let files = yaml_files(&policies());
    assert!(files.len() >= 6);
    for file in &files {
        let set = set(std::slice::from_ref(file));
        let cases = yaml_files(&policies().join("cases").join(stem(file)));
        let kinds: BTreeSet<&str> = cases
            .iter()
            .map(|case| stem(case).split('-').next().unwrap())
            .collect();
        assert_eq!(kinds, BTreeSet::from(["fail", "pass"]), "{file:?}");
        for case in &cases {
            let objects = candidates(&workers, case).await;
            let verdicts = admit(&workers, &set, &objects).await.unwrap();
            let denied: BTreeSet<usize> = verdicts.iter().map(|verdict| verdict.object).collect();
            assert!(
                verdicts.iter().all(|v| v.decision == Decision::Denied),
                "{case:?}: {verdicts:?}"
            );
            let expected = if stem(case).starts_with("pass-") {
                0
            } else {
                objects.len()
            };
            assert_eq!(denied.len(), expected, "{case:?}: {verdicts:?}");
        }
    }
}

#[tokio::test]
async fn all_shipped_policies_load_together() {
    let workers = pool(|_| {}).await;
    let names = check(&workers, &set(&yaml_files(&policies())))
        .await
        .unwrap();
    let mut files: Vec<String> = yaml_files(&policies())
        .iter()
        .map(|path| stem(path).to_owned())
        .collect();
    files.sort();
    assert_eq!(names, files);
}

const POLICY: &str = "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: p}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [configmaps]}]
  validations: [{expression: \"EXPRESSION\"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: b}
spec: {policyName: p, validationActions: [Deny]}
";

fn config_map(name: &str) -> Candidate {
    Candidate {
        json: serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}}),
        namespaced: true,
        resource: "configmaps".to_owned(),
    }
}

/// THREATS 1.3: CVE-2025-46342, CVE-2024-48921, GO-2026-4285.
#[tokio::test]
async fn threat_cve_2025_46342_what_only_the_cluster_knows_is_undecidable() {
    let workers = pool(|_| {}).await;
    let set = text(&POLICY.replace("EXPRESSION", "oldObject == null"));
    let verdicts = admit(&workers, &set, &[config_map("x")]).await.unwrap();
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].decision, Decision::Undecidable);
    assert!(verdicts[0].decision.blocks());
    assert!(verdicts[0].message.contains("oldObject"));
}

#[tokio::test]
async fn verdicts_name_their_object_across_batches() {
    let workers = pool(|_| {}).await;
    let set = text(&POLICY.replace("EXPRESSION", "object.metadata.name != 'bad'"));
    let mut objects: Vec<Candidate> = (0..40).map(|n| config_map(&format!("good-{n}"))).collect();
    for object in &mut objects {
        object.json["data"] = serde_json::json!({"filler": "x".repeat(1 << 20)});
    }
    objects[37] = config_map("bad");
    let verdicts = admit(&workers, &set, &objects).await.unwrap();
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].object, 37);
    assert_eq!(verdicts[0].policy, "p");
}

#[tokio::test]
async fn all_mistakes_of_a_set_come_at_once() {
    let workers = pool(|_| {}).await;
    let mut set = text(&POLICY.replace("EXPRESSION", "object."));
    set.files
        .push(("policies/q.yaml".to_owned(), "kind: [".into()));
    let mistakes = check(&workers, &set).await.unwrap_err();
    let files: BTreeSet<&str> = mistakes
        .iter()
        .map(|mistake| mistake.file.as_str())
        .collect();
    assert_eq!(
        files,
        BTreeSet::from(["policies/p.yaml", "policies/q.yaml"])
    );
    assert!(
        mistakes
            .iter()
            .all(|mistake| mistake.code == Code::PolicyInvalid && mistake.line > 0)
    );
    assert!(admit(&workers, &set, &[config_map("x")]).await.is_err());
}

#[test]
fn a_set_is_named_by_all_that_decides_its_verdicts() {
    let base = text(POLICY);
    let mut version = base.clone();
    version.kubernetes_version = "v1.34.0".to_owned();
    let mut moved = base.clone();
    moved.files[0].0.push('x');
    let digests = BTreeSet::from([base.digest(), version.digest(), moved.digest()]);
    assert_eq!(digests.len(), 3);
}
