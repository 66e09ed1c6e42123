use std::sync::Arc;

use countersign_ledger::manifest::TombstoneLine;

use super::*;
use crate::kinds::Kinds;
use crate::load::load;
use crate::tree::MemoryTree;

const FLEET: &str =
    "apiVersion: countersign.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec: {}\n";
const CLUSTER: &str = "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata: {name: c}\nspec: {labels: {env: test}}\n";

fn fleet(apps: &[&str]) -> Fleet {
    let mut files = vec![
        ("fleet.yaml".to_owned(), FLEET.to_owned()),
        ("clusters/c/cluster.yaml".to_owned(), CLUSTER.to_owned()),
    ];
    for app in apps {
        let document = format!(
            "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {{name: {app}}}\nspec:\n  source:\n    path: manifests/{app}\n"
        );
        files.push((format!("clusters/{app}.yaml"), document));
        files.push((
            format!("manifests/{app}/a.yaml"),
            "kind: ConfigMap".to_owned(),
        ));
    }
    let tree = MemoryTree::new(files);
    let (fleet, mistakes) = load(&tree).unwrap();
    assert_eq!(mistakes, []);
    fleet
}

fn id(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: name.into(),
    }
}

fn object(name: &str, content: &str) -> Object {
    let secret = name.starts_with("secret");
    Object {
        id: id(name),
        api_version: "v1".into(),
        bytes: content.to_owned().into(),
        sha256: Digest::of(content.as_bytes()),
        wave: 0,
        secret,
        namespaced: true,
        resource: "configmaps".into(),
        file: String::new(),
        line: 0,
    }
}

fn outcome(app: &str, result: Result<&[(&str, &str)], AppFailure>) -> AppOutcome {
    let objects = |all: &[(&str, &str)]| {
        all.iter()
            .map(|(name, content)| object(name, content))
            .collect()
    };
    AppOutcome {
        app: app.into(),
        result: result.map(|all| Arc::new(objects(all))),
        warnings: vec![],
        fresh: true,
        workers: vec![],
        kinds: Arc::new(Kinds::of(&fleet(&[]).clusters["c"].kubernetes)),
    }
}

