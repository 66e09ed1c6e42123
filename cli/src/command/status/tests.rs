use super::*;
use countersign_fleet::api::{
    Alarm, AppOnCluster, AppSummary, ClusterSummary, Commit, Connection, Drift, DriftKind, Kept,
    LogProgress, Mistake, Object, ObjectName, PermitKind, PermitNeeded, Source, SourceState,
    TrustRootInUse,
};
use jiff::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn summary(name: &str, health: HealthState) -> ClusterSummary {
    ClusterSummary {
        name: name.into(),
        environment: "production".into(),
        level: "signed".into(),
        connection: Connection::Connected,
        last_seen: Some(at(5)),
        generation_sealed: 7,
        generation_verified: 7,
        generation_applied: 5,
        sync: SyncState::Syncing,
        health,
        message: "cart: image not found".into(),
        apps: 1,
        objects: 2,
        alarms: 0,
        pauses: Vec::new(),
    }
}

pub(crate) fn fleet() -> Fleet {
    Fleet {
        fleet: "acme".into(),
        hub_version: "0.1.0".into(),
        time: at(9),
        trust_root: TrustRootInUse {
            version: 1,
            digest: "ab".repeat(32),
        },
        source: Source {
            repository: "https://git.example.com/fleet".into(),
            reference: "refs/heads/main".into(),
            commit: Some(Commit {
                id: "4b825dc642cb6eb9a060e54bf8d69288fbee4904".into(),
                author: "Zoë <zoe@example.com>".into(),
                subject: "cart: two more".into(),
                time: Some(at(1)),
            }),
            state: SourceState::UpToDate,
            code: String::new(),
            message: String::new(),
            checked: Some(at(8)),
            processed: Some(at(8)),
        },
        clusters: vec![summary("metal-fra", HealthState::Degraded)],
        apps: vec![AppSummary {
            name: "cart".into(),
            sync: SyncState::Syncing,
            health: HealthState::Degraded,
            clusters: 1,
            kept: 1,
            message: "metal-fra: image not found".into(),
        }],
        mistakes: vec![Mistake {
            code: "OUT_OF_RANGE".into(),
            file: "clusters/metal-fra/cart.yaml".into(),
            line: 7,
            field: "spec.prune.max".into(),
            message: "must be 0 to 10000, is -1".into(),
            app: "cart".into(),
            cluster: String::new(),
        }],
        permits_needed: vec![PermitNeeded {
            permit: PermitKind::Deletion {
                app: "shop".into(),
                manifest: "cd".repeat(32),
            },
            cluster: "metal-fra".into(),
            message: "would delete 62 of 80 objects".into(),
        }],
        alarms: vec![Alarm {
            code: "BLOB_DAMAGED".into(),
            message: "blob 12 is missing".into(),
            count: 2,
            time: at(3),
        }],
        log: Some(LogProgress {
            size: 12,
            published: 10,
            waits: "size 12 waits for its quorum; cosigned by 1 (w2: WITNESS_UNREACHABLE)".into(),
        }),
    }
}

fn app() -> AppTree {
    let on = AppOnCluster {
        app: "cart".into(),
        cluster: "metal-fra".into(),
        commit_sealed: "4b825dc642cb6eb9a060e54bf8d69288fbee4904".into(),
        commit_applied: "1a2b3c4d642cb6eb9a060e54bf8d69288fbee490".into(),
        sync: SyncState::Syncing,
        health: HealthState::Degraded,
        message: "image not found".into(),
        objects: 2,
        failed: 1,
        kept: Some(Kept {
            refused_commit: "ffffff0000".into(),
            code: "RENDER_FAILED".into(),
            message: "values.yaml:3: no such key".into(),
        }),
    };
    let object = |name: &str, health, message: &str| Object {
        id: ObjectName {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: name.into(),
        },
        app: "cart".into(),
        sync: SyncState::Synced,
        health,
        message: message.into(),
    };
    AppTree {
        app: App {
            summary: fleet().apps.remove(0),
            on: vec![on],
        },
        objects: vec![Objects {
            cluster: "metal-fra".into(),
            objects: vec![
                object("api", HealthState::Healthy, ""),
                object("web", HealthState::Degraded, "pod web-1: image not found"),
            ],
            next: None,
            total: 5,
        }],
        drifts: Drifts {
            drifts: vec![Drift {
                cluster: "metal-fra".into(),
                id: object("web", HealthState::Healthy, "").id,
                app: "cart".into(),
                what: DriftKind::Changed,
                managers: vec!["kubectl-edit".into()],
                paths: vec![".spec.replicas".into()],
                patch: None,
                healed: true,
                healed_after_ms: 12,
                time: at(60),
            }],
        },
    }
}

