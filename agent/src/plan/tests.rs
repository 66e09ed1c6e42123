use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn id(kind: &str, name: &str) -> Arc<ObjectId> {
    let (group, kind) = kind.split_once('/').unwrap_or(("", kind));
    let namespace = if matches!(kind, "Namespace" | "CustomResourceDefinition") {
        ""
    } else {
        "n"
    };
    Arc::new(ObjectId {
        group: group.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    })
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// `app wave kind name blob` a line; `-` before it for a tombstone.
fn desired(text: &str) -> Desired {
    let mut out = Desired {
        generation: 2,
        ..Desired::default()
    };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let app: Arc<str> = words[if words[0] == "-" { 1 } else { 0 }].into();
        out.apps.entry(Arc::clone(&app)).or_insert_with(|| App {
            name: Arc::clone(&app),
            commit: "c".into(),
            depends_on: Vec::new(),
            exclusive: false,
        });
        if words[0] == "-" {
            out.tombstones.insert(id(words[2], words[3]), app);
        } else {
            out.objects.insert(
                id(words[2], words[3]),
                Want {
                    app,
                    wave: words[1].parse().unwrap(),
                    blob: digest(words[4]),
                    bytes: 1,
                    commitment: None,
                },
            );
        }
    }
    out
}

/// `kind name blob` a line: what we applied; `argo` at its end where Argo CD tracks it.
fn live(text: &str) -> HashMap<Arc<ObjectId>, Live> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
        .map(|words| {
            let live = Live {
                applied: Some(digest(words[2])),
                uid: Some("u".into()),
                argo: words.get(3) == Some(&"argo"),
            };
            (id(words[0], words[1]), live)
        })
        .collect()
}

fn check(desired_text: &str, live_text: &str, want: &str) {
    check_within(&Rails::default(), desired_text, live_text, want);
}

fn check_within(rails: &Rails, desired_text: &str, live_text: &str, want: &str) {
    let live = live(live_text);
    let live = |id: &ObjectId| live.get(id).cloned().unwrap_or_default();
    let plan = plan(&desired(desired_text), &live, rails);
    let got: Vec<String> = plan.to_string().lines().map(str::to_owned).collect();
    let want: Vec<String> = want
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(got, want);
}

#[test]
fn namespaces_and_crds_come_first_then_the_declared_waves() {
    check(
        "cart 1 apps/Deployment web 1
         cart 0 ConfigMap a 1
         cart 5 Namespace n 1
         cart 5 apiextensions.k8s.io/CustomResourceDefinition c 1",
        "",
        &format!(
            "first {}
             first {}
             cart wave 0: {}
             cart wave 1: {}",
            id("Namespace", "n"),
            id("apiextensions.k8s.io/CustomResourceDefinition", "c"),
            id("ConfigMap", "a"),
            id("apps/Deployment", "web")
        ),
    );
}

#[test]
fn only_what_changed_is_written() {
    check(
        "cart 0 ConfigMap a 1\ncart 0 ConfigMap b 2",
        "ConfigMap a 1\nConfigMap b 1",
        &format!("cart wave 0: {}", id("ConfigMap", "b")),
    );
    check("cart 0 ConfigMap a 1", "ConfigMap a 1", "");
}

#[test]
fn only_a_tombstone_in_the_inventory_is_pruned() {
    check(
        "- cart ConfigMap a",
        "ConfigMap a 1\nConfigMap stranger 1",
        &format!("cart prune {}", id("ConfigMap", "a")),
    );
    check(
        "- cart ConfigMap a",
        "",
        &format!("look {}", id("ConfigMap", "a")),
    );
    check("", "ConfigMap a 1", "");
}

#[test]
fn a_moved_object_is_written_and_never_deleted() {
    check(
        "shop 0 ConfigMap a 2",
        "ConfigMap a 1",
        &format!("shop wave 0: {}", id("ConfigMap", "a")),
    );
}

#[test]
fn what_argo_cd_tracks_is_left_alone() {
    check(
        "cart 0 ConfigMap a 2",
        "ConfigMap a 1 argo",
        &format!("leave {}: ARGO_TRACKED", id("ConfigMap", "a")),
    );
}

#[test]
fn what_a_guard_rail_keeps_out_is_left_alone_and_holds_up_nobody() {
    let rails = Rails {
        deny: vec!["Secret".parse().unwrap()],
        ..Rails::default()
    };
    let state = "cart 0 Secret s 1\ncart 1 ConfigMap a 1\n- cart Secret old";
    let kept = id("Secret", "old");
    check_within(
        &rails,
        state,
        "Secret old 1",
        &format!(
            "cart wave 1: {}
             leave {}: GUARD_RAIL
             keep {kept}: --deny-kinds denies Secret",
            id("ConfigMap", "a"),
            id("Secret", "s")
        ),
    );
    let waves = waves::all(&desired(state), "cart", &rails);
    assert_eq!(waves, BTreeMap::from([(1, vec![id("ConfigMap", "a")])]));
}

