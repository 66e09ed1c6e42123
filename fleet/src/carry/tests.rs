use countersign_ledger::manifest::Manifest;
use proptest::prelude::*;

use super::*;
use crate::permit::deletion_digest;

fn id(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: name.into(),
    }
}

fn wanted(objects: &[(&str, u8)]) -> Wanted {
    Wanted::Rendered(WantedApp {
        lines: objects
            .iter()
            .map(|(name, content)| WantedLine {
                id: id(name),
                wave: 0,
                bytes: 1,
                content: Content::Plain {
                    sha256: Digest::of(&[*content]),
                },
            })
            .collect(),
        ..WantedApp::default()
    })
}

fn failed() -> Wanted {
    Wanted::Failed(AppFailure::new("TEMPLATE_FAILED", "x"))
}

#[derive(Default)]
struct World {
    previous: Previous,
    elsewhere: BTreeSet<String>,
    hidden: Option<AppFailure>,
    gone: BTreeSet<ObjectId>,
    permits: DeletionPermits,
}

impl World {
    fn step(&mut self, commit: &str, apps: &[(&str, Wanted)]) -> Carried {
        let apps = apps
            .iter()
            .map(|(name, wanted)| ((*name).to_owned(), wanted.clone()))
            .collect();
        let carried = carry(&Input {
            cluster: "c",
            commit,
            previous: &self.previous,
            apps: &apps,
            elsewhere: &self.elsewhere,
            hidden: self.hidden.as_ref(),
            gone: &self.gone,
            permits: &self.permits,
        });
        self.previous.lines = carried.lines.clone();
        self.previous.apps = carried.apps.clone();
        Manifest::build(carried.lines.clone(), carried.apps.clone()).unwrap();
        carried
    }
}

fn shown(carried: &Carried) -> Vec<String> {
    carried
        .lines
        .iter()
        .map(|line| match line {
            Line::Object(line) => format!("{} {}@{}", line.id.name, line.app, line.commit),
            Line::Tombstone(line) => format!("-{} {}@{}", line.id.name, line.app, line.commit),
            Line::Orphan(line) => {
                format!(
                    "?{} {}@{} {}",
                    line.id.name, line.app, line.commit, line.reason
                )
            }
        })
        .collect()
}

#[test]
fn an_unchanged_object_keeps_its_commit_and_an_unchanged_app_changes_nothing() {
    let mut world = World::default();
    world.step("1", &[("web", wanted(&[("a", 1), ("b", 1)]))]);
    let same = world.step("2", &[("web", wanted(&[("a", 1), ("b", 1)]))]);
    assert!(!same.changed);
    assert_eq!(same.apps[0].commit, "1");
    let next = world.step("3", &[("web", wanted(&[("a", 1), ("b", 2)]))]);
    assert_eq!(shown(&next), ["a web@1", "b web@3"]);
    assert_eq!(next.apps[0].commit, "3");
    assert_eq!(next.reports["web"].changed, 1);
}

#[test]
fn what_a_commit_removes_is_a_tombstone_until_it_is_gone_or_wanted_again() {
    let mut world = World::default();
    world.step("1", &[("web", wanted(&[("a", 1), ("b", 1), ("c", 1)]))]);
    let app = || [("web", wanted(&[("a", 1)]))];
    assert_eq!(
        shown(&world.step("2", &app())),
        ["a web@1", "-b web@2", "-c web@2"]
    );
    assert_eq!(
        shown(&world.step("3", &app())),
        ["a web@1", "-b web@2", "-c web@2"]
    );
    world.gone.insert(id("b"));
    assert_eq!(shown(&world.step("4", &app())), ["a web@1", "-c web@2"]);
    let back = world.step("5", &[("web", wanted(&[("a", 1), ("c", 1)]))]);
    assert_eq!(shown(&back), ["a web@1", "c web@5"]);
}

#[test]
fn a_failed_app_keeps_its_lines_with_their_own_commits_and_the_others_move_on() {
    let mut world = World::default();
    world.step(
        "1",
        &[
            ("web", wanted(&[("a", 1), ("b", 1)])),
            ("api", wanted(&[("x", 1)])),
        ],
    );
    world.step(
        "2",
        &[
            ("web", wanted(&[("a", 1), ("b", 2)])),
            ("api", wanted(&[("x", 1)])),
        ],
    );
    let next = world.step("3", &[("web", failed()), ("api", wanted(&[("x", 2)]))]);
    assert_eq!(shown(&next), ["a web@1", "b web@2", "x api@3"]);
    assert_eq!(
        next.reports["web"].kept.as_ref().unwrap().code,
        "TEMPLATE_FAILED"
    );
    assert_eq!(
        next.apps
            .iter()
            .map(|app| app.commit.as_str())
            .collect::<Vec<_>>(),
        ["3", "2"]
    );
}

