//! What a trust root means, in plain words.

use countersign_ledger::trust::{Level, TrustRoot};

use crate::output::safe;

/// Who can deploy what, what a thief of each key could do, and what would raise each cluster's level.
pub(super) fn explain(root: &TrustRoot) -> String {
    let mut text = format!(
        "Fleet {}, trust root version {}.\n\nWho can deploy\n",
        safe(&root.fleet),
        root.version
    );
    for (name, cluster) in &root.clusters {
        text.push_str(&format!(
            "  {} ({}, level {}): {}\n",
            safe(name),
            safe(&cluster.environment),
            cluster.level,
            needs(root, &cluster.environment, cluster.level)
        ));
        if let Some(next) = next(root, cluster.level) {
            text.push_str(&format!("    To raise it: {next}.\n"));
        }
    }
    if !root.people.is_empty() {
        text.push_str("\nWhose commits count, at level authored and above\n");
    }
    for person in &root.people {
        let only = if person.forge {
            " (a forge: clean merges only)"
        } else {
            ""
        };
        text.push_str(&format!(
            "  {}{only}: {}\n",
            safe(&person.name),
            safe(&person.paths.join(" "))
        ));
    }
    text.push_str("\nWhat a thief could do\n");
    for (key, can) in thefts(root) {
        text.push_str(&format!("  with {key}: {can}\n"));
    }
    text
}

/// What a state needs to be applied.
fn needs(root: &TrustRoot, environment: &str, level: Level) -> String {
    let sealers = root.sealers.get(environment).map_or(0, Vec::len);
    let mut parts = vec![format!(
        "the hub with {} {} sealer key",
        if sealers == 1 {
            "the".to_owned()
        } else {
            format!("one of {sealers}")
        },
        safe(environment)
    )];
    if root.log.is_some() {
        parts.push("an entry in the log".into());
    }
    if level >= Level::Witnessed {
        parts.push("the witnesses' quorum".into());
    }
    if level >= Level::Authored {
        parts.push("a commit signed by a person who may change its paths".into());
    }
    if level >= Level::Reproduced {
        parts.push("a second renderer that got the same".into());
    }
    parts.join(", and ")
}

/// What is to be done for the next level.
fn next(root: &TrustRoot, level: Level) -> Option<String> {
    let (to, has, add) = match level {
        Level::Signed => (Level::Witnessed, root.witnesses.is_some(), "witness-policy"),
        Level::Witnessed => (Level::Authored, !root.people.is_empty(), "person"),
        Level::Authored => (
            Level::Reproduced,
            !root.reproducers.is_empty(),
            "reproducer",
        ),
        Level::Reproduced => return None,
    };
    let cluster = format!("`countersign trust add cluster NAME=ENV:{to}`");
    Some(if has {
        cluster
    } else {
        format!("`countersign trust add {add} …`, then {cluster}")
    })
}

/// Each kind of key, and what it gives away.
fn thefts(root: &TrustRoot) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let threshold = root.root.threshold;
    let (keys, alone) = (root.root.keys.len(), threshold == 1);
    all.push((
        format!("a root key ({threshold} of {keys} sign)"),
        if alone {
            "everything: name keys of their own in the next trust root. Add root keys and raise the threshold to end that"
                .to_owned()
        } else {
            format!("nothing alone; with {threshold} of them everything")
        },
    ));
    for environment in root.sealers.keys() {
        let clusters = root
            .clusters
            .values()
            .filter(|cluster| cluster.environment == *environment);
        let weak = clusters
            .filter(|cluster| cluster.level < Level::Authored)
            .count();
        let environment = safe(environment);
        let log = if root.log.is_some() {
            " if they also have the log's key or the hub; the log shows it"
        } else {
            "; no log shows it"
        };
        all.push((
            format!("a sealer key of {environment}"),
            if weak == 0 {
                "deploy nothing without a commit that a person signed".to_owned()
            } else {
                format!("deploy anything to clusters of {environment} below level authored ({weak}){log}. Not to other environments")
            },
        ));
    }
    if root.log.is_some() {
        let witnessed = if root.witnesses.is_some() {
            "clusters from level witnessed on refuse what the witnesses did not cosign"
        } else {
            "no witness would notice at once"
        };
        all.push((
            "the log's key".into(),
            format!("deploy nothing; show different logs to different readers: {witnessed}"),
        ));
    }
    for (has, key, can) in [
        (
            !root.agent_cas.is_empty(),
            "an agent CA key",
            "deploy nothing; enrol a false cluster, whose receipts would lie, or revoke a true one",
        ),
        (
            !root.overriders.is_empty(),
            "an overrider's key",
            "deploy nothing new; pause, break glass and permit deletions, each in the log",
        ),
        (
            !root.reproducers.is_empty(),
            "a second renderer's key",
            "deploy nothing alone; agree with a forged rendering",
        ),
        (
            !root.ci.is_empty(),
            "a CI key",
            "deploy nothing; put false infrastructure entries into the log",
        ),
        (
            !root.people.is_empty(),
            "a person's commit key",
            "deploy nothing alone; sign commits that change the person's paths, if the repository takes them",
        ),
    ] {
        if has {
            all.push((key.into(), can.into()));
        }
    }
    all
}
