//! Which kinds there are on a cluster, and whether their objects lie in namespaces. Never asked of a cluster
//! (DECISIONS 12): the built-in kinds of its version, CustomResourceDefinitions of the fleet, and what
//! `Cluster.spec.kubernetes` lists.
use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::digest::Digest;
use serde_json::Value as Json;

use crate::document::{Kubernetes, Scope};

/// What is known of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Whether its objects lie in namespaces.
    pub namespaced: bool,
    /// Plural name in URLs.
    pub resource: String,
}

/// All kinds of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kinds {
    known: BTreeMap<(String, String), Kind>,
    api_versions: BTreeSet<String>,
}

/// Group, versions, then the kinds: `Kind/resource`, with a leading `!` if they belong to the whole cluster.
const BUILT_IN: &[(&str, &[&str], &[&str])] = &[
    (
        "",
        &["v1"],
        &[
            "!ComponentStatus/componentstatuses",
            "ConfigMap/configmaps",
            "Endpoints/endpoints",
            "Event/events",
            "LimitRange/limitranges",
            "!Namespace/namespaces",
            "!Node/nodes",
            "PersistentVolumeClaim/persistentvolumeclaims",
            "!PersistentVolume/persistentvolumes",
            "Pod/pods",
            "PodTemplate/podtemplates",
            "ReplicationController/replicationcontrollers",
            "ResourceQuota/resourcequotas",
            "Secret/secrets",
            "ServiceAccount/serviceaccounts",
            "Service/services",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &["v1"],
        &[
            "!MutatingWebhookConfiguration/mutatingwebhookconfigurations",
            "!ValidatingWebhookConfiguration/validatingwebhookconfigurations",
            "!ValidatingAdmissionPolicy/validatingadmissionpolicies",
            "!ValidatingAdmissionPolicyBinding/validatingadmissionpolicybindings",
        ],
    ),
    (
        "apiextensions.k8s.io",
        &["v1"],
        &["!CustomResourceDefinition/customresourcedefinitions"],
    ),
    (
        "apiregistration.k8s.io",
        &["v1"],
        &["!APIService/apiservices"],
    ),
    (
        "apps",
        &["v1"],
        &[
            "ControllerRevision/controllerrevisions",
            "DaemonSet/daemonsets",
            "Deployment/deployments",
            "ReplicaSet/replicasets",
            "StatefulSet/statefulsets",
        ],
    ),
    (
        "autoscaling",
        &["v1", "v2"],
        &["HorizontalPodAutoscaler/horizontalpodautoscalers"],
    ),
    ("batch", &["v1"], &["CronJob/cronjobs", "Job/jobs"]),
    (
        "certificates.k8s.io",
        &["v1"],
        &["!CertificateSigningRequest/certificatesigningrequests"],
    ),
    ("coordination.k8s.io", &["v1"], &["Lease/leases"]),
    (
        "discovery.k8s.io",
        &["v1"],
        &["EndpointSlice/endpointslices"],
    ),
    ("events.k8s.io", &["v1"], &["Event/events"]),
    (
        "flowcontrol.apiserver.k8s.io",
        &["v1"],
        &[
            "!FlowSchema/flowschemas",
            "!PriorityLevelConfiguration/prioritylevelconfigurations",
        ],
    ),
    (
        "networking.k8s.io",
        &["v1"],
        &[
            "!IngressClass/ingressclasses",
            "Ingress/ingresses",
            "!IPAddress/ipaddresses",
            "NetworkPolicy/networkpolicies",
            "!ServiceCIDR/servicecidrs",
        ],
    ),
    ("node.k8s.io", &["v1"], &["!RuntimeClass/runtimeclasses"]),
    (
        "policy",
        &["v1"],
        &["PodDisruptionBudget/poddisruptionbudgets"],
    ),
    (
        "rbac.authorization.k8s.io",
        &["v1"],
        &[
            "!ClusterRoleBinding/clusterrolebindings",
            "!ClusterRole/clusterroles",
            "RoleBinding/rolebindings",
            "Role/roles",
        ],
    ),
    (
        "resource.k8s.io",
        &["v1"],
        &[
            "!DeviceClass/deviceclasses",
            "ResourceClaim/resourceclaims",
            "ResourceClaimTemplate/resourceclaimtemplates",
            "!ResourceSlice/resourceslices",
        ],
    ),
    (
        "scheduling.k8s.io",
        &["v1"],
        &["!PriorityClass/priorityclasses"],
    ),
    (
        "storage.k8s.io",
        &["v1"],
        &[
            "!CSIDriver/csidrivers",
            "!CSINode/csinodes",
            "CSIStorageCapacity/csistoragecapacities",
            "!StorageClass/storageclasses",
            "!VolumeAttachment/volumeattachments",
            "!VolumeAttributesClass/volumeattributesclasses",
        ],
    ),
];

impl Kinds {
    /// The built-in kinds and those that a cluster's document lists.
    pub fn of(kubernetes: &Kubernetes) -> Self {
        let mut kinds = Self {
            known: BTreeMap::new(),
            api_versions: kubernetes.api_versions.iter().cloned().collect(),
        };
        for (group, versions, names) in BUILT_IN {
            for name in *names {
                let namespaced = !name.starts_with('!');
                let (kind, resource) = name
                    .trim_start_matches('!')
                    .split_once('/')
                    .unwrap_or_default();
                for version in *versions {
                    kinds.add(group, version, kind, resource, namespaced);
                }
            }
        }
        for kind in &kubernetes.kinds {
            let guessed = guess_resource(&kind.kind);
            let resource = kind.resource.as_deref().unwrap_or(&guessed);
            let namespaced = kind.scope == Scope::Namespaced;
            kinds.add(&kind.group, &kind.version, &kind.kind, resource, namespaced);
        }
        kinds
    }

    fn add(&mut self, group: &str, version: &str, kind: &str, resource: &str, namespaced: bool) {
        let at = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        self.api_versions.insert(format!("{at}/{kind}"));
        self.api_versions.insert(at);
        self.known
            .entry((group.to_owned(), kind.to_owned()))
            .or_insert_with(|| Kind {
                namespaced,
                resource: resource.to_owned(),
            });
    }

    /// Takes the kinds of a CustomResourceDefinition in; anything else is left alone. Says whether one was new.
    pub fn learn(&mut self, object: &Json) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Json::as_str);
        let is_definition = text("/kind") == Some("CustomResourceDefinition")
            && text("/apiVersion").is_some_and(|v| v.starts_with("apiextensions.k8s.io/"));
        let (Some(group), Some(kind), Some(resource), true) = (
            text("/spec/group"),
            text("/spec/names/kind"),
            text("/spec/names/plural"),
            is_definition,
        ) else {
            return false;
        };
        let namespaced = text("/spec/scope") != Some("Cluster");
        let before = self.api_versions.len();
        let versions = object.pointer("/spec/versions").and_then(Json::as_array);
        for version in versions.into_iter().flatten() {
            let served = version.get("served").and_then(Json::as_bool) != Some(false);
            if let (Some(name), true) = (version.get("name").and_then(Json::as_str), served) {
                self.add(group, name, kind, resource, namespaced);
            }
        }
        self.api_versions.len() > before
    }

    /// The kind, if the cluster has it.
    pub fn get(&self, group: &str, kind: &str) -> Option<&Kind> {
        self.known.get(&(group.to_owned(), kind.to_owned()))
    }

    /// Names this set of kinds: equal names mean equal sets.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(format!("{:?}\n{:?}", self.known, self.api_versions).as_bytes())
    }

    /// What charts may ask for, sorted.
    pub fn api_versions(&self) -> Vec<String> {
        self.api_versions.iter().cloned().collect()
    }
}

