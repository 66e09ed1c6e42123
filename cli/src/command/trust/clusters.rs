//! The clusters of a trust root, as arguments or a fleet repository say them.

use std::collections::BTreeMap;
use std::path::Path;

use countersign_fleet::document;
use countersign_fleet::load::load;
use countersign_fleet::tree::WorkTree;
use countersign_ledger::name;
use countersign_ledger::trust::{ClusterTrust, Level};

use crate::exit::Failure;
use crate::output::safe;

/// The clusters of a repository and of the arguments; the arguments win.
pub(super) fn clusters(
    repo: Option<&Path>,
    said: &[String],
) -> Result<BTreeMap<String, ClusterTrust>, Failure> {
    let mut clusters = match repo {
        Some(path) => of_repository(path)?,
        None => BTreeMap::new(),
    };
    for text in said {
        let (name, trust) = parse_cluster(text)?;
        clusters.insert(name, trust);
    }
    if clusters.is_empty() {
        return Err(Failure::Mistake(
            "no cluster: name one with --cluster NAME=ENV, or a repository with a folder clusters/"
                .to_owned(),
        ));
    }
    Ok(clusters)
}

fn of_repository(path: &Path) -> Result<BTreeMap<String, ClusterTrust>, Failure> {
    let fault =
        |error: &dyn std::fmt::Display| Failure::Mistake(format!("{}: {error}", path.display()));
    let tree = WorkTree::open(path).map_err(|e| fault(&e))?;
    let (fleet, _) = load(&tree).map_err(|e| fault(&e))?;
    if let Some((name, mistakes)) = fleet.broken_clusters.iter().next() {
        let first = mistakes
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        return Err(Failure::Mistake(format!(
            "cluster {} has a mistake: {}; `countersign lint` shows all",
            safe(name),
            safe(&first)
        )));
    }
    let mut clusters = BTreeMap::new();
    for (name, cluster) in &fleet.clusters {
        let environment = cluster.labels.get("env").ok_or_else(|| {
            Failure::Mistake(format!(
                "clusters/{name} has no label \"env\"; write it in clusters/{name}/cluster.yaml, or say --cluster {name}=ENV without --repo"
            ))
        })?;
        let level = fleet
            .levels
            .get(environment)
            .copied()
            .map_or_else(Level::default, asked);
        clusters.insert(
            name.clone(),
            ClusterTrust {
                environment: environment.clone(),
                level,
            },
        );
    }
    Ok(clusters)
}

/// The level that a fleet's own files ask for.
const fn asked(level: document::Level) -> Level {
    match level {
        document::Level::Signed => Level::Signed,
        document::Level::Witnessed => Level::Witnessed,
        document::Level::Authored => Level::Authored,
        document::Level::Reproduced => Level::Reproduced,
    }
}

/// Reads NAME=ENV[:LEVEL].
pub(super) fn parse_cluster(text: &str) -> Result<(String, ClusterTrust), Failure> {
    let mistake =
        |why: &dyn std::fmt::Display| Failure::Mistake(format!("--cluster {}: {why}", safe(text)));
    let (cluster, rest) = text
        .split_once('=')
        .ok_or_else(|| mistake(&"must be NAME=ENV[:LEVEL]"))?;
    let (environment, level) = match rest.split_once(':') {
        Some((environment, level)) => (
            environment,
            level.parse::<Level>().map_err(|e| mistake(&e))?,
        ),
        None => (rest, Level::default()),
    };
    name::check("cluster", cluster).map_err(|e| mistake(&e))?;
    name::check("environment", environment).map_err(|e| mistake(&e))?;
    let trust = ClusterTrust {
        environment: environment.to_owned(),
        level,
    };
    Ok((cluster.to_owned(), trust))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_said_as_name_environment_and_level() {
        let (name, trust) = parse_cluster("metal-fra=production:witnessed").unwrap();
        assert_eq!(
            (name.as_str(), trust.environment.as_str(), trust.level),
            ("metal-fra", "production", Level::Witnessed)
        );
        assert_eq!(parse_cluster("a=b").unwrap().1.level, Level::Signed);
        for bad in ["", "a", "a=", "=b", "a=b:best", "A=b", "a=b/c", "a=b:"] {
            assert!(
                matches!(parse_cluster(bad), Err(Failure::Mistake(_))),
                "{bad}"
            );
        }
    }
}