#[test]
fn the_fleet_on_one_page() {
    let text = view::fleet(&fleet(), false);
    let want = "\
Fleet    acme
Source   https://git.example.com/fleet refs/heads/main
Commit   4b825dc cart: two more (Zoë <zoe@example.com>)
State    up to date
Trust    version 1 sha256:abababababababababababababababababababababababababababababababab
Log      12 entries, 10 published; waits: size 12 waits for its quorum; cosigned by 1 (w2: WITNESS_UNREACHABLE)

CLUSTER    ENV         LEVEL   AGENT      GENERATION  SYNC     HEALTH    MESSAGE
metal-fra  production  signed  connected  5/7         Syncing  Degraded  cart: image not found

APP   CLUSTERS    SYNC     HEALTH    MESSAGE
cart  1 (1 kept)  Syncing  Degraded  metal-fra: image not found

MISTAKE                         FIELD           MESSAGE
clusters/metal-fra/cart.yaml:7  spec.prune.max  must be 0 to 10000, is -1

WAITS      WHY                            UNTIL
metal-fra  would delete 62 of 80 objects  countersign permit deletion shop --manifest sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd --reason TEXT

ALARM         COUNT  LAST                  MESSAGE
BLOB_DAMAGED  2      1970-01-01T00:00:03Z  blob 12 is missing
";
    assert_eq!(text, want);
}

#[test]
fn an_app_as_a_tree_with_health_and_drift() {
    let tree = app();
    let text = view::app(&tree.app, &tree.objects, &tree.drifts, false);
    let want = "\
APP                               SYNC     HEALTH    MESSAGE
cart                              Syncing  Degraded
└─ metal-fra @ 1a2b3c4 → 4b825dc  Syncing  Degraded  image not found; ffffff0 kept out: values.yaml:3: no such key (RENDER_FAILED)
   ├─ Deployment.apps/shop/api    Synced   Healthy
   ├─ Deployment.apps/shop/web    Synced   Degraded  pod web-1: image not found
   └─ and 3 more

DRIFT                 CLUSTER    OBJECT                    WHAT                    BY            HEALED
1970-01-01T00:01:00Z  metal-fra  Deployment.apps/shop/web  changed .spec.replicas  kubectl-edit  12 ms
";
    assert_eq!(text, want);
}

/// Every text that comes from outside, replaced by an attack: not one escape reaches the output in any form.
#[test]
fn no_name_message_or_author_can_steer_a_terminal() {
    const ATTACK: &str = "\u{1b}]52;c;ZXZpbA==\u{7}\u{9b}31m\u{202e}x\r\n";
    fn poison(value: &mut serde_json::Value, key: &str) {
        use serde_json::Value;
        const KEPT: [&str; 9] = [
            "sync",
            "health",
            "state",
            "connection",
            "kind",
            "what",
            "time",
            "checked",
            "processed",
        ];
        match value {
            Value::String(text) if !KEPT.contains(&key) && key != "lastSeen" && key != "since" => {
                *text = ATTACK.to_owned();
            }
            Value::Array(list) => list.iter_mut().for_each(|value| poison(value, key)),
            Value::Object(map) => map.iter_mut().for_each(|(key, value)| poison(value, key)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    fn poisoned<T: Serialize + serde::de::DeserializeOwned>(what: &T) -> T {
        let mut value = serde_json::to_value(what).unwrap();
        poison(&mut value, "");
        serde_json::from_value(value).unwrap()
    }
    let tree = app();
    let cluster = Cluster {
        summary: summary("metal-fra", HealthState::Degraded),
        head: "ab".into(),
        manifest: "cd".into(),
        registered: None,
        agent_version: "0.1.0".into(),
        app_list: tree.app.on.clone(),
        refusals: vec![],
        alarm_list: fleet().alarms,
    };
    let tree = AppTree {
        app: poisoned(&tree.app),
        objects: tree.objects.iter().map(poisoned).collect(),
        drifts: poisoned(&tree.drifts),
    };
    let answers = [
        Answer::Fleet(Box::new(poisoned(&fleet()))),
        Answer::Cluster(Box::new(poisoned(&cluster))),
        Answer::App(Box::new(tree)),
    ];
    for answer in &answers {
        for form in [Form::Table, Form::Json, Form::Yaml] {
            let text = shown(answer, form, false).unwrap();
            assert!(text.contains("52;c;ZXZpbA=="), "the attack is in there");
            for bad in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\r'] {
                assert!(!text.contains(bad), "{bad:?} in {form:?}: {text:?}");
            }
        }
    }
}

#[test]
fn colour_only_where_it_is_on() {
    let text = view::fleet(&fleet(), false);
    assert!(!text.contains('\u{1b}'));
    assert!(view::fleet(&fleet(), true).contains("\u{1b}[31mDegraded\u{1b}[0m"));
}

#[test]
fn check_says_no_unless_all_is_synced_and_healthy() {
    let mut now = fleet();
    assert!(Answer::Fleet(Box::new(now.clone())).wrong().is_some());
    now.clusters[0].sync = SyncState::Synced;
    now.clusters[0].health = HealthState::Suspended;
    assert_eq!(Answer::Fleet(Box::new(now)).wrong(), None);
}