#[test]
fn moving_and_renaming_recreate_nothing() {
    let mut world = World::default();
    world.step("1", &[("old", wanted(&[("a", 1), ("b", 1)]))]);
    let renamed = world.step("2", &[("new", wanted(&[("a", 1), ("b", 1)]))]);
    assert_eq!(shown(&renamed), ["a new@2", "b new@2"]);
    let moved = world.step(
        "3",
        &[("new", wanted(&[("a", 1)])), ("other", wanted(&[("b", 1)]))],
    );
    assert_eq!(shown(&moved), ["a new@2", "b other@3"]);
    assert_eq!(moved.reports["new"].removed, 0);
}

#[test]
fn what_merely_dropped_out_is_an_orphan() {
    let mut world = World::default();
    world.step(
        "1",
        &[("web", wanted(&[("a", 1)])), ("api", wanted(&[("x", 1)]))],
    );
    world.elsewhere.insert("web".into());
    let next = world.step("2", &[]);
    assert_eq!(
        shown(&next),
        ["?a web@2 UNSELECTED", "?x api@2 APP_REMOVED"]
    );
    let digest = deletion_digest("c", "api", [&id("x")]);
    world.permits.insert(("api".into(), digest));
    let deleted = world.step("3", &[]);
    assert_eq!(shown(&deleted), ["?a web@2 UNSELECTED", "-x api@3"]);
    assert_eq!(deleted.permits, [("api".to_owned(), digest)]);
    world.elsewhere.clear();
    let back = world.step("4", &[("web", wanted(&[("a", 1)]))]);
    assert_eq!(shown(&back), ["a web@4", "-x api@3"]);
}

#[test]
fn a_removed_app_that_asked_for_it_is_deleted_within_the_limits() {
    let mut world = World::default();
    let many: Vec<String> = (0..51).map(|n| format!("m{n:02}")).collect();
    let many: Vec<(&str, u8)> = many.iter().map(|name| (name.as_str(), 1)).collect();
    world.step(
        "1",
        &[("small", wanted(&[("a", 1)])), ("big", wanted(&many))],
    );
    world.previous.removals = ["small".to_owned(), "big".to_owned()].into();
    let next = world.step("2", &[]);
    assert_eq!(shown(&next)[0], "-a small@2");
    assert_eq!(shown(&next)[1], "?m00 big@2 REMOVAL_NEEDS_PERMIT");
    // What waits says what to permit, and that permit deletes it.
    let waiting = removal::waiting("c", &next.lines);
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].app.as_str(), waiting[0].objects), ("big", 51));
    let permit = ("big".to_owned(), waiting[0].digest);
    world.permits.insert(permit.clone());
    let deleted = world.step("3", &[]);
    assert_eq!(shown(&deleted)[1], "-m00 big@3");
    assert_eq!(deleted.permits, [permit]);
    assert_eq!(removal::waiting("c", &deleted.lines), []);
}

#[test]
fn an_unreadable_file_removes_nothing() {
    let mut world = World::default();
    world.step(
        "1",
        &[("web", wanted(&[("a", 1)])), ("api", wanted(&[("x", 1)]))],
    );
    world.hidden = Some(AppFailure::new("SPEC_INVALID", "x"));
    let next = world.step("2", &[("api", wanted(&[("x", 2)]))]);
    assert_eq!(shown(&next), ["a web@1", "x api@2"]);
    assert!(next.reports["web"].kept.is_some());
}

#[test]
fn an_empty_or_shrunken_render_is_a_failure() {
    let mut world = World::default();
    let all: Vec<String> = (0..30).map(|n| format!("o{n:02}")).collect();
    let all: Vec<(&str, u8)> = all.iter().map(|name| (name.as_str(), 1)).collect();
    assert_eq!(
        world.step("0", &[("web", wanted(&[]))]).reports["web"]
            .kept
            .as_ref()
            .unwrap()
            .code,
        "EMPTY_RENDER"
    );
    world.step("1", &[("web", wanted(&all))]);
    let empty = world.step("2", &[("web", wanted(&[]))]);
    assert!(!empty.changed);
    assert_eq!(
        empty.reports["web"].kept.as_ref().unwrap().code,
        "EMPTY_RENDER"
    );
    let less = world.step("3", &[("web", wanted(&all[..20]))]);
    let failure = less.reports["web"].kept.clone().unwrap();
    assert!(!less.changed);
    assert_eq!(failure.code, "DELETION_NEEDS_PERMIT");
    let digest = failure.message.rsplit(' ').next().unwrap().parse().unwrap();
    world.permits.insert(("web".into(), digest));
    let permitted = world.step("4", &[("web", wanted(&all[..20]))]);
    assert_eq!(permitted.reports["web"].removed, 10);
    assert_eq!(permitted.permits, [("web".to_owned(), digest)]);
}

#[test]
fn two_apps_can_t_have_one_object_and_who_had_it_keeps_it() {
    let mut world = World::default();
    world.step("1", &[("web", wanted(&[("a", 1)]))]);
    let next = world.step(
        "2",
        &[
            ("api", wanted(&[("a", 2), ("x", 1)])),
            ("web", wanted(&[("a", 3)])),
        ],
    );
    assert_eq!(shown(&next), ["a web@2"]);
    assert_eq!(next.reports["api"].kept.as_ref().unwrap().code, "OWNED_BY");
}

