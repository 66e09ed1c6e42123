//! The agent's own guard rails: which kinds and namespaces a signed state may touch here, and how much one state may
//! delete. Whoever owns the hub can't move them: they stand in the agent's options alone.
//!
//! Pure. `plan` asks before anything is planned; writing and deleting ask again before anything is sent.

use std::str::FromStr;

use countersign_ledger::identity::ObjectId;
use serde::Deserialize;

use crate::apply::discovery::GroupKind;

/// Kinds that no state may write unless the option says otherwise: they are records of controllers, and a Lease
/// decides which agent writes.
pub const DENIED: &str = "Lease.coordination.k8s.io,Event,Event.events.k8s.io,CertificateSigningRequest.certificates.k8s.io";
/// Most objects that one state may delete, unless the option says otherwise. The hub's own limit without a permit is
/// 50 an app.
pub const DELETES_MAX: &str = "100";
/// Name of the agent's Lease.
pub const LEASE: &str = "countersign-agent";

/// Which kinds: `*`, `*.GROUP`, `KIND` (of the core group) or `KIND.GROUP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindPattern {
    /// All.
    Any,
    /// All of a group.
    Group(String),
    /// One.
    Kind(GroupKind),
}

/// Not a pattern of kinds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be *, *.GROUP, KIND or KIND.GROUP, is {0:?}")]
pub struct NotAPattern(String);

impl FromStr for KindPattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        };
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        match (kind, group) {
            ("*", "") if text == "*" => Ok(Self::Any),
            ("*", group) if plain(group) => Ok(Self::Group(group.to_owned())),
            (kind, group) if plain(kind) && (text == kind || plain(group)) => {
                Ok(Self::Kind(GroupKind {
                    group: group.to_owned(),
                    kind: kind.to_owned(),
                }))
            }
            _ => Err(NotAPattern(text.to_owned())),
        }
    }
}

impl KindPattern {
    fn holds(&self, id: &ObjectId) -> bool {
        match self {
            Self::Any => true,
            Self::Group(group) => *group == id.group,
            Self::Kind(_) => self.names(id),
        }
    }

    /// Whether it names this very kind.
    fn names(&self, id: &ObjectId) -> bool {
        match self {
            Self::Any | Self::Group(_) => false,
            Self::Kind(kind) => kind.group == id.group && kind.kind == id.kind,
        }
    }
}

/// The guard rails of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rails {
    /// Kinds that may be written and deleted.
    pub allow: Vec<KindPattern>,
    /// Kinds that may not, whatever `allow` says.
    pub deny: Vec<KindPattern>,
    /// Namespaces that may be written to; empty for all but the agent's own.
    pub namespaces: Vec<String>,
    /// Most objects that one state may delete.
    pub deletes_max: usize,
    /// The agent's own namespace.
    pub own_namespace: String,
    /// The Secret that holds the agent's keys, where there is one.
    pub own_secret: Option<String>,
}

impl Default for Rails {
    fn default() -> Self {
        Self {
            allow: vec![KindPattern::Any],
            deny: DENIED
                .split(',')
                .filter_map(|text| text.parse().ok())
                .collect(),
            namespaces: Vec::new(),
            deletes_max: DELETES_MAX.parse().unwrap_or(0),
            own_namespace: "countersign".to_owned(),
            own_secret: None,
        }
    }
}

/// Which rail stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// The agent's Lease or the Secret of its keys.
    #[error("it is the agent's own")]
    Own,
    /// In the agent's own namespace.
    #[error("{0} is the agent's own namespace, and --allow-namespaces does not name it")]
    OwnNamespace(String),
    /// A binding that gives the agent rights.
    #[error("it binds rights to the agent itself")]
    OwnRights,
    /// Named by `--deny-kinds`.
    #[error("--deny-kinds denies {0}")]
    KindDenied(GroupKind),
    /// Not named by `--allow-kinds`.
    #[error("--allow-kinds does not allow {0}")]
    KindNotAllowed(GroupKind),
    /// Not named by `--allow-namespaces`.
    #[error("--allow-namespaces does not allow {0}")]
    Namespace(String),
    /// Of no namespace, while only some are allowed.
    #[error(
        "only some namespaces are allowed, and {0} belongs to none: --allow-kinds must name the kind itself"
    )]
    ClusterScope(GroupKind),
    /// The state deletes too much.
    #[error("the state deletes {count} objects, --max-deletes-per-state is {max}: none is deleted")]
    Deletes {
        /// How many it would delete.
        count: usize,
        /// How many it may.
        max: usize,
    },
}

