//! Which apps run on which cluster. Pure.
use crate::model::{App, Cluster, Fleet, Scope};

impl App {
    /// Whether it runs on `cluster`.
    pub fn runs_on(&self, cluster: &Cluster) -> bool {
        match &self.scope {
            Scope::Cluster(name) => *name == cluster.name,
            Scope::Selector(selector) => selector.matches(&cluster.labels),
        }
    }
}

impl Fleet {
    /// The apps that run on `cluster`, by name. Broken ones are not among them: nobody knows where they would run.
    pub fn apps_on<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = &'a App> {
        self.apps.values().filter(|app| app.runs_on(cluster))
    }

    /// The clusters that `app` runs on, by name.
    pub fn clusters_of<'a>(&'a self, app: &'a App) -> impl Iterator<Item = &'a Cluster> {
        self.clusters
            .values()
            .filter(|cluster| app.runs_on(cluster))
    }
}
