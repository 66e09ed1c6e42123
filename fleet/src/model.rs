//! A fleet as it is worked with, once its documents have been read: only what is allowed can be said.
use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::identity::ObjectId;
use serde_json::{Map, Value as Json};

use crate::document::app::{PRUNE_OBJECTS_MAX, PRUNE_PERCENT_MAX};
use crate::document::{
    GitSource, HelmSource, Kubernetes, Level, OciSource, OnRemoval, Project, Rollout, Selector,
};
use crate::mistake::{Mistake, Place};
use crate::path::RepoPath;
use crate::source::lock::Lock;

/// All clusters and apps of one tree.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    /// Its name, if `fleet.yaml` says one.
    pub name: Option<String>,
    /// What environments must have at least; the trust root may ask for more.
    pub levels: BTreeMap<String, Level>,
    /// By name.
    pub clusters: BTreeMap<String, Cluster>,
    /// By name. Those with a mistake stand in `broken_apps` instead.
    pub apps: BTreeMap<String, App>,
    /// Apps whose documents can't be used: they keep what they last had, wherever they had it.
    pub broken_apps: BTreeMap<String, Vec<Mistake>>,
    /// Clusters whose documents can't be used: they keep their head.
    pub broken_clusters: BTreeMap<String, Vec<Mistake>>,
    /// Files that may hold documents and could not be read. While there is one, an app that is not found may stand in
    /// it, so that nothing counts as removed.
    pub unreadable: Vec<Mistake>,
    /// What sources are pinned to.
    pub lock: Lock,
    /// Rules for the health of kinds, by group and kind, from `policies/health/`.
    pub health_rules: BTreeMap<(String, String), HealthRuleAt>,
    /// Folders that were looked into for documents, there or not.
    pub folders: BTreeSet<RepoPath>,
    /// Files that hold documents of ours.
    pub document_files: BTreeSet<RepoPath>,
}

/// A health rule of the fleet, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthRuleAt {
    /// Its file, and its line in it.
    pub place: Place,
    /// `spec.rules[2]`
    pub field: String,
    /// As it travels to the agents.
    pub rule: Json,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its folder's name.
    pub name: String,
    /// Its document, or its folder.
    pub place: Place,
    /// What Apps choose it by; `name` is always among them.
    pub labels: BTreeMap<String, String>,
    /// Its ring.
    pub ring: Option<String>,
    /// What Apps may name.
    pub parameters: Map<String, Json>,
    /// What its API server knows.
    pub kubernetes: Kubernetes,
}

/// One app.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    /// Unique in the fleet.
    pub name: String,
    /// Its document; the cluster's folder for an implied one.
    pub place: Place,
    /// Where it runs.
    pub scope: Scope,
    /// Where its files come from.
    pub source: Source,
    /// How they become objects.
    pub render: Render,
    /// Of the release, and of objects that name none.
    pub namespace: String,
    /// Apps that must be healthy first.
    pub depends_on: Vec<String>,
    /// In which order clusters get a change. Carried; acted on by the rollout.
    pub rollout: Option<Rollout>,
    /// How much may be deleted without a permit.
    pub prune: PruneLimits,
    /// Whether what others add is removed.
    pub exclusive: bool,
    /// Rules of its own for health.
    pub health_rules: Vec<Json>,
    /// What happens when the document is removed.
    pub on_removal: OnRemoval,
    /// What it may touch.
    pub project: Option<Project>,
}

/// Where an app runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// On the cluster in whose folder it lies.
    Cluster(String),
    /// On the clusters that this chooses.
    Selector(Selector),
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// What lies in a cluster's folder and belongs to no other app.
    ClusterFolder {
        /// The folder.
        folder: RepoPath,
        /// Folders and files in it that are other apps'.
        except: Vec<RepoPath>,
    },
    /// A folder or file of the fleet's repository; may name the cluster.
    Path(String),
    /// Another repository.
    Git(GitSource),
    /// A chart of a Helm repository.
    Helm(HelmSource),
    /// A chart of an OCI registry.
    Oci(OciSource),
}

/// How files become objects.
#[derive(Debug, Clone, PartialEq)]
pub enum Render {
    /// As the files suggest.
    Auto,
    /// As they are.
    Plain,
    /// Built from a folder, relative to the source; may name the cluster.
    Kustomize(Option<String>),
    /// A chart.
    Helm {
        /// Files, from the fleet repository's root; may name the cluster.
        value_files: Vec<String>,
        /// Whether those that are not there are skipped.
        ignore_missing: bool,
        /// May name the cluster.
        values: Map<String, Json>,
    },
}

/// How much of an app may be deleted without a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneLimits {
    /// Objects.
    pub max_objects: u32,
    /// Percent, of an app of more than 20 objects.
    pub max_percent: u32,
    /// Kinds with their group that always need a permit, besides the built-in ones.
    pub protected_kinds: BTreeSet<String>,
}

impl Default for PruneLimits {
    fn default() -> Self {
        Self {
            max_objects: PRUNE_OBJECTS_MAX,
            max_percent: PRUNE_PERCENT_MAX,
            protected_kinds: BTreeSet::new(),
        }
    }
}

impl Fleet {
    /// The health rules that travel with an app: its own, and the fleet's for the kinds of its objects. For a kind of
    /// which the app has a rule, that one counts.
    pub fn health_rules_of<'a>(
        &self,
        app: &App,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) -> Vec<Json> {
        let text = |rule: &Json, name: &str| {
            let text = rule.get(name).and_then(Json::as_str);
            text.unwrap_or_default().to_owned()
        };
        let own: BTreeSet<(String, String)> = app
            .health_rules
            .iter()
            .map(|rule| (text(rule, "group"), text(rule, "kind")))
            .collect();
        let kinds: BTreeSet<(&str, &str)> = objects
            .map(|id| (id.group.as_str(), id.kind.as_str()))
            .collect();
        let of_fleet = self
            .health_rules
            .iter()
            .filter(|(of, _)| kinds.contains(&(of.0.as_str(), of.1.as_str())) && !own.contains(of))
            .map(|(_, at)| &at.rule);
        app.health_rules.iter().chain(of_fleet).cloned().collect()
    }

    /// Apps whose removal deletes their objects: to be remembered for the next commit, in which their document may be
    /// gone.
    pub fn removals(&self) -> BTreeSet<String> {
        self.apps
            .values()
            .filter(|app| app.on_removal == OnRemoval::Delete)
            .map(|app| app.name.clone())
            .collect()
    }

    /// Clusters whose label `env` is not what the trust root says (DECISIONS 5): their state must not be sealed.
    pub fn wrong_environments<'a>(
        &'a self,
        trusted: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a Cluster, &'a str)> {
        self.clusters.values().filter_map(|cluster| {
            let trusted = trusted.get(&cluster.name)?.as_str();
            let said = cluster.labels.get("env").map_or(trusted, String::as_str);
            (said != trusted).then_some((cluster, trusted))
        })
    }
}