/// An app, its commit, and its objects by name and content.
type Stood<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Objects of an app as they stand in a state.
fn state(apps: &[Stood<'_>]) -> State {
    let mut state = State::default();
    for (app, commit, objects) in apps {
        state.apps.push(AppEntry {
            name: (*app).into(),
            commit: (*commit).into(),
            depends_on: vec![],
            exclusive: false,
            health_rules: vec![],
        });
        for (name, content) in *objects {
            let object = object(name, content);
            state.lines.push(Line::Object(ObjectLine {
                id: id(name),
                app: (*app).into(),
                commit: (*commit).into(),
                wave: 0,
                bytes: content.len() as u64,
                content: Content::Plain {
                    sha256: object.sha256,
                },
            }));
        }
    }
    state.lines.sort_by(|a, b| a.id().cmp(b.id()));
    state
}

fn bury(state: &mut State, name: &str) {
    state.lines.push(Line::Tombstone(TombstoneLine {
        id: id(name),
        app: "web".into(),
        commit: "c2".into(),
    }));
    state.lines.sort_by(|a, b| a.id().cmp(b.id()));
}

struct Case {
    fleet: Fleet,
    outcomes: Vec<AppOutcome>,
    confirmed: State,
    between: BTreeSet<String>,
    dropped: BTreeSet<ObjectId>,
    salt: Option<[u8; 32]>,
}

impl Case {
    /// `web` has a=1, b=1 since commit c1; commit c2 renders it to `now`.
    fn new(now: &[(&str, &str)]) -> Self {
        Self {
            fleet: fleet(&["web"]),
            outcomes: vec![outcome("web", Ok(now))],
            confirmed: state(&[("web", "c1", &[("a", "1"), ("b", "1")])]),
            between: BTreeSet::new(),
            dropped: BTreeSet::new(),
            salt: None,
        }
    }

    fn judge(&self, sealed: &State) -> Judged {
        match self.verdict(sealed) {
            Verdict::Judged(judged) => judged,
            Verdict::Open(open) => panic!("open: {open}"),
        }
    }

    fn verdict(&self, sealed: &State) -> Verdict {
        let input = Input {
            fleet: &self.fleet,
            cluster: "c",
            commit: "c2",
            outcomes: &self.outcomes,
            sealed,
            confirmed: &self.confirmed,
            between: &self.between,
            dropped: &self.dropped,
            removals: &[],
            permits: &DeletionPermits::new(),
        };
        judge(&input, |object, there| {
            let missing = || AppFailure::new("SECRET_SALT_MISSING", "no salt");
            let salt = self.salt.ok_or_else(missing)?;
            let commitment = countersign_ledger::secret::Commitment::to(&salt, &object.bytes);
            let blob = there.map_or(Digest::of(b""), |there| *there.content.blob());
            Ok(Content::Secret { blob, commitment })
        })
    }
}

/// a=2 with commit c2, b=1 as before.
fn changed() -> State {
    let mut sealed = state(&[("web", "c2", &[("a", "2"), ("b", "1")])]);
    if let Some(Line::Object(b)) = sealed.lines.last_mut() {
        b.commit = "c1".into();
    }
    sealed
}

#[test]
fn a_state_that_its_commit_renders_to_is_reproduced() {
    let case = Case::new(&[("a", "2"), ("b", "1")]);
    let judged = case.judge(&changed());
    assert!(judged.agrees(), "{judged:?}");
    assert_eq!(judged.held, [""; 0]);
}

#[test]
fn an_object_that_differs_is_foreign_or_lacks_is_found_with_both_digests() {
    let case = Case::new(&[("a", "2"), ("b", "1")]);
    let mut forged = changed();
    let Some(Line::Object(first)) = forged.lines.first_mut() else {
        panic!()
    };
    first.content = Content::Plain {
        sha256: Digest::of(b"evil"),
    };
    let judged = case.judge(&forged);
    assert!(!judged.agrees());
    assert_ne!(judged.own, judged.sealed);
    assert_eq!(judged.differences, [Difference::Other(id("a"))]);

    let mut forged = changed();
    forged
        .lines
        .extend(state(&[("web", "c2", &[("z", "9")])]).lines);
    assert_eq!(
        case.judge(&forged).differences,
        [Difference::Foreign(id("z"))]
    );

    let mut forged = changed();
    forged.lines.pop();
    assert_eq!(
        case.judge(&forged).differences,
        [Difference::Lacking(id("b"))]
    );
}

#[test]
fn what_is_said_of_an_app_counts_too() {
    let case = Case::new(&[("a", "2"), ("b", "1")]);
    let mut forged = changed();
    forged.apps.first_mut().unwrap().exclusive = true;
    let judged = case.judge(&forged);
    assert_eq!(judged.differences, [Difference::App("web".into())]);
    assert!(!judged.agrees());
}

#[test]
fn an_app_may_stand_whole_as_it_did_and_in_no_other_mixture() {
    let case = Case::new(&[("a", "2"), ("b", "2")]);
    let kept = case.judge(&case.confirmed);
    assert!(kept.agrees(), "{kept:?}");
    assert_eq!(kept.held, ["web"]);
    let mixed = case.judge(&changed());
    assert_eq!(mixed.differences, [Difference::Other(id("b"))]);
}

#[test]
fn an_app_that_fails_here_agrees_with_what_stood_and_a_fault_leaves_it_open() {
    let mut case = Case::new(&[]);
    let failure = AppFailure::new("TEMPLATE_FAILED", "x");
    case.outcomes = vec![outcome("web", Err(failure.clone()))];
    assert!(case.judge(&case.confirmed).agrees());
    assert!(!case.judge(&changed()).agrees());
    case.outcomes = vec![outcome("web", Err(failure.as_fault()))];
    assert!(
        matches!(case.verdict(&changed()), Verdict::Open(open) if open.code == "TEMPLATE_FAILED")
    );
}

#[test]
fn only_what_commit_and_last_state_give_up_may_be_deleted() {
    let case = Case::new(&[("a", "1")]);
    let mut sealed = state(&[("web", "c1", &[("a", "1")])]);
    sealed.apps.first_mut().unwrap().commit = "c2".into();
    bury(&mut sealed, "b");
    let judged = case.judge(&sealed);
    assert!(judged.agrees(), "{judged:?}");

    // An object that was left alone is not deleted by a bare word.
    let mut case = Case::new(&[("a", "1"), ("b", "1")]);
    let orphan = countersign_ledger::manifest::OrphanLine {
        id: id("old"),
        app: "gone".into(),
        commit: "c0".into(),
        reason: "appRemoved".into(),
    };
    case.confirmed.lines.push(Line::Orphan(orphan));
    let mut sealed = state(&[("web", "c1", &[("a", "1"), ("b", "1")])]);
    let dropping = case.judge(&sealed);
    assert!(dropping.agrees());
    assert_eq!(dropping.dropped, BTreeSet::from([id("old")]));
    bury(&mut sealed, "old");
    let deleting = case.judge(&sealed);
    assert_eq!(deleting.differences, [Difference::Deletes(id("old"))]);
    assert_eq!(deleting.own, deleting.sealed);
    assert!(!deleting.agrees());

    // Nor by two: first nothing is said of it, then it is deleted.
    case.confirmed = state(&[("web", "c1", &[("a", "1"), ("b", "1")])]);
    case.dropped = dropping.dropped;
    assert!(!case.judge(&sealed).agrees());
    case.dropped.clear();
    assert!(
        case.judge(&sealed).agrees(),
        "no reproduced state ever had it"
    );
}

#[test]
fn commits_of_states_in_between_are_adopted_for_equal_objects_only() {
    let mut case = Case::new(&[("a", "2"), ("b", "1")]);
    let mut sealed = changed();
    let Some(Line::Object(first)) = sealed.lines.first_mut() else {
        panic!()
    };
    first.commit = "between".into();
    assert!(!case.judge(&sealed).agrees());
    case.between = BTreeSet::from(["between".to_owned()]);
    let judged = case.judge(&sealed);
    assert!(judged.agrees(), "{judged:?}");
}

#[test]
fn a_secret_is_compared_by_its_commitment_and_open_without_the_salt() {
    let mut case = Case::new(&[("a", "1"), ("b", "1"), ("secret", "x")]);
    let secret = |salt: &[u8; 32], content: &[u8]| {
        let mut sealed = state(&[("web", "c2", &[("a", "1"), ("b", "1"), ("secret", "x")])]);
        for line in &mut sealed.lines {
            let Line::Object(line) = line else { panic!() };
            line.commit = "c1".into();
            if line.id == id("secret") {
                line.commit = "c2".into();
                line.bytes = 300;
                let commitment = countersign_ledger::secret::Commitment::to(salt, content);
                line.content = Content::Secret {
                    blob: Digest::of(b"blob"),
                    commitment,
                };
            }
        }
        sealed
    };
    let sealed = secret(&[7; 32], b"x");
    assert!(
        matches!(case.verdict(&sealed), Verdict::Open(open) if open.code == "SECRET_SALT_MISSING")
    );
    case.salt = Some([7; 32]);
    let judged = case.judge(&sealed);
    assert!(judged.agrees(), "{judged:?}");
    let forged = case.judge(&secret(&[7; 32], b"evil"));
    assert_eq!(forged.differences, [Difference::Other(id("secret"))]);
    assert_ne!(forged.own, forged.sealed);
}