#[test]
fn a_failed_app_has_not_consented_to_give_its_objects_away() {
    let mut world = World::default();
    world.step(
        "1",
        &[
            ("web", wanted(&[("a", 1)])),
            ("api", wanted(&[("x", 1), ("y", 1)])),
        ],
    );
    // api gives x to web2 and takes a; web fails and keeps a, so api fails and keeps x, so web2 fails.
    let next = world.step(
        "2",
        &[
            ("web", failed()),
            ("api", wanted(&[("a", 1), ("y", 1)])),
            ("web2", wanted(&[("x", 1)])),
        ],
    );
    assert_eq!(shown(&next), ["a web@1", "x api@1", "y api@1"]);
    assert!(!next.changed);
}

#[test]
fn waiting_is_only_for_apps_that_are_here() {
    let mut world = World::default();
    let Wanted::Rendered(mut app) = wanted(&[("a", 1)]) else {
        panic!()
    };
    app.depends_on = vec!["api".into(), "elsewhere".into()];
    let next = world.step(
        "1",
        &[("web", Wanted::Rendered(app)), ("api", wanted(&[("x", 1)]))],
    );
    assert_eq!(next.apps[1].depends_on, ["api"]);
}

// --- whatever happens

#[derive(Debug, Clone)]
enum Act {
    Rendered(Vec<(u8, u8)>),
    Failed,
    Elsewhere,
    Removed,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => proptest::collection::btree_map(0u8..12, 0u8..3, 0..8).prop_map(|m| Act::Rendered(m.into_iter().collect())),
        1 => Just(Act::Failed),
        1 => Just(Act::Elsewhere),
        1 => Just(Act::Removed),
    ]
}

fn history() -> impl Strategy<Value = Vec<(Vec<Act>, Vec<u8>, bool)>> {
    proptest::collection::vec(
        (
            proptest::collection::vec(act(), 4),
            proptest::collection::vec(0u8..12, 0..4),
            proptest::bool::weighted(0.1),
        ),
        1..8,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_dropped_by_silence_and_only_tombstones_delete(history in history()) {
        let mut world = World::default();
        for (index, (acts, gone, hidden)) in history.iter().enumerate() {
            let commit = index.to_string();
            let before = world.previous.clone();
            let mut apps = Vec::new();
            world.elsewhere.clear();
            for (name, act) in ["p", "q", "r", "s"].iter().zip(acts) {
                match act {
                    Act::Rendered(objects) => {
                        let names: Vec<(String, u8)> =
                            objects.iter().map(|(o, c)| (format!("o{o}"), *c)).collect();
                        let objects: Vec<(&str, u8)> =
                            names.iter().map(|(name, c)| (name.as_str(), *c)).collect();
                        apps.push((*name, wanted(&objects)));
                    }
                    Act::Failed => apps.push((*name, failed())),
                    Act::Elsewhere => { world.elsewhere.insert((*name).to_owned()); }
                    Act::Removed => {}
                }
            }
            world.gone = gone.iter().map(|n| id(&format!("o{n}"))).collect();
            world.hidden = hidden.then(|| AppFailure::new("SPEC_INVALID", "x"));
            let next = world.step(&commit, &apps);
            let now: BTreeMap<_, _> = next.lines.iter().map(|line| (line.id(), line)).collect();
            for old in &before.lines {
                let line = now.get(old.id());
                match old {
                    Line::Object(old) => {
                        let line = line.expect("an object is never dropped");
                        if let Line::Tombstone(line) = line {
                            // Only of an app that was rendered, took its turn and does not want it any more.
                            prop_assert_eq!(&line.app, &old.app);
                            prop_assert!(next.reports[&old.app].kept.is_none());
                            let app = apps.iter().find(|(name, _)| *name == old.app);
                            let Some((_, Wanted::Rendered(app))) = app else {
                                return Err(TestCaseError::fail("deleted though not rendered"));
                            };
                            prop_assert!(app.lines.iter().all(|wanted| wanted.id != old.id));
                        }
                        if let Some(Some(_)) = next.reports.get(&old.app).map(|report| &report.kept) {
                            prop_assert_eq!(*line, &Line::Object(old.clone()), "a failed app keeps its lines");
                        }
                    }
                    Line::Tombstone(_) | Line::Orphan(_) => {
                        prop_assert!(line.is_some() || world.gone.contains(old.id()));
                    }
                }
            }
            for (name, report) in &next.reports {
                let Some((_, Wanted::Rendered(app))) = apps.iter().find(|(app, _)| app == name) else {
                    continue;
                };
                if report.kept.is_none() {
                    for wanted in &app.lines {
                        let Some(Line::Object(line)) = now.get(&wanted.id) else {
                            return Err(TestCaseError::fail("a rendered app has its objects"));
                        };
                        prop_assert_eq!(&line.app, name);
                        prop_assert_eq!(line.content, wanted.content);
                    }
                    prop_assert!(report.removed == 0 || report.removed < before.lines.len());
                }
            }
            world.gone.clear();
            let again = world.step("again", &apps);
            prop_assert!(!again.changed, "the same input twice changes nothing: {:?} {:?}", shown(&next), shown(&again));
        }
    }
}
