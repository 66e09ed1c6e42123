//! Pods, and workloads that are explained by theirs.

use super::*;

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
