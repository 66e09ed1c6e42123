//! Kinds that nobody listed, kinds that go, and kinds that merely exist.

use super::*;

#[test]
fn unknown_kinds_are_read_by_the_conventions() {
    check(&[
        (
            "no status",
            "{apiVersion: example.com/v1, kind: Thing, metadata: {generation: 1}}",
            Healthy,
            "",
        ),
        (
            "ready",
            custom!("conditions: [{type: Ready, status: 'True'}]"),
            Healthy,
            "",
        ),
        (
            "behind",
            custom!("observedGeneration: 1, conditions: [{type: Ready, status: 'True'}]"),
            Progressing,
            "the controller has seen generation 1 of 2",
        ),
        (
            "stalled",
            custom!(
                "conditions: [{type: Ready, status: 'False'}, {type: Stalled, status: 'True', reason: BadSource, message: no such chart}]"
            ),
            Degraded,
            "BadSource: no such chart",
        ),
        (
            "reconciling",
            custom!(
                "conditions: [{type: Ready, status: 'True'}, {type: Reconciling, status: 'True', reason: Upgrading}]"
            ),
            Progressing,
            "Upgrading",
        ),
        (
            "not ready",
            custom!("conditions: [{type: Ready, status: 'False', reason: Waiting}]"),
            Progressing,
            "Waiting",
        ),
        (
            "ready unknown",
            custom!("conditions: [{type: Ready, status: Unknown}]"),
            Progressing,
            "condition Ready is Unknown",
        ),
        (
            "failed by reason",
            custom!(
                "conditions: [{type: Ready, status: 'False', reason: SecretSyncedError, message: no such key}]"
            ),
            Degraded,
            "SecretSyncedError: no such key",
        ),
        (
            "available",
            custom!(
                "conditions: [{type: Available, status: 'True'}, {type: Degraded, status: 'False'}, {type: Progressing, status: 'False'}]"
            ),
            Healthy,
            "",
        ),
        (
            "degraded",
            custom!(
                "conditions: [{type: Available, status: 'True'}, {type: Degraded, status: 'True', reason: OnePodDown}]"
            ),
            Degraded,
            "OnePodDown",
        ),
        (
            "progressing",
            custom!(
                "conditions: [{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewVersion}]"
            ),
            Progressing,
            "NewVersion",
        ),
        (
            "synced, not ready",
            custom!(
                "conditions: [{type: Synced, status: 'False', reason: ReconcileError, message: access denied}, {type: Ready, status: 'True'}]"
            ),
            Degraded,
            "ReconcileError: access denied",
        ),
        (
            "suspended",
            "{apiVersion: example.com/v1, kind: Thing, spec: {suspend: true}, status: {conditions: [{type: Ready, status: 'False'}]}}",
            Suspended,
            "spec.suspend is set",
        ),
        (
            "of the same name in another group",
            "{apiVersion: example.com/v1, kind: Deployment, spec: {replicas: 3}}",
            Healthy,
            "",
        ),
    ]);
}

#[test]
fn every_kind_that_goes_or_is_gone() {
    check(&[
        ("gone", "null", Missing, "not in the cluster"),
        (
            "no object",
            "7",
            Unknown,
            "not a Kubernetes object: it has no kind",
        ),
        (
            "no kind",
            "{apiVersion: v1}",
            Unknown,
            "not a Kubernetes object: it has no kind",
        ),
        (
            "going",
            "{apiVersion: v1, kind: ConfigMap, metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}}",
            Progressing,
            "being deleted",
        ),
        (
            "held",
            "{apiVersion: example.com/v1, kind: Thing, metadata: {deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [example.com/a, example.com/b]}}",
            Progressing,
            "being deleted; held by finalizer example.com/a, example.com/b",
        ),
        (
            "data",
            "{apiVersion: v1, kind: ConfigMap, data: {a: b}}",
            Healthy,
            "",
        ),
        ("secret", "{apiVersion: v1, kind: Secret}", Healthy, ""),
    ]);
}

#[test]
fn of_kinds_that_hold_data_the_agent_needs_no_more_than_their_existence() {
    for (group, kind) in [
        ("", "ConfigMap"),
        ("", "Secret"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("networking.k8s.io", "NetworkPolicy"),
    ] {
        assert!(!needs_status(group, kind), "{kind}");
    }
    for (group, kind) in [
        ("apps", "Deployment"),
        ("", "Pod"),
        ("example.com", "ConfigMap"),
        ("example.com", "Thing"),
        ("", "Namespace"),
    ] {
        assert!(needs_status(group, kind), "{kind}");
    }
}