impl Rails {
    /// May an object of this identity be written, or deleted?
    ///
    /// # Errors
    /// The rail that stands in the way.
    pub fn check(&self, id: &ObjectId) -> Result<(), Breach> {
        let kind = || GroupKind::of(id);
        if self.is_own(id) {
            return Err(Breach::Own);
        }
        if self.deny.iter().any(|pattern| pattern.holds(id)) {
            return Err(Breach::KindDenied(kind()));
        }
        if !self.allow.iter().any(|pattern| pattern.holds(id)) {
            return Err(Breach::KindNotAllowed(kind()));
        }
        let is_namespace = id.group.is_empty() && id.kind == "Namespace";
        let namespace = if is_namespace {
            &id.name
        } else {
            &id.namespace
        };
        if namespace.is_empty() {
            let named = self.allow.iter().any(|pattern| pattern.names(id));
            return if self.namespaces.is_empty() || named {
                Ok(())
            } else {
                Err(Breach::ClusterScope(kind()))
            };
        }
        if self.namespaces.contains(namespace) {
            Ok(())
        } else if *namespace == self.own_namespace {
            Err(Breach::OwnNamespace(namespace.clone()))
        } else if self.namespaces.is_empty() {
            Ok(())
        } else {
            Err(Breach::Namespace(namespace.clone()))
        }
    }

    /// May these bytes be written? Looks into bindings only: none may give rights to the agent itself.
    ///
    /// # Errors
    /// [`Breach::OwnRights`].
    pub fn check_content(&self, id: &ObjectId, json: &[u8]) -> Result<(), Breach> {
        if id.group != "rbac.authorization.k8s.io"
            || !matches!(id.kind.as_str(), "RoleBinding" | "ClusterRoleBinding")
        {
            return Ok(());
        }
        // What can't be read is the API server's to refuse; it has no subject then either.
        let binding: Binding = serde_json::from_slice(json).unwrap_or_default();
        let ours = binding.subjects.iter().flatten().any(|subject| {
            let account = format!("system:serviceaccount:{}:", self.own_namespace);
            let accounts = format!("system:serviceaccounts:{}", self.own_namespace);
            match subject.kind.as_str() {
                "ServiceAccount" => {
                    let namespace = subject.namespace.as_deref().unwrap_or(&id.namespace);
                    namespace == self.own_namespace
                }
                "Group" => subject.name == accounts || subject.name == "system:serviceaccounts",
                "User" => subject.name.starts_with(&account),
                _ => false,
            }
        });
        if ours { Err(Breach::OwnRights) } else { Ok(()) }
    }

