//! Each kind in the states that an operator meets, judged. A row: what it shows, the object, the verdict.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use countersign_health::{
    Health, HealthStatus, Rules, judge, judge_with_pods, needs_status, selects,
};
use serde_json::Value;

use HealthStatus::{Degraded, Healthy, Missing, Progressing, Suspended, Unknown};

/// Objects are written in YAML, as people meet them.
fn object(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn check(rows: &[(&str, &str, HealthStatus, &str)]) {
    for (name, yaml, status, message) in rows {
        assert_eq!(
            judge(&object(yaml), &Rules::none()),
            Health::new(*status, message),
            "{name}"
        );
    }
}

/// A Deployment of three replicas whose status is the given fields.
macro_rules! deployment {
    ($spec:literal, $status:literal) => {
        concat!(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: cart, generation: 2}, spec: {replicas: 3",
            $spec,
            "}, status: {observedGeneration: 2",
            $status,
            "}}"
        )
    };
}

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

/// A StatefulSet of three replicas.
macro_rules! stateful {
    ($spec:literal, $status:literal) => {
        concat!(
            "{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 2}, spec: {replicas: 3",
            $spec,
            "}, status: {observedGeneration: 2",
            $status,
            "}}"
        )
    };
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

/// A pod with the given status.
macro_rules! pod {
    ($status:literal) => {
        concat!(
            "{apiVersion: v1, kind: Pod, metadata: {name: cart-1}, spec: {restartPolicy: Always}, status: {",
            $status,
            "}}"
        )
    };
}

#[test]
fn pods_name_the_container_and_the_reason() {
    check(&[
        (
            "ready",
            pod!("phase: Running, conditions: [{type: Ready, status: 'True'}]"),
            Healthy,
            "",
        ),
        ("done", pod!("phase: Succeeded"), Healthy, "completed"),
        ("no node", pod!(""), Progressing, "no node has taken it yet"),
        (
            "unschedulable",
            pod!(
                "phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: '0/3 nodes are available: insufficient memory.'}]"
            ),
            Progressing,
            "not scheduled: Unschedulable: 0/3 nodes are available: insufficient memory.",
        ),
        (
            "starting",
            pod!(
                "phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ContainerCreating}}}]"
            ),
            Progressing,
            "phase Pending",
        ),
        (
            "image",
            pod!(
                "phase: Pending, containerStatuses: [{name: side, state: {running: {}}}, {name: app, state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image \"cart:2\"'}}}]"
            ),
            Degraded,
            "container app: ImagePullBackOff: Back-off pulling image \"cart:2\"",
        ),
        (
            "image error",
            pod!(
                "phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ErrImagePull}}}]"
            ),
            Degraded,
            "container app: ErrImagePull",
        ),
        (
            "image name",
            pod!(
                "phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: InvalidImageName}}}]"
            ),
            Degraded,
            "container app: InvalidImageName",
        ),
        (
            "config",
            pod!(
                "phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: CreateContainerConfigError, message: 'secret \"db\" not found'}}}]"
            ),
            Degraded,
            "container app: CreateContainerConfigError: secret \"db\" not found",
        ),
        (
            "crash loop",
            pod!(
                "phase: Running, containerStatuses: [{name: app, restartCount: 7, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}}]"
            ),
            Degraded,
            "container app: CrashLoopBackOff (last exit code 137, OOMKilled)",
        ),
        (
            "init container first",
            pod!(
                "phase: Pending, initContainerStatuses: [{name: migrate, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, reason: Error}}}], containerStatuses: [{name: app, state: {waiting: {reason: PodInitializing}}}]"
            ),
            Degraded,
            "init container migrate: CrashLoopBackOff (last exit code 1)",
        ),
        (
            "ended between restarts",
            pod!(
                "phase: Running, containerStatuses: [{name: app, restartCount: 2, state: {terminated: {exitCode: 1, reason: Error}}}]"
            ),
            Progressing,
            "container app: exit code 1, 2 restarts",
        ),
        (
            "not ready",
            pod!(
                "phase: Running, conditions: [{type: Ready, status: 'False', reason: ContainersNotReady}], containerStatuses: [{name: app, ready: false, state: {running: {}}}, {name: side, ready: true}]"
            ),
            Progressing,
            "container app is not ready",
        ),
        (
            "evicted",
            pod!(
                "phase: Failed, reason: Evicted, message: 'The node was low on resource: memory.'"
            ),
            Degraded,
            "Evicted: The node was low on resource: memory.",
        ),
        (
            "failed",
            pod!(
                "phase: Failed, containerStatuses: [{name: app, state: {terminated: {exitCode: 2, reason: Error}}}]"
            ),
            Degraded,
            "container app: exit code 2",
        ),
        (
            "node lost",
            pod!("phase: Unknown"),
            Unknown,
            "its node does not answer",
        ),
        (
            "a job's pod",
            "{apiVersion: v1, kind: Pod, spec: {restartPolicy: Never}, status: {phase: Running, conditions: [{type: Ready, status: 'False'}]}}",
            Progressing,
            "running to its end",
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

#[test]
fn services_ingresses_and_volumes() {
    check(&[
        (
            "cluster ip",
            "{apiVersion: v1, kind: Service, spec: {type: ClusterIP}}",
            Healthy,
            "",
        ),
        (
            "no type",
            "{apiVersion: v1, kind: Service, spec: {}}",
            Healthy,
            "",
        ),
        (
            "load balancer waits",
            "{apiVersion: v1, kind: Service, spec: {type: LoadBalancer}, status: {loadBalancer: {}}}",
            Progressing,
            "no load balancer has given it an address yet",
        ),
        (
            "load balancer",
            "{apiVersion: v1, kind: Service, spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{hostname: a.example}]}}}",
            Healthy,
            "",
        ),
        (
            "external address",
            "{apiVersion: v1, kind: Service, spec: {type: LoadBalancer, externalIPs: [192.0.2.1]}}",
            Healthy,
            "",
        ),
        (
            "ingress without a controller that tells",
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {}}",
            Healthy,
            "",
        ),
        (
            "ingress waits",
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, status: {loadBalancer: {}}}",
            Progressing,
            "no ingress controller has given it an address yet",
        ),
        (
            "ingress",
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}",
            Healthy,
            "",
        ),
        (
            "ingress port",
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, status: {loadBalancer: {ingress: [{ip: 192.0.2.1, ports: [{port: 80, error: InUse}]}]}}}",
            Degraded,
            "load balancer port: InUse",
        ),
        (
            "bound",
            "{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Bound}}",
            Healthy,
            "",
        ),
        (
            "pending",
            "{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Pending}}",
            Progressing,
            "no volume is bound yet",
        ),
        (
            "lost",
            "{apiVersion: v1, kind: PersistentVolumeClaim, spec: {volumeName: pv-7}, status: {phase: Lost}}",
            Degraded,
            "its volume pv-7 is lost",
        ),
        (
            "volume",
            "{apiVersion: v1, kind: PersistentVolume, status: {phase: Available}}",
            Healthy,
            "",
        ),
        (
            "volume released",
            "{apiVersion: v1, kind: PersistentVolume, status: {phase: Released}}",
            Suspended,
            "released: its claim is gone",
        ),
        (
            "volume failed",
            "{apiVersion: v1, kind: PersistentVolume, status: {phase: Failed, message: no plugin}}",
            Degraded,
            "reclaim failed: no plugin",
        ),
    ]);
}

#[test]
fn budgets_and_autoscalers() {
    check(&[
        (
            "budget holds",
            "{apiVersion: policy/v1, kind: PodDisruptionBudget, status: {currentHealthy: 3, desiredHealthy: 2}}",
            Healthy,
            "",
        ),
        (
            "budget short",
            "{apiVersion: policy/v1, kind: PodDisruptionBudget, status: {currentHealthy: 1, desiredHealthy: 2}}",
            Progressing,
            "1 of 2 pods healthy",
        ),
        (
            "budget unseen",
            "{apiVersion: policy/v1, kind: PodDisruptionBudget}",
            Progressing,
            "no controller has seen it yet",
        ),
        (
            "budget broken",
            "{apiVersion: policy/v1, kind: PodDisruptionBudget, status: {conditions: [{type: DisruptionAllowed, status: 'False', reason: SyncFailed, message: no controller}]}}",
            Degraded,
            "SyncFailed: no controller",
        ),
        (
            "autoscaler",
            "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, status: {conditions: [{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'True'}]}}",
            Healthy,
            "",
        ),
        (
            "autoscaler without metrics",
            "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, status: {conditions: [{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'False', reason: FailedGetResourceMetric, message: no metrics}]}}",
            Degraded,
            "FailedGetResourceMetric: no metrics",
        ),
        (
            "autoscaler off",
            "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, status: {conditions: [{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'False', reason: ScalingDisabled}]}}",
            Suspended,
            "ScalingDisabled",
        ),
        (
            "autoscaler without target",
            "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, status: {conditions: [{type: AbleToScale, status: 'False', reason: FailedGetScale, message: not found}]}}",
            Degraded,
            "FailedGetScale: not found",
        ),
        (
            "autoscaler unseen",
            "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler}",
            Progressing,
            "no controller has seen it yet",
        ),
    ]);
}

#[test]
fn what_the_cluster_is_made_of() {
    check(&[
        (
            "crd",
            "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, status: {conditions: [{type: NamesAccepted, status: 'True'}, {type: Established, status: 'True'}]}}",
            Healthy,
            "",
        ),
        (
            "crd new",
            "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition}",
            Progressing,
            "not established yet",
        ),
        (
            "crd installing",
            "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, status: {conditions: [{type: Established, status: 'False', reason: Installing, message: the initial names have been accepted}]}}",
            Progressing,
            "not established yet: Installing: the initial names have been accepted",
        ),
        (
            "crd names taken",
            "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, status: {conditions: [{type: NamesAccepted, status: 'False', reason: PluralConflict}]}}",
            Degraded,
            "its names are taken: PluralConflict",
        ),
        (
            "namespace",
            "{apiVersion: v1, kind: Namespace, status: {phase: Active}}",
            Healthy,
            "",
        ),
        (
            "namespace held",
            "{apiVersion: v1, kind: Namespace, status: {phase: Terminating, conditions: [{type: NamespaceFinalizersRemaining, status: 'True', reason: SomeFinalizersRemain, message: example.com/hold in 1 instance}]}}",
            Progressing,
            "being deleted; SomeFinalizersRemain: example.com/hold in 1 instance",
        ),
        (
            "api service",
            "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, status: {conditions: [{type: Available, status: 'True'}]}}",
            Healthy,
            "",
        ),
        (
            "api service down",
            "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, status: {conditions: [{type: Available, status: 'False', reason: MissingEndpoints}]}}",
            Degraded,
            "not served: MissingEndpoints",
        ),
        (
            "node",
            "{apiVersion: v1, kind: Node, status: {conditions: [{type: Ready, status: 'True'}]}}",
            Healthy,
            "",
        ),
        (
            "node cordoned",
            "{apiVersion: v1, kind: Node, spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: 'True'}]}}",
            Suspended,
            "cordoned",
        ),
        (
            "node gone",
            "{apiVersion: v1, kind: Node, status: {conditions: [{type: Ready, status: Unknown, reason: NodeStatusUnknown}]}}",
            Degraded,
            "NodeStatusUnknown",
        ),
        (
            "node full",
            "{apiVersion: v1, kind: Node, status: {conditions: [{type: Ready, status: 'True'}, {type: DiskPressure, status: 'True', reason: KubeletHasDiskPressure}]}}",
            Degraded,
            "KubeletHasDiskPressure",
        ),
    ]);
}

/// A custom resource with the given status.
macro_rules! custom {
    ($status:literal) => {
        concat!(
            "{apiVersion: example.com/v1, kind: Thing, metadata: {name: a, generation: 2}, status: {",
            $status,
            "}}"
        )
    };
}

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

#[test]
fn a_workload_is_explained_by_its_pods() {
    let waiting = object(deployment!(
        "",
        ", replicas: 3, updatedReplicas: 3, availableReplicas: 1"
    ));
    let healthy = object(deployment!(
        "",
        ", replicas: 3, updatedReplicas: 3, availableReplicas: 3"
    ));
    let ready = object(pod!(
        "phase: Running, conditions: [{type: Ready, status: 'True'}]"
    ));
    let broken = object(pod!(
        "phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ErrImagePull}}}]"
    ));
    let unready = object(pod!(
        "phase: Running, containerStatuses: [{name: app, ready: false}]"
    ));
    let mut going = broken.clone();
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    for (name, workload, pods, status, message) in [
        (
            "names the broken pod",
            &waiting,
            vec![ready.clone(), unready.clone(), broken.clone()],
            Degraded,
            "1 of 3 replicas available; pod cart-1: container app: ErrImagePull",
        ),
        (
            "a waiting pod lends its message",
            &waiting,
            vec![unready],
            Progressing,
            "1 of 3 replicas available; pod cart-1: container app is not ready",
        ),
        (
            "no pod tells more",
            &waiting,
            vec![ready, going],
            Progressing,
            "1 of 3 replicas available",
        ),
        (
            "a healthy workload stays healthy",
            &healthy,
            vec![broken],
            Healthy,
            "",
        ),
    ] {
        assert_eq!(
            judge_with_pods(workload, &pods, &Rules::none()),
            Health::new(status, message),
            "{name}"
        );
    }
}

#[test]
fn a_selector_chooses_pods_of_its_own_namespace_by_all_its_labels() {
    let workload = object(
        "{metadata: {namespace: shop}, spec: {selector: {matchLabels: {app: cart, tier: web}}}}",
    );
    for (name, pod, want) in [
        (
            "all labels",
            "{metadata: {namespace: shop, labels: {app: cart, tier: web, x: y}}}",
            true,
        ),
        (
            "one label",
            "{metadata: {namespace: shop, labels: {app: cart}}}",
            false,
        ),
        (
            "other namespace",
            "{metadata: {namespace: bank, labels: {app: cart, tier: web}}}",
            false,
        ),
        ("no labels", "{metadata: {namespace: shop}}", false),
    ] {
        assert_eq!(selects(&workload, &object(pod)), want, "{name}");
    }
    let pod = object("{metadata: {labels: {app: cart}}}");
    for selector in [
        "{}",
        "{matchLabels: {}}",
        "{matchLabels: {app: cart}, matchExpressions: [{key: a, operator: Exists}]}",
    ] {
        assert!(
            !selects(
                &object(&format!("{{spec: {{selector: {selector}}}}}")),
                &pod
            ),
            "{selector}"
        );
    }
}
