//! What goes in, what is printed, and with which exit status it ends.

use std::io::Write as _;

use clap::Parser;

use super::{HealthArgs, HealthError, run};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    health: HealthArgs,
}

fn health(options: &[&str], input: &str) -> Result<(u8, String), HealthError> {
    let args = Cli::try_parse_from(["health"].iter().chain(options))
        .unwrap()
        .health;
    let mut output = Vec::new();
    let status = run(&args, &mut input.as_bytes(), &mut output)?;
    Ok((status, String::from_utf8(output).unwrap()))
}

const SHOP: &str = "\
# two documents, one of them a list
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
---
---
apiVersion: v1
kind: List
items:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: cart, namespace: shop, generation: 1}
    spec: {replicas: 2, selector: {matchLabels: {app: cart}}}
    status: {observedGeneration: 1, replicas: 2, updatedReplicas: 2, availableReplicas: 1}
  - apiVersion: v1
    kind: Namespace
    metadata: {name: shop}
";

const POD: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: cart-7, namespace: shop, labels: {app: cart}}
status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ImagePullBackOff}}}]}
";

#[test]
fn documents_and_lists_become_rows() {
    let (status, shown) = health(&["-f", "-"], SHOP).unwrap();
    assert_eq!(
        shown,
        "\
NAME           KIND        STATUS       MESSAGE
shop/settings  ConfigMap   Healthy
shop/cart      Deployment  Progressing  1 of 2 replicas available
shop           Namespace   Healthy
"
    );
    assert_eq!(status, 4);
}

#[test]
fn a_workload_is_explained_by_its_pods() {
    let (status, shown) = health(&["-f", "-"], &format!("{SHOP}{POD}")).unwrap();
    assert!(
        shown.contains(
            "Degraded  1 of 2 replicas available; pod cart-7: container app: ImagePullBackOff"
        ),
        "{shown}"
    );
    assert_eq!(status, 1);
}

#[test]
fn json_in_and_out() {
    let list = r#"{"apiVersion":"apps/v1","kind":"DeploymentList","items":[{"metadata":{"name":"a","namespace":"n"},"spec":{"paused":true},"status":{"observedGeneration":1}}]}
        {"apiVersion":"v1","kind":"Secret","metadata":{"name":"b","namespace":"n"}}"#;
    let (status, shown) = health(&["-f", "-", "-o", "json"], list).unwrap();
    let report: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        report,
        serde_json::json!({
            "status": "Suspended",
            "message": "Deployment n/a: paused: 0 of 1 replica updated",
            "objects": [
                {"group": "apps", "kind": "Deployment", "namespace": "n", "name": "a", "status": "Suspended", "message": "paused: 0 of 1 replica updated"},
                {"group": "", "kind": "Secret", "namespace": "n", "name": "b", "status": "Healthy", "message": ""},
            ],
        })
    );
    assert_eq!(status, 0);
}

#[test]
fn nothing_to_judge_is_healthy() {
    assert_eq!(
        health(&["-f", "-"], "").unwrap(),
        (0, "NAME  KIND  STATUS  MESSAGE\n".to_owned())
    );
}

#[test]
fn no_name_and_no_message_steers_the_terminal() {
    let object = r#"{"apiVersion":"v1","kind":"Pod\u001b[31m","metadata":{"name":"a\u001b]0;x\u0007\u009b2J\u202e"},"status":{"phase":"Failed"}}
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"},"status":{"phase":"Failed","message":"x\u001b[2J\rgone"}}"#;
    for form in ["table", "json"] {
        let (_, shown) = health(&["-f", "-", "-o", form], object).unwrap();
        assert!(
            !shown.chars().any(|c| c != '\n' && super::steers(c)),
            "{form}: {}",
            shown.escape_debug()
        );
    }
}

#[test]
fn the_fleets_rules_apply() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(
        b"apiVersion: countersign.dev/v1alpha1\nkind: HealthRules\nspec:\n  rules:\n    - {group: example.com, kind: Thing, checks: [{status: Degraded, when: self.spec.bad, message: it is bad}]}\n",
    )
    .unwrap();
    let rules = file.path().to_str().unwrap().to_owned();
    let rules = rules.as_str();
    let thing = "{apiVersion: example.com/v1, kind: Thing, metadata: {name: a}, spec: {bad: true}}";
    let (status, shown) = health(&["-f", "-", "--rules", rules], thing).unwrap();
    assert!(shown.contains("Degraded  it is bad"), "{shown}");
    assert_eq!(status, 1);

    file.write_all(b"    - {kind: A, checks: [{status: Healthy, when: 'a +'}]}\n")
        .unwrap();
    let error = health(&["-f", "-", "--rules", rules], thing)
        .unwrap_err()
        .to_string();
    assert!(error.contains("rule /A: checks[0].when"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named() {
    for (input, part) in [
        ("a: [", "-: "),
        ("a: 1\na: 2\n", "-: "),
        ("{\"a\": ", "-: "),
    ] {
        let error = health(&["-f", "-"], input).unwrap_err().to_string();
        assert!(error.starts_with(part), "{error}");
    }
    let error = health(&["-f", "/no/such/file"], "").unwrap_err();
    assert!(matches!(error, HealthError::Read { .. }), "{error}");
    assert_eq!(error.code(), 2);
    let nested = (0..9).fold("{}".to_owned(), |inner, _| {
        format!("{{\"kind\":\"List\",\"items\":[{inner}]}}")
    });
    assert!(matches!(
        health(&["-f", "-"], &nested),
        Err(HealthError::TooMany)
    ));
}

#[test]
fn an_alias_bomb_ends_soon() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let before = format!("*a{}", n - 1);
        bomb.push_str(&format!(
            "a{n}: &a{n} [{}]\n",
            [before.as_str(); 9].join(", ")
        ));
    }
    assert!(matches!(
        health(&["-f", "-"], &bomb),
        Err(HealthError::Syntax { .. })
    ));
}
