//! Built-in kinds whose status says more than their conditions do. One file a family, one function a kind.

mod batch;
mod cluster;
mod network;
mod pod;
mod policy;
mod storage;
mod workload;

pub(crate) use pod::pod;

use serde_json::Value;

use crate::Health;

/// The verdict on an object of a kind that is known here.
pub(crate) fn judge(group: &str, kind: &str, object: &Value) -> Option<Health> {
    let health = match (group, kind) {
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("apps", "DaemonSet") => workload::daemon_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workload::replica_set(object),
        ("", "Pod") => pod::pod(object),
        ("batch", "Job") => batch::job(object),
        ("batch", "CronJob") => batch::cron_job(object),
        ("", "Service") => network::service(object),
        ("networking.k8s.io", "Ingress") => network::ingress(object),
        ("", "PersistentVolumeClaim") => storage::claim(object),
        ("", "PersistentVolume") => storage::volume(object),
        ("policy", "PodDisruptionBudget") => policy::disruption_budget(object),
        ("autoscaling", "HorizontalPodAutoscaler") => policy::autoscaler(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => cluster::definition(object),
        ("apiregistration.k8s.io", "APIService") => cluster::api_service(object),
        ("", "Namespace") => cluster::namespace(object),
        ("", "Node") => cluster::node(object),
        (group, kind) if is_data(group, kind) => Health::healthy(),
        _ => return None,
    };
    Some(health)
}

/// Kinds that only hold data: to exist is to be healthy.
pub(crate) fn is_data(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        (
            "",
            "ConfigMap"
                | "Secret"
                | "ServiceAccount"
                | "Endpoints"
                | "LimitRange"
                | "PodTemplate"
                | "ResourceQuota"
                | "Event"
        ) | ("apps", "ControllerRevision")
            | (
                "rbac.authorization.k8s.io",
                "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding"
            )
            | ("networking.k8s.io", "NetworkPolicy" | "IngressClass")
            | ("storage.k8s.io", "StorageClass" | "CSIDriver" | "CSINode")
            | ("scheduling.k8s.io", "PriorityClass")
            | ("node.k8s.io", "RuntimeClass")
            | ("discovery.k8s.io", "EndpointSlice")
            | ("coordination.k8s.io", "Lease")
            | (
                "admissionregistration.k8s.io",
                "ValidatingAdmissionPolicy"
                    | "ValidatingAdmissionPolicyBinding"
                    | "MutatingAdmissionPolicy"
                    | "MutatingAdmissionPolicyBinding"
                    | "ValidatingWebhookConfiguration"
                    | "MutatingWebhookConfiguration"
            )
    )
}
