use super::*;
use crate::document::DocumentKind;
use crate::yaml;

fn mistakes(kind: DocumentKind, text: &str) -> Vec<String> {
    let nodes = yaml::parse(text).unwrap();
    let file = RepoPath::parse("a.yaml").unwrap();
    check(&kind.schema(), &nodes[0], &file)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn all_mistakes_come_at_once_with_line_and_field() {
    let text = "\
apiVersion: countersign.dev/v1alpha1
kind: App
metadata:
  name: Cart
spec:
  sorce: {path: x}
  clusters:
    matchLabels: {env: 5}
    matchExpressions:
      - {key: env, operator: Inside, values: [a]}
  prune:
    maxObjects: -1
    maxPercent: a lot
  dependsOn: wallet
  rollout:
    bakeTime: 1e999h
";
    assert_eq!(
        mistakes(DocumentKind::App, text),
        [
            "a.yaml:4: metadata.name: \"Cart\" must be small letters, digits and '-', at most 53, with a letter or digit at both ends",
            "a.yaml:5: spec.source: is missing",
            "a.yaml:6: spec.sorce: there is no such field; did you mean source?",
            "a.yaml:8: spec.clusters.matchLabels.env: must be a text, is a number",
            "a.yaml:10: spec.clusters.matchExpressions[0].operator: must be In, NotIn, Exists or DoesNotExist, is \"Inside\"",
            "a.yaml:12: spec.prune.maxObjects: must be 0 to 50, is -1",
            "a.yaml:13: spec.prune.maxPercent: must be a whole number, is a text",
            "a.yaml:14: spec.dependsOn: must be a list, is a text",
            "a.yaml:16: spec.rollout.bakeTime: \"1e999h\" must be a whole number with s, m, h or d, such as 10m",
        ]
    );
}

#[test]
fn a_good_document_has_no_mistakes() {
    let text = "\
apiVersion: countersign.dev/v1alpha1
kind: App
metadata: {name: cart, annotations: {team: payments}}
spec:
  source: {path: manifests/cart}
  render:
    helm: {valueFiles: ['v/{{ .cluster.labels.env }}.yaml'], values: {a: {b: [1, two, ~]}}}
  clusters: {matchExpressions: [{key: env, operator: Exists}]}
  rollout: {rings: [canary, wide], bakeTime: 10m, gates: [noDrift]}
  prune: {maxObjects: 5, protectedKinds: [StatefulSet.apps]}
  onRemoval: delete
  namespace: ~
  project: {namespaces: [payments], kinds: [ConfigMap]}
";
    assert_eq!(mistakes(DocumentKind::App, text), [""; 0]);
}

#[test]
fn urls_that_could_be_options_or_carry_a_password_are_refused() {
    for text in [
        "--upload-pack=x",
        "https://user:secret@host/x",
        "https://-x/y",
        "ext::sh -c x",
        "file:///etc",
        "https://host/\nx",
        "git@host:-x",
        "ssh://-oProxyCommand=x/y",
    ] {
        assert!(form("git-url", text).is_err(), "{text}");
    }
    for text in [
        "https://host/x.git",
        "ssh://git@host/x",
        "git@host.example:org/x.git",
    ] {
        assert!(form("git-url", text).is_ok(), "{text}");
    }
    for text in ["-x", "a..b", "HEAD~1", "a:b", "x.lock", "@{-1}", "a b", ""] {
        assert!(form("git-ref", text).is_err(), "{text}");
    }
    assert!(form("git-ref", "release/1.2").is_ok());
    assert!(form("chart-version", ">=1.0.0").is_err());
    assert!(form("chart-version", "1.0").is_err());
    assert!(form("chart-version", "1.2.3-rc.1+x").is_ok());
}
