use proptest::prelude::*;

use countersign_ledger::identity::ObjectId;

use super::*;
use crate::model::Source;
use crate::tree::MemoryTree;

fn app(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata:\n  name: {name}\nspec:\n  source: {{path: apps/x}}\n{spec}"
    )
}

fn cluster(name: &str, labels: &str) -> (String, String) {
    (
        format!("clusters/{name}/cluster.yaml"),
        format!(
            "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: {name}\nspec:\n  labels: {{{labels}}}\n"
        ),
    )
}

fn base() -> MemoryTree {
    MemoryTree::new([
        cluster("eks", "env: production, runtime: eks"),
        cluster("metal", "env: production, runtime: metal"),
    ])
    .with("apps/x/a.yaml", "kind: ConfigMap")
}

fn read(tree: &MemoryTree) -> (Fleet, Vec<String>) {
    let (fleet, mistakes) = load(tree).unwrap();
    (fleet, mistakes.iter().map(ToString::to_string).collect())
}

#[test]
fn a_folder_is_a_cluster_without_any_document() {
    let tree = MemoryTree::new([("clusters/one/web.yaml", "kind: Service")]);
    let (fleet, mistakes) = read(&tree);
    assert_eq!(mistakes, [""; 0]);
    assert_eq!(fleet.clusters["one"].labels["name"], "one");
    assert!(matches!(
        fleet.apps["one"].source,
        Source::ClusterFolder { .. }
    ));
}

