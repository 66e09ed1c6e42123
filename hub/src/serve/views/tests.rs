use super::*;
use countersign_fleet::api::Kept;

fn reported(commit: &str, sync: SyncState, health: HealthState, message: &str) -> AppReport {
    AppReport {
        commit: commit.into(),
        sync,
        health,
        message: message.into(),
        objects: 3,
        failed: 0,
    }
}

fn wants(commit: &str) -> AppWants {
    AppWants {
        app: "cart".into(),
        cluster: "a".into(),
        commit: commit.into(),
        objects: 3,
        kept: None,
    }
}

#[test]
fn an_app_is_synced_only_at_the_sealed_commit() {
    let at = |commit| {
        joined(
            "cart",
            "a",
            Some(&wants("c2")),
            Some(&reported(
                commit,
                SyncState::Synced,
                HealthState::Healthy,
                "",
            )),
        )
    };
    assert_eq!(at("c2").sync, SyncState::Synced);
    assert_eq!(at("c1").sync, SyncState::Syncing);
    assert_eq!(
        joined("cart", "a", Some(&wants("c2")), None).sync,
        SyncState::Unknown
    );
    let stray = joined(
        "old",
        "a",
        None,
        Some(&reported("c1", SyncState::Synced, HealthState::Healthy, "")),
    );
    assert_eq!(
        stray.sync,
        SyncState::Synced,
        "what the fleet no longer wants is shown as reported"
    );
}

#[test]
fn an_app_without_an_object_needs_no_agent_to_be_synced() {
    let empty = AppWants {
        objects: 0,
        ..wants("c")
    };
    let shown = joined("a", "a", Some(&empty), None);
    assert_eq!(
        (shown.sync, shown.health),
        (SyncState::Synced, HealthState::Healthy)
    );
    let failed = AppWants {
        kept: Some(Kept {
            refused_commit: "d".into(),
            code: "HELM_FAILED".into(),
            message: "no chart".into(),
        }),
        ..empty
    };
    let shown = joined("a", "a", Some(&failed), None);
    assert_eq!(
        shown.sync,
        SyncState::Unknown,
        "it has none because it failed"
    );
}

#[test]
fn a_group_shows_its_worst_and_the_cause_of_it() {
    let fine = joined(
        "cart",
        "a",
        Some(&wants("c")),
        Some(&reported(
            "c",
            SyncState::Synced,
            HealthState::Healthy,
            "3 of 3",
        )),
    );
    let bad = joined(
        "cart",
        "b",
        Some(&wants("c")),
        Some(&reported(
            "c",
            SyncState::Failed,
            HealthState::Degraded,
            "image not found",
        )),
    );
    let summary = app_summary("cart", &[&fine, &bad]);
    assert_eq!(
        (summary.sync, summary.health),
        (SyncState::Failed, HealthState::Degraded)
    );
    assert_eq!(summary.message, "b: image not found");
    let mut kept = fine.clone();
    kept.message.clear();
    kept.kept = Some(Kept {
        refused_commit: "d".into(),
        code: "RENDER_FAILED".into(),
        message: "values.yaml:3: no such key".into(),
    });
    let summary = app_summary("cart", &[&kept]);
    assert_eq!(
        (summary.kept, summary.message.as_str()),
        (1, "a: values.yaml:3: no such key")
    );
}

#[test]
fn pages_follow_each_other_without_gap_or_overlap() {
    let mut live = Live::default();
    for n in 0..25 {
        let id = ObjectName {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "shop".into(),
            name: format!("o{n:02}"),
        };
        let object = crate::serve::reports::ObjectReport {
            app: if n % 5 == 0 { "cart" } else { "other" }.into(),
            sync: SyncState::Synced,
            health: HealthState::Healthy,
            message: String::new(),
        };
        live.objects.insert(id, object);
    }
    let mut seen = Vec::new();
    let mut query = ObjectQuery {
        limit: Some(10),
        ..ObjectQuery::default()
    };
    let mut pages = 0;
    loop {
        let page = page("a", &live, &query);
        assert_eq!(page.total, 25);
        seen.extend(page.objects.into_iter().map(|object| object.id));
        pages += 1;
        match page.next {
            Some(next) => query.after = Some(next.parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(seen, live.objects.keys().cloned().collect::<Vec<_>>());
    let carts = page(
        "a",
        &live,
        &ObjectQuery {
            app: Some("cart".into()),
            ..ObjectQuery::default()
        },
    );
    assert_eq!((carts.total, carts.next), (5, None));
}
