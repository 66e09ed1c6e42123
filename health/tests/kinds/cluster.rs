//! What lies around workloads, and what a cluster is made of.

use super::*;

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