#[test]
fn where_a_file_lies_is_its_scope() {
    let tree = base()
        .with("clusters/eks/own.yaml", app("own", ""))
        .with(
            "clusters/chosen.yaml",
            app("chosen", "  clusters: {matchLabels: {runtime: metal}}\n"),
        )
        .with("clusters/everywhere.yaml", app("everywhere", ""));
    let (fleet, mistakes) = read(&tree);
    assert_eq!(mistakes, [""; 0]);
    let on = |cluster: &str| {
        fleet
            .apps_on(&fleet.clusters[cluster])
            .map(|app| app.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(on("eks"), ["eks", "everywhere", "own"]);
    assert_eq!(on("metal"), ["chosen", "everywhere", "metal"]);
}

#[test]
fn further_folders_and_defaults_come_from_fleet_yaml() {
    let tree = base()
        .with(
            "fleet.yaml",
            "apiVersion: countersign.dev/v1alpha1\nkind: Fleet\nmetadata: {name: casino}\nspec:\n  appFolders: [teams]\n  defaults: {namespace: shared}\n",
        )
        .with("teams/a/cart.yaml", app("cart", ""));
    let (fleet, mistakes) = read(&tree);
    assert_eq!(mistakes, [""; 0]);
    assert_eq!(fleet.name.as_deref(), Some("casino"));
    assert_eq!(fleet.apps["cart"].namespace, "shared");
}

#[test]
fn a_broken_app_keeps_its_name_and_the_others_load() {
    let tree = base()
        .with(
            "clusters/bad.yaml",
            app("bad", "  prune: {maxObjects: 99}\n"),
        )
        .with("clusters/good.yaml", app("good", ""));
    let (fleet, mistakes) = read(&tree);
    assert_eq!(
        mistakes,
        ["clusters/bad.yaml:7: spec.prune.maxObjects: must be 0 to 50, is 99"]
    );
    assert!(fleet.apps.contains_key("good") && !fleet.apps.contains_key("bad"));
    assert!(fleet.broken_apps.contains_key("bad") && fleet.unreadable.is_empty());
}

#[test]
fn a_file_that_can_t_be_read_hides_what_may_stand_in_it() {
    let broken = base().with(
        "clusters/x.yaml",
        "apiVersion: countersign.dev/v1alpha1\nkind: [",
    );
    let link = base().with_link("clusters/x.yaml", "/etc/passwd");
    let lfs = base().with(
        "clusters/x.yaml",
        "version https://git-lfs.github.com/spec/v1\n",
    );
    let binary = base().with(
        "clusters/x.yaml",
        &b"apiVersion: countersign.dev/v1alpha1 \xff"[..],
    );
    for tree in [broken, link, lfs, binary] {
        let (fleet, mistakes) = read(&tree);
        assert_eq!(fleet.unreadable.len(), 1);
        assert_eq!(mistakes.len(), 1);
    }
}

#[test]
fn a_broken_cluster_document_keeps_the_cluster_out() {
    let tree = base().with(
        "clusters/eks/cluster.yaml",
        "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata: {name: other}\nspec: {lables: {}}\n",
    );
    let (fleet, mistakes) = read(&tree);
    assert_eq!(
        mistakes,
        ["clusters/eks/cluster.yaml:4: spec.lables: there is no such field; did you mean labels?"]
    );
    assert!(fleet.broken_clusters.contains_key("eks") && !fleet.clusters.contains_key("eks"));
}

#[test]
fn a_cluster_document_names_its_folder() {
    let (path, text) = cluster("eks", "env: production");
    let tree = base().with(path, text.replace("name: eks", "name: metal"));
    let (fleet, mistakes) = read(&tree);
    assert_eq!(
        mistakes,
        [
            "clusters/eks/cluster.yaml:4: metadata.name: \"metal\" must be eks, the name of the folder"
        ]
    );
    assert!(fleet.broken_clusters.contains_key("eks"));
}

#[test]
fn names_are_unique_and_neither_of_two_wins() {
    let tree = base()
        .with("clusters/a.yaml", app("cart", ""))
        .with("clusters/eks/b.yaml", app("cart", ""))
        .with("clusters/c.yaml", app("metal", ""));
    let (fleet, mistakes) = read(&tree);
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(fleet.broken_apps.contains_key("cart") && !fleet.apps.contains_key("cart"));
    assert!(matches!(
        fleet.apps["metal"].source,
        Source::ClusterFolder { .. }
    ));
}

#[test]
fn mistakes_that_no_schema_sees_are_named() {
    let tree = base()
        .with("clusters/a.yaml", app("a", "  dependsOn: [b]\n"))
        .with("clusters/b.yaml", app("b", "  dependsOn: [a]\n"))
        .with("clusters/c.yaml", app("c", "  dependsOn: [wallte]\n"))
        .with("clusters/wallet.yaml", app("wallet", ""))
        .with(
            "clusters/d.yaml",
            app("d", "  clusters: {matchLabels: {env: moon}}\n"),
        )
        .with("clusters/eks/e.yaml", app("e", "  clusters: {}\n"))
        .with(
            "clusters/f.yaml",
            app("f", "  render: {plain: {}, kustomize: {}}\n"),
        )
        .with(
            "clusters/g.yaml",
            app(
                "g",
                "  render: {helm: {valueFiles: ['v/{{ .cluster.labels.zone }}']}}\n",
            ),
        )
        .with("clusters/h.yaml", app("h", "").replace("apps/x", "../x"))
        .with(
            "clusters/i.yaml",
            app("i", "").replace("apps/x", "apps/none"),
        )
        .with(
            "clusters/j.yaml",
            app("j", "").replace(
                "{path: apps/x}",
                "{oci: {url: 'oci://r.example.org/c', version: 1.2.3}}",
            ),
        );
    let (fleet, mistakes) = read(&tree);
    let said = mistakes.join("\n");
    for part in [
        "a.yaml:1: spec.dependsOn: the apps wait for each other: a → b → a",
        "c.yaml:1: spec.dependsOn: there is no app \"wallte\"; did you mean wallet?",
        "d.yaml:7: spec.clusters: no cluster matches; labels of the clusters: env: production",
        "e.yaml:7: spec.clusters: an App in a cluster's folder runs on that cluster alone",
        "f.yaml:7: spec.render: must have exactly one of plain, kustomize or helm, has plain or kustomize",
        "g.yaml:7: spec.render.helm.valueFiles[0]: on cluster eks: the cluster has no label zone",
        "h.yaml:6: spec.source.path: on cluster eks: \"../x\" leads out of the repository",
        "i.yaml:6: spec.source.path: there is no file or folder apps/none",
        "j.yaml:6: spec.source.oci: is not pinned in countersign.lock",
    ] {
        assert!(said.contains(part), "{part}\nnot in:\n{said}");
    }
    for name in ["a", "b", "c", "e", "f"] {
        assert!(fleet.broken_apps.contains_key(name), "{name}");
    }
    for name in ["d", "g", "h", "i", "j", "wallet"] {
        assert!(fleet.apps.contains_key(name), "{name}");
    }
}

#[test]
fn the_implied_app_leaves_out_what_belongs_to_others() {
    let own = app("own", "").replace("apps/x", "clusters/eks/own");
    let tree = base()
        .with("clusters/eks/own.yaml", own)
        .with("clusters/eks/own/a.yaml", "x: 1");
    let (fleet, _) = read(&tree);
    let Source::ClusterFolder { except, .. } = &fleet.apps["eks"].source else {
        panic!();
    };
    assert_eq!(except, &[RepoPath::parse("clusters/eks/own").unwrap()]);
}

const RULES: &str = "apiVersion: countersign.dev/v1alpha1\nkind: HealthRules\nspec:\n  rules:\n    - {group: example.com, kind: Thing, otherwise: Healthy}\n    - {kind: ConfigMap, checks: [{status: Degraded, when: 'self.data.bad == \"yes\"', message: it is bad}]}\n";

#[test]
fn the_fleet_s_health_rules_travel_with_the_apps_that_have_such_objects() {
    let own = app(
        "own",
        "  healthRules:\n    - {group: example.com, kind: Thing, otherwise: Suspended}\n",
    );
    let tree = base()
        .with("policies/health/a.yaml", RULES)
        .with("clusters/plain.yaml", app("plain", ""))
        .with("clusters/own.yaml", own);
    let (fleet, mistakes) = read(&tree);
    assert_eq!(mistakes, [""; 0]);
    let id = |group: &str, kind: &str| ObjectId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name: "x".to_owned(),
    };
    let rules = |app: &str, ids: &[ObjectId]| {
        let rules = fleet.health_rules_of(&fleet.apps[app], ids.iter());
        rules
            .iter()
            .map(|rule| format!("{} {}", rule["kind"], rule["otherwise"]))
            .collect::<Vec<_>>()
    };
    let things = [id("example.com", "Thing"), id("apps", "Deployment")];
    assert_eq!(rules("plain", &things), [r#""Thing" "Healthy""#]);
    assert_eq!(
        rules("own", &things),
        [r#""Thing" "Suspended""#],
        "its own counts"
    );
    assert_eq!(rules("plain", &[id("apps", "Deployment")]), [""; 0]);
    assert_eq!(
        rules("plain", &[id("", "ConfigMap")]),
        [r#""ConfigMap" null"#]
    );
}

#[test]
fn a_mistake_in_a_health_rule_is_named_and_holds_up_nothing() {
    let tree = base()
        .with("policies/health/a.yaml", RULES)
        .with("policies/health/b.yaml", RULES)
        .with(
            "policies/health/c.yaml",
            "apiVersion: countersign.dev/v1alpha1\nkind: HealthRules\nspec:\n  rules:\n    - {kind: Secret, checks: [{status: Fine, wenn: x}]}\n",
        )
        .with("policies/health/d.yaml", app("lost", ""))
        .with_link("policies/health/e.yaml", "../../../outside")
        .with("clusters/f.yaml", RULES);
    let (fleet, mistakes) = read(&tree);
    for wanted in [
        "policies/health/b.yaml:5: spec.rules[0]: policies/health/a.yaml:5 has a rule for this kind already",
        "policies/health/c.yaml:5: spec.rules[0].checks[0].status: must be",
        "policies/health/c.yaml:5: spec.rules[0].checks[0].wenn: there is no such field",
        "policies/health/d.yaml:1: policies/health/ holds HealthRules alone",
        "policies/health/e.yaml: ",
        "clusters/f.yaml:1: HealthRules stand in policies/health/",
    ] {
        assert!(
            mistakes.iter().any(|mistake| mistake.starts_with(wanted)),
            "{wanted}: {mistakes:#?}"
        );
    }
    assert_eq!(fleet.health_rules.len(), 2);
    assert_eq!(fleet.unreadable, []);
    assert!(fleet.apps.contains_key("eks"));
}

#[test]
fn only_changed_files_are_parsed_again() {
    struct Counting(MemoryTree, std::sync::atomic::AtomicUsize);
    impl crate::tree::resolve::Raw for Counting {
        fn node(&self, path: &RepoPath) -> Result<crate::tree::resolve::Node, TreeFault> {
            self.0.node(path)
        }
        fn names(&self, path: &RepoPath) -> Result<Vec<Result<String, String>>, TreeFault> {
            self.0.names(path)
        }
        fn bytes(&self, path: &RepoPath) -> Result<bytes::Bytes, TreeFault> {
            self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            self.0.bytes(path)
        }
        fn is_lfs_pointer(&self, _: &RepoPath, _: &str) -> Result<bool, TreeFault> {
            Ok(false)
        }
        fn id(&self) -> &str {
            ""
        }
    }
    let mut tree = base();
    for n in 0..100 {
        tree = tree.with(
            format!("clusters/app-{n}.yaml"),
            app(&format!("app-{n}"), ""),
        );
    }
    let cache = DocumentCache::default();
    let reads = |tree: MemoryTree| {
        let tree = Counting(tree, Default::default());
        let (fleet, _) = load_with(&tree, &cache).unwrap();
        assert_eq!(fleet.apps.len(), 102);
        tree.1.into_inner()
    };
    assert_eq!(reads(tree.clone()), 102);
    assert_eq!(reads(tree.clone()), 0);
    assert_eq!(
        reads(tree.with("clusters/app-7.yaml", app("app-7", "  exclusive: true\n"))),
        1
    );
}

proptest! {
    #[test]
    fn any_text_gives_a_fleet_and_mistakes_with_places(text in "[a-zA-Z0-9:{}\\[\\]\\-,/. \n]{0,200}") {
        let tree = base().with("clusters/x.yaml", format!("apiVersion: countersign.dev/v1alpha1\n{text}"));
        let (_, mistakes) = load(&tree).unwrap();
        for mistake in mistakes {
            prop_assert!(!mistake.file.as_str().is_empty());
        }
    }
}