/// The plural that Kubernetes' own tools would guess.
fn guess_resource(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if lower.ends_with('s') || lower.ends_with("ch") || lower.ends_with('x') {
        format!("{lower}es")
    } else if let Some(stem) = lower
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']))
    {
        format!("{stem}ies")
    } else {
        format!("{lower}s")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn built_in_kinds_know_their_scope() {
        let kinds = Kinds::of(&Kubernetes::default());
        let scope = |group, kind| kinds.get(group, kind).map(|kind| kind.namespaced);
        assert_eq!(scope("apps", "Deployment"), Some(true));
        assert_eq!(scope("", "Namespace"), Some(false));
        assert_eq!(
            scope("rbac.authorization.k8s.io", "ClusterRole"),
            Some(false)
        );
        assert_eq!(scope("example.org", "Thing"), None);
        assert!(
            kinds
                .api_versions()
                .contains(&"apps/v1/Deployment".to_owned())
        );
        assert!(kinds.api_versions().contains(&"v1".to_owned()));
        let every: Vec<_> = BUILT_IN.iter().flat_map(|(.., names)| *names).collect();
        assert!(every.iter().all(|name| name.contains('/')));
    }

    #[test]
    fn a_definition_of_the_fleet_brings_its_kinds() {
        let mut kinds = Kinds::of(&Kubernetes::default());
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"group": "example.org", "scope": "Cluster", "names": {"kind": "Thing", "plural": "things"},
                     "versions": [{"name": "v1", "served": true}, {"name": "v0", "served": false}]},
        });
        assert!(kinds.learn(&definition));
        assert!(!kinds.learn(&definition));
        assert!(!kinds.learn(&json!({"kind": "ConfigMap"})));
        assert_eq!(
            kinds
                .get("example.org", "Thing")
                .map(|kind| kind.namespaced),
            Some(false)
        );
        assert!(!kinds.api_versions().contains(&"example.org/v0".to_owned()));
    }

    #[test]
    fn plurals_are_guessed_as_elsewhere() {
        for (kind, plural) in [
            ("Policy", "policies"),
            ("Gateway", "gateways"),
            ("Ingress", "ingresses"),
            ("Thing", "things"),
        ] {
            assert_eq!(guess_resource(kind), plural);
        }
    }
}