    /// The Lease that makes it the one agent, and the Secret of its keys: whatever the options say.
    fn is_own(&self, id: &ObjectId) -> bool {
        let lease = id.group == "coordination.k8s.io" && id.kind == "Lease" && id.name == LEASE;
        let keys = id.group.is_empty()
            && id.kind == "Secret"
            && self.own_secret.as_deref() == Some(&id.name);
        id.namespace == self.own_namespace && (lease || keys)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Binding {
    subjects: Option<Vec<Subject>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    namespace: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, namespace: &str, name: &str) -> ObjectId {
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn patterns(text: &str) -> Vec<KindPattern> {
        text.split(',').map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn without_options_all_is_allowed_but_what_is_the_agents_own() {
        let rails = Rails {
            own_secret: Some("keys".to_owned()),
            ..Rails::default()
        };
        for (kind, namespace, name, allowed) in [
            ("ConfigMap", "shop", "a", true),
            ("ClusterRole.rbac.authorization.k8s.io", "", "a", true),
            ("Namespace", "", "shop", true),
            ("Namespace", "", "countersign", false),
            ("ConfigMap", "countersign", "a", false),
            ("Lease.coordination.k8s.io", "shop", "a", false),
            ("Event", "shop", "a", false),
            ("Secret", "countersign", "keys", false),
        ] {
            let id = id(kind, namespace, name);
            assert_eq!(rails.check(&id).is_ok(), allowed, "{id}");
        }
    }

    #[test]
    fn its_own_namespace_can_be_allowed_but_never_its_lease_nor_its_keys() {
        let rails = Rails {
            namespaces: vec!["countersign".to_owned()],
            deny: vec![],
            own_secret: Some("keys".to_owned()),
            ..Rails::default()
        };
        assert_eq!(rails.check(&id("ConfigMap", "countersign", "a")), Ok(()));
        let lease = id("Lease.coordination.k8s.io", "countersign", LEASE);
        assert_eq!(rails.check(&lease), Err(Breach::Own));
        let keys = id("Secret", "countersign", "keys");
        assert_eq!(rails.check(&keys), Err(Breach::Own));
    }

    #[test]
    fn where_some_namespaces_are_allowed_a_cluster_wide_kind_must_be_named() {
        let mut rails = Rails {
            namespaces: vec!["shop".to_owned()],
            ..Rails::default()
        };
        let role = id("ClusterRole.rbac.authorization.k8s.io", "", "a");
        assert_eq!(rails.check(&id("ConfigMap", "shop", "a")), Ok(()));
        assert_eq!(rails.check(&id("Namespace", "", "shop")), Ok(()));
        assert!(rails.check(&id("Namespace", "", "other")).is_err());
        assert!(rails.check(&id("ConfigMap", "other", "a")).is_err());
        assert!(rails.check(&role).is_err());
        rails.allow = patterns("*,ClusterRole.rbac.authorization.k8s.io");
        assert_eq!(rails.check(&role), Ok(()));
    }

    #[test]
    fn a_denied_kind_is_denied_whatever_is_allowed() {
        let rails = Rails {
            allow: patterns("*.apps,ConfigMap,Secret"),
            deny: patterns("Secret"),
            ..Rails::default()
        };
        assert_eq!(rails.check(&id("Deployment.apps", "a", "a")), Ok(()));
        assert_eq!(rails.check(&id("ConfigMap", "a", "a")), Ok(()));
        assert!(rails.check(&id("Secret", "a", "a")).is_err());
        assert!(rails.check(&id("Job.batch", "a", "a")).is_err());
        assert!(rails.check(&id("ConfigMap.example.org", "a", "a")).is_err());
    }

    #[test]
    fn no_binding_gives_the_agent_rights() {
        let rails = Rails::default();
        let (role, cluster) = (
            id("RoleBinding.rbac.authorization.k8s.io", "shop", "a"),
            id("ClusterRoleBinding.rbac.authorization.k8s.io", "", "a"),
        );
        for (id, subject, allowed) in [
            (&role, r#"{"kind":"ServiceAccount","name":"x"}"#, true),
            (
                &role,
                r#"{"kind":"ServiceAccount","name":"x","namespace":"countersign"}"#,
                false,
            ),
            (
                &cluster,
                r#"{"kind":"Group","name":"system:serviceaccounts"}"#,
                false,
            ),
            (
                &cluster,
                r#"{"kind":"Group","name":"system:serviceaccounts:countersign"}"#,
                false,
            ),
            (
                &cluster,
                r#"{"kind":"Group","name":"system:serviceaccounts:countersign-x"}"#,
                true,
            ),
            (
                &cluster,
                r#"{"kind":"User","name":"system:serviceaccount:countersign:agent"}"#,
                false,
            ),
            (&cluster, r#"{"kind":"User","name":"anna"}"#, true),
        ] {
            let json = format!(r#"{{"subjects":[{subject}]}}"#);
            assert_eq!(
                rails.check_content(id, json.as_bytes()).is_ok(),
                allowed,
                "{subject}"
            );
        }
        assert_eq!(rails.check_content(&role, b"nonsense"), Ok(()));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "*.", "a b", ".apps", "**", "Pod."] {
            assert!(text.parse::<KindPattern>().is_err(), "{text:?}");
        }
    }
}
