//! Which crate may depend on which: one way only, and the agent and the hub never see each other.

use std::collections::BTreeMap;

use anyhow::Context as _;
use toml::{Table, Value};

use super::Complaint;

/// Each crate's folder, what it may depend on among ours, and where to move what it wanted from elsewhere.
const ALLOWED: [(&str, &[&str], &str); 12] = [
    ("proto", &[], "proto knows no other crate"),
    ("ledger", &[], "move the pure part into ledger itself"),
    ("health", &[], "move the shared type to health"),
    (
        "witness",
        &["ledger"],
        "a witness knows logs alone: move the shared type to ledger",
    ),
    (
        "signer",
        &["ledger"],
        "a signer knows keys alone: what is signed is the caller's",
    ),
    (
        "fleet",
        &["proto", "ledger"],
        "move the shared type to ledger or proto",
    ),
    (
        "agent",
        &["proto", "ledger", "health", "witness"],
        "move the shared type to ledger or proto",
    ),
    (
        "hub",
        &["proto", "ledger", "fleet", "signer"],
        "move the shared type to fleet, ledger or proto",
    ),
    (
        "cli",
        &["proto", "ledger", "fleet", "health", "witness", "signer"],
        "move the shared type to fleet, health, ledger or proto",
    ),
    (
        "tests",
        &[
            "proto", "ledger", "fleet", "health", "witness", "signer", "agent", "hub", "cli",
        ],
        "move it to tests",
    ),
    (
        "fuzz",
        &[
            "proto", "ledger", "fleet", "health", "witness", "signer", "agent", "hub",
        ],
        "move it to fuzz",
    ),
    (
        "xtask",
        &[
            "proto", "ledger", "fleet", "health", "witness", "signer", "agent", "hub", "cli",
            "tests",
        ],
        "move it to xtask",
    ),
];

/// What a crate may not use itself, and why.
const FOREIGN: [(&str, &[&str], &str); 4] = [
    (
        "ledger",
        &[
            "tokio",
            "kube",
            "hyper",
            "reqwest",
            "git2",
            "object_store",
            "rusqlite",
            "tonic",
        ],
        "ledger does no I/O",
    ),
    (
        "health",
        &["tokio", "kube", "hyper", "reqwest"],
        "health does no I/O: it judges objects that it is given",
    ),
    (
        "fleet",
        &["kube", "k8s-openapi"],
        "fleet knows no cluster: the agent talks to it",
    ),
    (
        "hub",
        &["kube", "k8s-openapi"],
        "the hub never talks to a cluster: the agent does",
    ),
];

/// Checks the manifests, given by their folder.
pub(super) fn check(manifests: &BTreeMap<&str, &str>) -> anyhow::Result<Vec<Complaint>> {
    let mut complaints = Vec::new();
    for (&folder, &text) in manifests {
        let manifest: Table = text
            .parse()
            .with_context(|| format!("{folder}/Cargo.toml"))?;
        let Some((_, allowed, way_out)) = ALLOWED.iter().find(|(name, ..)| *name == folder) else {
            complaints.push(Complaint::new(
                format!("{folder}/Cargo.toml"),
                0,
                "a new crate: say in xtask/src/tidy/directions.rs what it may depend on",
            ));
            continue;
        };
        for dependency in dependencies(&manifest) {
            let line = line_of(text, &dependency);
            let path = format!("{folder}/Cargo.toml");
            if let Some(ours) = dependency.strip_prefix("countersign-") {
                if !allowed.contains(&ours) {
                    complaints.push(Complaint::new(
                        path,
                        line,
                        format!("{folder} may not depend on {ours}; {way_out}"),
                    ));
                }
                continue;
            }
            let foreign = FOREIGN
                .iter()
                .find(|(name, banned, _)| *name == folder && banned.contains(&dependency.as_str()));
            if let Some((_, _, why)) = foreign {
                complaints.push(Complaint::new(
                    path,
                    line,
                    format!("{folder} may not depend on {dependency}; {why}"),
                ));
            }
        }
    }
    Ok(complaints)
}

/// Names of everything in `[dependencies]`, `[build-dependencies]` and their `target.*` kin. Tests may use what they like.
fn dependencies(manifest: &Table) -> Vec<String> {
    let mut names = Vec::new();
    let mut collect = |table: &Table| {
        for section in ["dependencies", "build-dependencies"] {
            if let Some(Value::Table(dependencies)) = table.get(section) {
                names.extend(dependencies.iter().map(|(key, value)| {
                    let renamed = value.get("package").and_then(Value::as_str);
                    renamed.unwrap_or(key).to_owned()
                }));
            }
        }
    };
    collect(manifest);
    if let Some(Value::Table(targets)) = manifest.get("target") {
        targets
            .values()
            .filter_map(Value::as_table)
            .for_each(collect);
    }
    names
}

fn line_of(text: &str, dependency: &str) -> usize {
    let position = text.lines().position(|line| {
        line.strip_prefix(dependency)
            .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            || line.contains(&format!("package = \"{dependency}\""))
    });
    position.map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(folder: &str, manifest: &str) -> Vec<String> {
        let manifests = BTreeMap::from([(folder, manifest)]);
        check(&manifests)
            .unwrap()
            .iter()
            .map(Complaint::to_string)
            .collect()
    }

    #[test]
    fn the_agent_may_not_see_the_hub() {
        assert_eq!(
            check_one(
                "agent",
                "[dependencies]\ncountersign-ledger.workspace = true\ncountersign-hub.workspace = true\n"
            ),
            [
                "agent/Cargo.toml:3: agent may not depend on hub; move the shared type to ledger or proto"
            ]
        );
    }

    #[test]
    fn a_renamed_dependency_does_not_slip_through() {
        assert_eq!(
            check_one(
                "hub",
                "[dependencies]\nx = { path = \"../agent\", package = \"countersign-agent\" }\n"
            ),
            [
                "hub/Cargo.toml:2: hub may not depend on agent; move the shared type to fleet, ledger or proto"
            ]
        );
    }

    #[test]
    fn the_ledger_does_no_io() {
        let manifest =
            "[dependencies]\nsha2 = \"1\"\n[target.'cfg(unix)'.dependencies]\ntokio = \"1\"\n";
        assert_eq!(
            check_one("ledger", manifest),
            ["ledger/Cargo.toml:4: ledger may not depend on tokio; ledger does no I/O"]
        );
    }

    #[test]
    fn tests_may_use_what_they_like() {
        assert_eq!(
            check_one("ledger", "[dev-dependencies]\ntokio = \"1\"\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_new_crate_needs_a_line_in_the_table() {
        assert!(
            check_one("novel", "[package]\nname = \"x\"\n")[0]
                .contains("say in xtask/src/tidy/directions.rs")
        );
    }
}
