//! What holds for every object and every group, whatever they look like.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use countersign_health::{
    Health, HealthStatus, Rules, judge, judge_with_pods,
    limits::MESSAGE_MAX,
    rollup::{Part, roll_up},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any JSON, made mostly of the words that the rules look for, so that they are reached.
fn any_json() -> impl Strategy<Value = Value> {
    let word = proptest::sample::select(vec![
        "status",
        "spec",
        "metadata",
        "conditions",
        "type",
        "reason",
        "message",
        "phase",
        "replicas",
        "generation",
        "observedGeneration",
        "deletionTimestamp",
        "finalizers",
        "containerStatuses",
        "initContainerStatuses",
        "state",
        "waiting",
        "terminated",
        "exitCode",
        "name",
        "loadBalancer",
        "ingress",
        "ports",
        "error",
        "updateStrategy",
        "rollingUpdate",
        "partition",
        "updatedReplicas",
        "availableReplicas",
        "readyReplicas",
        "True",
        "False",
        "Ready",
        "Running",
        "Failed",
        "Pending",
        "paused",
        "suspend",
        "desiredNumberScheduled",
        "numberReady",
        "restartPolicy",
        "lastState",
        "completions",
        "startTime",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((word.clone(), inner), 0..8).prop_map(|entries| {
                Value::Object(
                    entries
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}

fn any_kind() -> impl Strategy<Value = (&'static str, &'static str)> {
    proptest::sample::select(vec![
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "Pod"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
        ("v1", "Service"),
        ("networking.k8s.io/v1", "Ingress"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "PersistentVolume"),
        ("policy/v1", "PodDisruptionBudget"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("apiregistration.k8s.io/v1", "APIService"),
        ("v1", "Namespace"),
        ("v1", "Node"),
        ("example.com/v1", "Thing"),
    ])
}

fn any_status() -> impl Strategy<Value = HealthStatus> {
    proptest::sample::select(HealthStatus::ALL.to_vec())
}

fn whole(members: &[(String, Health)]) -> Health {
    roll_up(members.iter().map(|(name, health)| Part { name, health }))
}

proptest! {
    #[test]
    fn no_json_makes_it_panic_and_every_message_is_bounded(
        object in any_json(), pods in proptest::collection::vec(any_json(), 0..3),
    ) {
        prop_assert!(judge(&object, &Rules::none()).message.len() <= MESSAGE_MAX);
        prop_assert!(judge_with_pods(&object, &pods, &Rules::none()).message.len() <= MESSAGE_MAX);
    }

    #[test]
    fn no_object_of_a_known_kind_makes_it_panic(
        (version, kind) in any_kind(), metadata in any_json(), spec in any_json(), status in any_json(),
    ) {
        let object = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "status": status});
        let health = judge(&object, &Rules::none());
        prop_assert!(health.message.len() <= MESSAGE_MAX && !health.message.contains('\n'));
        prop_assert_eq!(health, judge(&object, &Rules::none()));
    }

    #[test]
    fn a_group_is_as_bad_as_its_worst_member_in_any_order(
        statuses in proptest::collection::vec(any_status(), 0..12), seed in any::<usize>(),
    ) {
        let mut members: Vec<(String, Health)> = statuses
            .iter()
            .enumerate()
            .map(|(n, status)| (format!("object {n:02}"), Health::new(*status, format!("cause {n}"))))
            .collect();
        let group = whole(&members);
        prop_assert_eq!(group.status, statuses.iter().copied().max().unwrap_or(HealthStatus::Healthy));
        if !members.is_empty() {
            let turn = seed % members.len();
            members.rotate_left(turn);
            prop_assert_eq!(&group, &whole(&members));
        }
    }

    #[test]
    fn a_further_or_worse_member_never_makes_a_group_better(
        statuses in proptest::collection::vec(any_status(), 1..12), more in any_status(), at in any::<usize>(),
    ) {
        let mut members: Vec<(String, Health)> =
            statuses.iter().enumerate().map(|(n, status)| (n.to_string(), Health::new(*status, ""))).collect();
        let before = whole(&members).status;
        let at = at % members.len();
        let worse = members[at].1.status.max(more);
        members[at].1 = Health::new(worse, "");
        prop_assert!(whole(&members).status >= before);
        members.push(("more".to_owned(), Health::new(more, "")));
        prop_assert!(whole(&members).status >= before);
    }
}

#[test]
fn the_deepest_cause_is_named_from_object_to_cluster() {
    let broken = Health::new(HealthStatus::Degraded, "container app: ImagePullBackOff");
    let waiting = Health::new(HealthStatus::Progressing, "0 of 1 replica available");
    let fine = Health::healthy();
    let cart = roll_up([
        Part {
            name: "Service shop/cart",
            health: &fine,
        },
        Part {
            name: "Deployment shop/cart",
            health: &broken,
        },
        Part {
            name: "Deployment shop/worker",
            health: &broken,
        },
        Part {
            name: "Deployment shop/cache",
            health: &waiting,
        },
    ]);
    let cluster = roll_up([
        Part {
            name: "app cart",
            health: &cart,
        },
        Part {
            name: "app search",
            health: &waiting,
        },
    ]);
    assert_eq!(
        cluster,
        Health::new(
            HealthStatus::Degraded,
            "app cart: Deployment shop/cart (and 1 more): container app: ImagePullBackOff"
        )
    );
    assert_eq!(roll_up([]), Health::healthy());
}