#[test]
fn a_state_that_deletes_more_than_it_may_deletes_nothing() {
    let rails = Rails {
        deletes_max: 1,
        ..Rails::default()
    };
    let text = "the state deletes 2 objects, --max-deletes-per-state is 1: none is deleted";
    check_within(
        &rails,
        "- cart ConfigMap a\n- shop ConfigMap b\n- shop ConfigMap gone",
        "ConfigMap a 1\nConfigMap b 1",
        &format!(
            "look {}\nkeep {}: {text}\nkeep {}: {text}",
            id("ConfigMap", "gone"),
            id("ConfigMap", "a"),
            id("ConfigMap", "b")
        ),
    );
}

#[test]
fn workloads_go_before_policies_namespaces_and_crds() {
    let ids = [
        id("apps/Deployment", "a"),
        id("networking.k8s.io/NetworkPolicy", "a"),
        id("Namespace", "a"),
        id("apiextensions.k8s.io/CustomResourceDefinition", "a"),
    ];
    check(
        "- cart apiextensions.k8s.io/CustomResourceDefinition a
         - cart Namespace a
         - cart networking.k8s.io/NetworkPolicy a
         - cart apps/Deployment a",
        "apps/Deployment a 1
         Namespace a 1
         networking.k8s.io/NetworkPolicy a 1
         apiextensions.k8s.io/CustomResourceDefinition a 1",
        &ids.map(|id| format!("cart prune {id}")).join("\n"),
    );
}

#[test]
fn apps_that_wait_for_each_other_or_for_nobody_here_do_not_wait() {
    let mut desired = desired("a 0 ConfigMap a 1\nb 0 ConfigMap b 1\nc 0 ConfigMap c 1");
    desired.apps.get_mut("a").unwrap().depends_on = vec!["b".into()];
    desired.apps.get_mut("b").unwrap().depends_on =
        vec!["a".into(), "c".into(), "elsewhere".into()];
    let plan = plan(&desired, &|_| Live::default(), &Rails::default());
    let after = |name: &str| {
        plan.apps
            .iter()
            .find(|app| &*app.name == name)
            .unwrap()
            .after
            .clone()
    };
    assert_eq!(after("a"), Vec::<Arc<str>>::new());
    assert_eq!(after("b"), vec![Arc::<str>::from("c")]);
}

proptest! {
    /// Whatever is desired and whatever is there: deletions are tombstones of the inventory and never wanted objects,
    /// and every wanted object that differs is written exactly once unless it is left alone.
    #[test]
    fn deletes_are_tombstones_of_the_inventory(
        objects in proptest::collection::vec((0u8..12, 0i32..3, 0u8..3, 0u8..3), 0..30),
        stones in proptest::collection::vec((0u8..12, 0u8..3), 0..20),
        lives in proptest::collection::vec((0u8..12, 0u8..3, any::<bool>(), any::<bool>()), 0..30),
        more in proptest::collection::vec(0u8..14, 0..10),
    ) {
        let kinds = ["ConfigMap", "Namespace", "apps/Deployment"];
        let id_of = |n: u8| id(kinds[usize::from(n) % 3], &format!("x{n}"));
        let mut desired = Desired::default();
        for (n, wave, app, blob) in objects {
            let app: Arc<str> = format!("a{app}").into();
            desired.apps.entry(app.clone()).or_insert_with(|| App { name: app.clone(), commit: String::new(), depends_on: vec![], exclusive: false });
            desired.objects.insert(id_of(n), Want { app, wave, blob: digest(&blob.to_string()), bytes: 1, commitment: None });
        }
        for (n, app) in stones {
            desired.tombstones.insert(id_of(n), format!("a{app}").into());
        }
        let live: HashMap<Arc<ObjectId>, Live> = lives.into_iter().map(|(n, blob, known, argo)| {
            (id_of(n), Live { applied: known.then(|| digest(&blob.to_string())), uid: known.then(|| "u".into()), argo })
        }).collect();
        let at = |id: &ObjectId| live.get(id).cloned().unwrap_or_default();
        let plan = plan(&desired, &at, &Rails::default());
        for id in plan.apps.iter().flat_map(|app| &app.prune) {
            prop_assert!(desired.tombstones.contains_key(id) && !desired.objects.contains_key(id) && at(id).uid.is_some());
        }
        let mut written: Vec<&Arc<ObjectId>> = plan.first.iter().chain(plan.apps.iter().flat_map(|app| &app.waves).flat_map(|wave| &wave.apply)).collect();
        written.sort();
        let mut expected: Vec<&Arc<ObjectId>> = desired.objects.iter().filter(|(id, want)| !at(id).argo && at(id).applied != Some(want.blob)).map(|(id, _)| id).collect();
        expected.sort();
        prop_assert_eq!(written, expected);
        // A plan that looks only at what may not stand is the same, whatever else it looks at.
        let mut open: BTreeSet<Arc<ObjectId>> = desired.objects.iter().filter(|(id, want)| at(id).argo || at(id).applied != Some(want.blob)).map(|(id, _)| Arc::clone(id)).collect();
        open.extend(more.into_iter().map(id_of));
        prop_assert_eq!(&replan(&desired, &open, &at, &Rails::default()), &plan);
    }
}
