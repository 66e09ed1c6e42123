use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use serde_json::json;

use super::*;
use crate::load::{DocumentCache, load, load_with};
use crate::render::{Code, Query, Seen, Stat, Values};
use crate::source::lock::{LockedArtifact, LockedChart, LockedRepository};
use crate::tree::MemoryTree;
use crate::yaml;

mod standin;
use standin::*;

fn app(name: &str, path: &str, more: &str) -> String {
    format!(
        "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  source: {{path: '{path}'}}\n{more}"
    )
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

async fn run(
    desired: &Desired<Fake, Nowhere>,
    tree: &MemoryTree,
) -> BTreeMap<String, Result<Vec<String>, AppFailure>> {
    let (fleet, _) = load_with(tree, &DOCUMENTS).unwrap();
    let tree: SharedTree = Arc::new(tree.clone());
    render_cluster(desired, &tree, &Arc::new(fleet), "one", None)
        .await
        .into_iter()
        .map(|outcome| {
            let names = outcome
                .result
                .map(|objects| objects.iter().map(|o| o.id.to_string()).collect());
            (outcome.app, names)
        })
        .collect()
}

#[tokio::test]
async fn of_1000_apps_one_changed_file_renders_its_readers_only() {
    let mut tree = MemoryTree::new([("clusters/one/x.yaml", map("x"))]);
    for n in 0..500 {
        tree = tree
            .with(
                format!("clusters/k{n}.yaml"),
                app(&format!("k{n}"), &format!("apps/k{n}"), ""),
            )
            .with(
                format!("apps/k{n}/kustomization.yaml"),
                "a.yaml\n../../shared.yaml\n".replace("../../", if n < 2 { "../../" } else { "" }),
            )
            .with(format!("apps/k{n}/shared.yaml"), map(&format!("ks{n}")))
            .with(format!("apps/k{n}/a.yaml"), map(&format!("k{n}")))
            .with(
                format!("clusters/p{n}.yaml"),
                app(&format!("p{n}"), &format!("apps/p{n}"), ""),
            )
            .with(format!("apps/p{n}/a.yaml"), map(&format!("p{n}")));
    }
    for n in 0..2 {
        tree = tree.with(
            format!("apps/k{n}/kustomization.yaml"),
            "a.yaml\n../shared.yaml\n",
        );
    }
    let tree = tree.with("apps/shared.yaml", map("shared"));
    let desired = desired();
    let first = run(&desired, &tree).await;
    assert_eq!(first.len(), 1001);
    assert!(first.values().all(Result::is_ok));
    let renders = || desired.cache.inputs_rendered();
    let cold = renders();
    assert_eq!(cold, 1001);
    run(&desired, &tree).await;
    assert_eq!(renders(), cold, "the same tree renders nothing");
    let tree = tree.with("README.md", "nobody reads me");
    run(&desired, &tree).await;
    assert_eq!(renders(), cold, "a file that nobody reads renders nothing");
    let tree = tree.with("apps/k7/a.yaml", map("k7-new"));
    assert_eq!(
        run(&desired, &tree).await["k7"].as_ref().unwrap()[0],
        "ConfigMap./default/k7-new".replace("./", "/")
    );
    assert_eq!(renders(), cold + 1);
    let tree = tree.with("apps/shared.yaml", map("shared-new"));
    run(&desired, &tree).await;
    assert_eq!(renders(), cold + 3, "a shared file renders its two readers");
    let tree = tree.with("apps/p9/a.yaml", map("p9-new"));
    run(&desired, &tree).await;
    assert_eq!(renders(), cold + 4);
}

#[tokio::test]
async fn of_1000_plain_files_one_changed_file_is_parsed() {
    let mut tree = MemoryTree::new([(
        "clusters/one/cluster.yaml",
        "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata: {name: one}\n",
    )]);
    for n in 0..1000 {
        tree = tree.with(format!("clusters/one/web/{n}.yaml"), map(&format!("m{n}")));
    }
    let desired = desired();
    assert_eq!(
        run(&desired, &tree).await["one"].as_ref().unwrap().len(),
        1000
    );
    let cold = desired.cache.inputs_rendered();
    let tree = tree.with("clusters/one/web/5.yaml", map("other"));
    assert_eq!(
        run(&desired, &tree).await["one"].as_ref().unwrap().len(),
        1000
    );
    assert_eq!(desired.cache.inputs_rendered(), cold + 1);
    let tree = tree.without("clusters/one/web/6.yaml");
    assert_eq!(
        run(&desired, &tree).await["one"].as_ref().unwrap().len(),
        999
    );
    assert_eq!(
        desired.cache.inputs_rendered(),
        cold + 1,
        "a removed file parses nothing"
    );
}

#[tokio::test]
async fn with_a_known_change_untouched_renders_are_not_even_looked_at() {
    let tree = MemoryTree::new([("clusters/one/x.yaml", map("x"))])
        .with("clusters/k.yaml", app("k", "apps/k", ""))
        .with("apps/k/kustomization.yaml", "a.yaml\n")
        .with("apps/k/a.yaml", map("k"));
    let cache = RenderCache::default();
    let files: Arc<dyn Files> = Arc::new(crate::tree::TreeFiles(Arc::new(tree)));
    let key = cache::Key(countersign_ledger::digest::Digest::of(b"k"));
    let mut trace = Trace::default();
    trace.record(
        Query::Read,
        "apps/k/a.yaml",
        Seen::File("not what stands there".into()),
    );
    let fresh = Fresh {
        trace,
        ..Fresh::default()
    };
    cache.traced(key, "t1", Ok(fresh)).0.unwrap();
    let change = |from: &str, to: &str, path: &str| Change {
        from: from.into(),
        to: to.into(),
        paths: BTreeSet::from([path.to_owned()]),
    };
    let known = |tree: &str, change: Option<&Change>| {
        cache
            .look_up(key, files.as_ref(), tree, change)
            .unwrap()
            .is_some()
    };
    assert!(known("t1", None), "the same tree");
    assert!(!known("t2", None), "another tree, whose files are compared");
    assert!(!known("t2", Some(&change("t1", "t2", "apps/k/a.yaml"))));
    assert!(
        !known("t2", Some(&change("t0", "t2", "README.md"))),
        "a change from another tree says nothing"
    );
    assert!(known("t2", Some(&change("t1", "t2", "README.md"))));
    assert!(known("t2", None), "now it is known to hold here");
}

/// A tree with a name, as a commit's is; what it is asked for is counted.
struct Named {
    tree: MemoryTree,
    id: String,
    asked: std::sync::atomic::AtomicUsize,
}

impl Named {
    fn new(id: &str, tree: MemoryTree) -> Arc<Self> {
        Arc::new(Self {
            tree,
            id: id.to_owned(),
            asked: 0.into(),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn count(&self) {
        self.asked
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl crate::tree::Tree for Named {
    fn stat(
        &self,
        path: &crate::path::RepoPath,
    ) -> Result<crate::tree::Stat, crate::tree::TreeFault> {
        self.count();
        self.tree.stat(path)
    }
    fn read(&self, path: &crate::path::RepoPath) -> Result<Bytes, crate::tree::ReadError> {
        self.tree.read(path)
    }
    fn list(
        &self,
        path: &crate::path::RepoPath,
    ) -> Result<crate::tree::Listing, crate::tree::TreeFault> {
        self.count();
        self.tree.list(path)
    }
    fn links(
        &self,
        path: &crate::path::RepoPath,
    ) -> Result<Vec<crate::path::RepoPath>, crate::tree::TreeFault> {
        self.tree.links(path)
    }
    fn id(&self) -> &str {
        &self.id
    }
}

fn change(from: &str, to: &str, path: &str) -> Arc<Change> {
    Arc::new(Change {
        from: from.to_owned(),
        to: to.to_owned(),
        paths: BTreeSet::from([path.to_owned()]),
    })
}

#[tokio::test]
async fn a_change_that_no_app_reads_touches_nothing_and_another_only_its_readers() {
    let tree = MemoryTree::new([("clusters/one/x.yaml", map("x"))])
        .with("clusters/k.yaml", app("k", "apps/k", ""))
        .with("apps/k/kustomization.yaml", "a.yaml\n")
        .with("apps/k/a.yaml", map("k"))
        .with("clusters/p.yaml", app("p", "apps/p", ""))
        .with("apps/p/a.yaml", map("p"))
        .with("elsewhere/b.yaml", map("b"))
        .with_link("apps/p/link.yaml", "../../elsewhere/b.yaml");
    let desired = desired();
    let fleet = Arc::new(load(&tree).unwrap().0);
    let render = async |tree: &Arc<Named>, change: Option<&Arc<Change>>| {
        let shared: SharedTree = tree.clone();
        let outcomes = render_cluster(&desired, &shared, &fleet, "one", change).await;
        outcomes
            .into_iter()
            .map(|outcome| (outcome.app, outcome.result.unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    let touched = |change: &Change| touched(&desired, &fleet, "one", change);

    assert!(
        touched(&change("t1", "t2", "README.md")),
        "nothing is known yet"
    );
    let one = Named::new("t1", tree.clone());
    let first = render(&one, None).await;
    assert!(
        touched(&change("t0", "t2", "README.md")),
        "a change of another tree"
    );
    for path in [
        "apps/k/a.yaml",
        "apps/p/new.yaml",
        "elsewhere/b.yaml",
        "apps",
        "clusters/one/y.yaml",
    ] {
        assert!(touched(&change("t1", "t2", path)), "{path}");
    }
    assert!(!touched(&change("t1", "t2", "README.md")));
    assert!(
        !touched(&change("t2", "t3", "elsewhere/c.yaml")),
        "and so on"
    );

    let changed = Named::new("t4", tree.clone().with("elsewhere/b.yaml", map("other")));
    let second = render(&changed, Some(&change("t3", "t4", "elsewhere/b.yaml"))).await;
    assert!(Arc::ptr_eq(&first["k"], &second["k"]));
    assert!(Arc::ptr_eq(&first["one"], &second["one"]));
    let names: Vec<_> = second["p"]
        .iter()
        .map(|object| object.id.name.as_str())
        .collect();
    assert_eq!(names, ["other", "p"]);
    let asked = changed.asked();
    let again = Named::new("t5", changed.tree.clone().with("notes", "x"));
    render(&again, Some(&change("t4", "t5", "notes"))).await;
    assert!(asked > 0);
    assert_eq!(again.asked(), 0, "no file is looked at");
}

#[tokio::test]
async fn a_failure_that_may_pass_is_looked_at_again() {
    let helm = "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {name: far}\nspec:\n  source: {path: apps/far}\n";
    let tree = MemoryTree::new([("clusters/one/x.yaml", map("x"))])
        .with("clusters/far.yaml", helm)
        .with("apps/far/kustomization.yaml", "gone.yaml\n");
    let desired = desired();
    let fleet = Arc::new(load(&tree).unwrap().0);
    let shared: SharedTree = Named::new("t1", tree);
    render_cluster(&desired, &shared, &fleet, "one", None).await;
    assert!(
        !touched(&desired, &fleet, "one", &change("t1", "t2", "README.md")),
        "a build that fails fails again"
    );
    let recorder = standing::Recorder::new("t2", &fleet, desired.renderer.version());
    let set = AppSet {
        set: Err(AppFailure::new("FILES_FAULT", "no disk").as_fault()),
        from_git: true,
        chart: false,
        fresh: false,
        reads: Vec::new(),
        passing: true,
    };
    recorder.note("far", Digest::of(b"kinds"), &set);
    desired.cache.stands("one", recorder.end());
    assert!(touched(
        &desired,
        &fleet,
        "one",
        &change("t2", "t3", "README.md")
    ));
}

#[tokio::test]
async fn folders_follow_the_rules_of_a_cluster() {
    let tree = MemoryTree::new([
        (
            "clusters/one/cluster.yaml",
            "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata: {name: one}\n"
                .to_owned(),
        ),
        ("clusters/one/a.yaml", map("a")),
        ("clusters/one/deep/b.yml", map("b")),
        (
            "clusters/one/deep/c.json",
            r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}"#.to_owned(),
        ),
        ("clusters/one/.hidden.yaml", map("hidden")),
        ("clusters/one/.git-ish/x.yaml", map("hidden2")),
        ("clusters/one/notes.txt", "no manifest".to_owned()),
        (
            "clusters/one/built/kustomization.yaml",
            "d.yaml\n".to_owned(),
        ),
        ("clusters/one/built/d.yaml", map("d")),
        ("clusters/one/own/e.yaml", map("e")),
        (
            "clusters/one/mixed.yaml",
            app("own", "clusters/one/own", "") + "---\n" + &map("mixed"),
        ),
    ]);
    let out = run(&desired(), &tree).await;
    let names = |app: &str| {
        out[app]
            .as_ref()
            .unwrap()
            .iter()
            .map(|id| id.rsplit('/').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("one"), ["a", "b", "c", "mixed"]);
    assert_eq!(names("own"), ["e"]);
    let tree = tree.with("clusters/one/kustomization.yaml", "a.yaml\n");
    assert_eq!(
        run(&desired(), &tree).await["one"].as_ref().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn values_come_from_labels_parameters_and_other_folders() {
    let cluster = "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata: {name: one}\nspec:\n  labels: {env: prod}\n  parameters: {replicas: 3}\n";
    let helm = "  render:\n    helm:\n      valueFiles: ['values/{{ .cluster.labels.env }}.yaml']\n      values: {replicas: '{{ .cluster.parameters.replicas }}'}\n";
    let tree = MemoryTree::new([("clusters/one/cluster.yaml", cluster.to_owned())])
        .with("clusters/web.yaml", app("web", "chart", helm))
        .with("chart/Chart.yaml", "name: web")
        .with("values/prod.yaml", "color: red\n");
    let desired = desired();
    assert!(run(&desired, &tree).await["web"].is_ok());
    let asked = desired.renderer.asked.lock().unwrap().clone();
    let asked = asked.into_iter().find_map(|how| match how {
        How::Helm(helm) => Some(helm),
        _ => None,
    });
    let asked = asked.unwrap();
    assert_eq!(
        asked.values[0],
        Values::File {
            path: "values/prod.yaml".into(),
            optional: false
        }
    );
    assert_eq!(
        asked.values[1],
        Values::Inline(json!({"replicas": 3}).as_object().unwrap().clone())
    );
    let missing = run(&desired, &tree.clone().without("values/prod.yaml")).await;
    assert_eq!(missing["web"].as_ref().unwrap_err().code, "VALUES_INVALID");
    let before = desired.cache.renders();
    run(&desired, &tree.clone().without("values/prod.yaml")).await;
    assert_eq!(
        desired.cache.renders(),
        before,
        "a lasting failure is known too"
    );
    assert!(run(&desired, &tree).await["web"].is_ok());
    assert_eq!(desired.cache.renders(), before, "and so is what came back");
}

#[tokio::test]
async fn charts_see_the_kinds_that_the_fleet_defines() {
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.org}\nspec:\n  group: example.org\n  names: {kind: Thing, plural: things}\n  scope: Namespaced\n  versions: [{name: v1, served: true}]\n";
    let thing = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t}\n";
    let tree = MemoryTree::new([("clusters/one/a.yaml", definition.to_owned())])
        .with("clusters/one/thing.yaml", thing)
        .with("clusters/web.yaml", app("web", "chart", ""))
        .with("chart/Chart.yaml", "name: web");
    let desired = desired();
    let (fleet, _) = load(&tree).unwrap();
    let shared: SharedTree = Arc::new(tree);
    let outcomes = render_cluster(&desired, &shared, &Arc::new(fleet), "one", None).await;
    let web = outcomes
        .iter()
        .find(|outcome| outcome.app == "web")
        .unwrap();
    let objects = web.result.as_ref().unwrap();
    assert_eq!(objects[0].json().unwrap()["data"]["things"], "dHJ1ZQ==");
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
}

#[tokio::test]
async fn one_app_s_failure_is_its_own() {
    let tree = MemoryTree::new([("clusters/one/x.yaml", map("x"))])
        .with("clusters/bad.yaml", app("bad", "apps/bad", ""))
        .with("apps/bad/kustomization.yaml", "none.yaml\n")
        .with("clusters/twice.yaml", app("twice", "apps/twice", ""))
        .with("apps/twice/a.yaml", map("t"))
        .with("apps/twice/b.yaml", map("t"))
        .with("clusters/lfs.yaml", app("lfs", "apps/lfs", ""))
        .with(
            "apps/lfs/a.yaml",
            "version https://git-lfs.github.com/spec/v1\noid x\n",
        )
        .with("clusters/gone.yaml", app("gone", "apps/gone", ""))
        .with_link("apps/link/a.yaml", "../../../etc/passwd")
        .with("clusters/link.yaml", app("link", "apps/link", ""))
        .with_link("apps/out", "/etc")
        .with("clusters/out.yaml", app("out", "apps/out", ""));
    let out = run(&desired(), &tree).await;
    let code = |app: &str| {
        out[app]
            .as_ref()
            .map_or_else(|failure| failure.code.clone(), |_| "ok".to_owned())
    };
    assert_eq!(code("one"), "ok");
    assert_eq!(code("bad"), "KUSTOMIZE_FAILED");
    assert_eq!(code("twice"), "OBJECT_TWICE");
    assert_eq!(code("lfs"), "LFS_POINTER");
    assert_eq!(code("gone"), "SPEC_INVALID");
    assert_eq!(code("link"), "PATH_ESCAPE");
}

#[test]
fn this_repository_s_own_fleet_has_no_mistake() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let tree = crate::tree::WorkTree::open(root.parent().unwrap_or(Path::new("."))).unwrap();
    let (fleet, mistakes) = load(&tree).unwrap();
    assert_eq!(mistakes, []);
    let names: Vec<_> = fleet.clusters.keys().map(String::as_str).collect();
    assert_eq!(names, ["eks-eu-west-1", "metal-fra"]);
    assert!(fleet.apps.len() >= 5);
}

#[tokio::test]
async fn a_second_render_must_give_the_same() {
    let tree = MemoryTree::new([("clusters/one/x.yaml", map("x"))]);
    let (fleet, _) = load(&tree).unwrap();
    let (tree, fleet): (SharedTree, _) = (Arc::new(tree), Arc::new(fleet));
    for moody in [false, true] {
        let mut desired = desired();
        desired.renderer.moody = moody;
        let first = render_cluster(&desired, &tree, &fleet, "one", None).await;
        let confirmed = confirm(&desired, &tree, &fleet, "one", &first[0]).await;
        assert_eq!(
            confirmed.map_err(|failure| failure.code),
            if moody {
                Err("NONDETERMINISTIC".to_owned())
            } else {
                Ok(())
            }
        );
        assert_eq!(desired.renderer.asked.lock().unwrap().len(), 2);
    }
}
