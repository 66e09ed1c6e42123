//! What runs pods: Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs.

use super::*;

#[test]
fn deployments() {
    check(&[
        (
            "all there",
            deployment!(
                "",
                ", replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3"
            ),
            Healthy,
            "",
        ),
        (
            "not seen yet",
            "{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 3}}",
            Progressing,
            "no controller has seen it yet",
        ),
        (
            "older generation seen",
            "{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 3}, spec: {}, status: {observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1}}",
            Progressing,
            "the controller has seen generation 2 of 3",
        ),
        (
            "no pods",
            deployment!("", ""),
            Progressing,
            "0 of 3 replicas updated",
        ),
        (
            "half rolled out",
            deployment!(
                "",
                ", replicas: 4, updatedReplicas: 1, availableReplicas: 3"
            ),
            Progressing,
            "1 of 3 replicas updated",
        ),
        (
            "old pods linger",
            deployment!(
                "",
                ", replicas: 4, updatedReplicas: 3, availableReplicas: 3"
            ),
            Progressing,
            "1 old replica still to be ended",
        ),
        (
            "scaling down",
            deployment!(
                "",
                ", replicas: 5, updatedReplicas: 5, availableReplicas: 5"
            ),
            Progressing,
            "2 replicas too many still to be ended",
        ),
        (
            "not available",
            deployment!(
                "",
                ", replicas: 3, updatedReplicas: 3, availableReplicas: 1"
            ),
            Progressing,
            "1 of 3 replicas available",
        ),
        (
            "deadline passed",
            deployment!(
                "",
                ", replicas: 3, updatedReplicas: 3, availableReplicas: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: ReplicaSet cart-1 has timed out progressing.}]"
            ),
            Degraded,
            "ProgressDeadlineExceeded: ReplicaSet cart-1 has timed out progressing.; 1 of 3 replicas available",
        ),
        (
            "quota",
            deployment!(
                "",
                ", conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: 'pods \"cart-1\" is forbidden: exceeded quota: small'}]"
            ),
            Degraded,
            "pods can't be made: FailedCreate: pods \"cart-1\" is forbidden: exceeded quota: small",
        ),
        (
            "paused",
            deployment!(
                ", paused: true",
                ", replicas: 3, updatedReplicas: 1, availableReplicas: 3"
            ),
            Suspended,
            "paused: 1 of 3 replicas updated",
        ),
        (
            "scaled to nothing",
            "{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 0}, status: {observedGeneration: 1}}",
            Healthy,
            "",
        ),
        (
            "one replica by default",
            "{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1}}",
            Progressing,
            "0 of 1 replica updated",
        ),
    ]);
}

#[test]
fn stateful_sets_daemon_sets_and_replica_sets() {
    check(&[
        (
            "all there",
            stateful!(
                "",
                ", replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 3, currentRevision: a, updateRevision: a"
            ),
            Healthy,
            "",
        ),
        (
            "one not ready",
            stateful!("", ", replicas: 3, readyReplicas: 2, updatedReplicas: 3"),
            Progressing,
            "2 of 3 replicas ready",
        ),
        (
            "not available for long enough",
            stateful!("", ", replicas: 3, readyReplicas: 3, availableReplicas: 1"),
            Progressing,
            "1 of 3 replicas available",
        ),
        (
            "rolling",
            stateful!("", ", replicas: 3, readyReplicas: 3, updatedReplicas: 1"),
            Progressing,
            "1 of 3 replicas updated",
        ),
        (
            "scaling down",
            stateful!("", ", replicas: 4, readyReplicas: 4"),
            Progressing,
            "1 replica still to be ended",
        ),
        (
            "partition",
            stateful!(
                ", updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}",
                ", replicas: 3, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b"
            ),
            Healthy,
            "1 replica updated; partition 2 holds the rest",
        ),
        (
            "on delete",
            stateful!(
                ", updateStrategy: {type: OnDelete}",
                ", replicas: 3, readyReplicas: 3, updatedReplicas: 0"
            ),
            Healthy,
            "",
        ),
        (
            "revision",
            stateful!(
                "",
                ", replicas: 3, readyReplicas: 3, updatedReplicas: 3, currentRevision: a, updateRevision: b"
            ),
            Progressing,
            "revision b is not current yet",
        ),
        (
            "daemon set complete",
            "{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, desiredNumberScheduled: 4, currentNumberScheduled: 4, updatedNumberScheduled: 4, numberReady: 4, numberAvailable: 4}}",
            Healthy,
            "",
        ),
        (
            "daemon set on one node of four",
            "{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, desiredNumberScheduled: 4, currentNumberScheduled: 4, updatedNumberScheduled: 4, numberReady: 1, numberAvailable: 1}}",
            Progressing,
            "1 of 4 pods ready",
        ),
        (
            "daemon set without nodes",
            "{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, desiredNumberScheduled: 0}}",
            Healthy,
            "",
        ),
        (
            "replica set",
            "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, availableReplicas: 1}}",
            Progressing,
            "1 of 2 replicas available",
        ),
        (
            "replica set that can't make pods",
            "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 0, conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: 'violates PodSecurity \"restricted:latest\"'}]}}",
            Degraded,
            "pods can't be made: FailedCreate: violates PodSecurity \"restricted:latest\"",
        ),
        (
            "replication controller",
            "{apiVersion: v1, kind: ReplicationController, metadata: {generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, replicas: 1, availableReplicas: 1}}",
            Healthy,
            "",
        ),
    ]);
}

#[test]
fn jobs() {
    check(&[
        (
            "complete",
            "{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Complete, status: 'True'}]}}",
            Healthy,
            "completed",
        ),
        (
            "failed",
            "{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: Job has reached the specified backoff limit}]}}",
            Degraded,
            "BackoffLimitExceeded: Job has reached the specified backoff limit",
        ),
        (
            "not started",
            "{apiVersion: batch/v1, kind: Job, status: {}}",
            Progressing,
            "not started yet",
        ),
        (
            "running",
            "{apiVersion: batch/v1, kind: Job, spec: {completions: 3}, status: {startTime: x, succeeded: 1, active: 1, failed: 2}}",
            Progressing,
            "1 of 3 completions done, 1 running, 2 failed",
        ),
        (
            "suspended",
            "{apiVersion: batch/v1, kind: Job, spec: {suspend: true}, status: {}}",
            Suspended,
            "spec.suspend is set",
        ),
        (
            "failing",
            "{apiVersion: batch/v1, kind: Job, status: {startTime: x, conditions: [{type: FailureTarget, status: 'True', reason: PodFailurePolicy}]}}",
            Degraded,
            "PodFailurePolicy",
        ),
        (
            "cron job",
            "{apiVersion: batch/v1, kind: CronJob, spec: {schedule: '* * * * *'}}",
            Healthy,
            "",
        ),
        (
            "cron job suspended",
            "{apiVersion: batch/v1, kind: CronJob, spec: {suspend: true}}",
            Suspended,
            "spec.suspend is set",
        ),
    ]);
}
