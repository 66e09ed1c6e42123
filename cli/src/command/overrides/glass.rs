//! `countersign break-glass`: one state of one cluster, before witnesses have seen it.

use std::io::{BufRead as _, IsTerminal as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use countersign_fleet::api::ProvenEntry;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Desired, Statement};
use countersign_ledger::trust::{Level, Role, VerifiedRoot};

use super::{WordArgs, say_through};
use crate::entry::Door;
use crate::exit::{CODES, Failure};
use crate::hub::part;
use crate::key::KEY_HELP;
use crate::output::safe;

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign break-glass --cluster metal-fra --reason 'witnesses down' --hub https://hub.example:8443 --key ada.pem
  countersign break-glass --cluster metal-fra --state 9f86d08… --reason '…' --hub https://hub.example:8443 --key ada.pem

For levels that ask for witnesses, while too few of them answer. The cluster takes this one state,
with all its other checks: signed, in the log, for this cluster, in its order. The next one waits
for witnesses again.

Without --state it is the newest one: what it says is shown, and you are asked. Without a terminal,
name it by --state.

{KEY_HELP}

{CODES}"))]
pub struct GlassArgs {
    /// The cluster.
    #[arg(long, value_name = "CLUSTER")]
    cluster: String,
    /// Digest of the state's envelope; the newest state's by default.
    #[arg(long, value_name = "DIGEST")]
    state: Option<Digest>,
    #[command(flatten)]
    word: WordArgs,
}

/// Runs it.
pub fn break_glass(args: &GlassArgs) -> Result<(), Failure> {
    let door = Door::open(&args.word.door)?;
    let cluster = part("cluster", &args.cluster)?;
    let trust = door.root.cluster(&cluster);
    let trust = trust.map_err(|refusal| Failure::Mistake(safe(&refusal.to_string())))?;
    if trust.level < Level::Witnessed {
        return Err(Failure::Mistake(format!(
            "--cluster: {cluster} is at level {}, which asks for no witnesses",
            trust.level
        )));
    }
    let state = match args.state {
        Some(state) => state,
        None => {
            let newest = newest(&door, &cluster)?;
            if !agreed(&told(&newest))? {
                return Err(Failure::Negative("nothing was signed".to_owned()));
            }
            newest.digest
        }
    };
    let kind = OverrideKind::BreakGlass;
    say_through(
        &door,
        &args.word,
        kind,
        Some(cluster),
        None,
        state.to_string(),
    )
}

/// The newest state, as a person must know it before letting it through.
#[derive(Debug, PartialEq, Eq)]
struct Newest {
    digest: Digest,
    desired: Desired,
    index: u64,
}

fn newest(door: &Door, cluster: &str) -> Result<Newest, Failure> {
    let answer = door.send(door.get(&format!("log/newest/{cluster}"))?)?;
    let odd = |problem: &dyn std::fmt::Display| {
        Failure::Negative(safe(&format!("the hub's newest state: {problem}")))
    };
    let answer: ProvenEntry = serde_json::from_slice(&answer).map_err(|e| odd(&e))?;
    let bytes = STANDARD.decode(&answer.envelope).map_err(|e| odd(&e))?;
    let envelope = Envelope::parse(&bytes, &Limits::entry()).map_err(|e| odd(&e))?;
    let entered = door.check(answer.proof.as_bytes(), &envelope.leaf_hash())?;
    let desired = read(&door.root, cluster, &envelope).map_err(|problem| odd(&problem))?;
    Ok(Newest {
        digest: envelope.digest(),
        desired,
        index: entered.index,
    })
}

/// Whoever runs the hub must not be the one who says what is let through: the state bears a sealer's key.
fn read(root: &VerifiedRoot, cluster: &str, envelope: &Envelope) -> Result<Desired, String> {
    let statement = Statement::parse(envelope.payload()).map_err(|e| e.to_string())?;
    let Statement::Desired(desired) = statement else {
        return Err("is another statement".to_owned());
    };
    if desired.fleet != root.fleet() || desired.cluster != cluster {
        return Err("is of another cluster".to_owned());
    }
    let trust = root.cluster(cluster).map_err(|e| e.to_string())?;
    let sealers = root.holders(Role::Sealer(&trust.environment));
    if envelope.signed_by(&sealers, &RingVerifier).is_empty() {
        return Err("bears no signature of a sealer".to_owned());
    }
    Ok(desired)
}

fn told(newest: &Newest) -> String {
    let Newest {
        digest,
        desired,
        index,
    } = newest;
    safe(&format!(
        "cluster {}: generation {} of commit {}, entry {index} of the log, state {digest}",
        desired.cluster, desired.generation, desired.commit
    ))
}

/// Asks at the terminal.
fn agreed(what: &str) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Mistake(format!(
            "{what}: to let it through, name it by --state"
        )));
    }
    eprintln!("{what}\nlet it through before witnesses have seen it? [y/N]");
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    read.map_err(|error| Failure::Fault(format!("terminal: {error}")))?;
    Ok(matches!(line.trim(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
    use countersign_ledger::key::FileKey;
    use countersign_ledger::statement::Admission;
    use countersign_ledger::trust::ClusterTrust;
    use countersign_ledger::trust::init::{FirstRoot, Material};
    use ring::rand::SystemRandom;

    use super::*;

    fn material() -> Material {
        let trust = ClusterTrust {
            environment: "prod".into(),
            level: Level::Signed,
        };
        let clusters = [("one", trust.clone()), ("two", trust)];
        FirstRoot {
            fleet: "acme".into(),
            issued: "2026-01-01T00:00:00Z".into(),
            owner: "owner".into(),
            hub_ca: Digest::of(b"ca"),
            clusters: BTreeMap::from(clusters.map(|(name, trust)| (name.to_owned(), trust))),
        }
        .make(&SystemRandom::new())
        .unwrap()
    }

    fn desired(cluster: &str) -> Desired {
        Desired {
            manifest: Digest::of(b"m"),
            fleet: "acme".into(),
            cluster: cluster.into(),
            environment: "prod".into(),
            generation: 7,
            previous: Some(Digest::of(b"six")),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            source: Digest::of(b"source"),
            renderer: "r1".into(),
            admission: Admission::default(),
            ring: String::new(),
            trust_root: 1,
            permits: Vec::new(),
        }
    }

    #[test]
    fn only_what_a_sealer_of_this_cluster_signed_is_shown() {
        let material = material();
        let root = VerifiedRoot::parse(material.trust.bytes(), &RingVerifier).unwrap();
        let sealer = FileKey::from_pem(&material.sealer_keys["prod"]).unwrap();
        let log = FileKey::from_pem(material.log_key.as_ref().unwrap()).unwrap();
        let sign = |desired: &Desired, key: &FileKey| {
            dsse::sign(PAYLOAD_TYPE, &desired.payload().unwrap(), &[key]).unwrap()
        };
        let good = desired("one");
        assert_eq!(read(&root, "one", &sign(&good, &sealer)).unwrap(), good);
        assert!(read(&root, "two", &sign(&good, &sealer)).is_err());
        assert!(read(&root, "one", &sign(&good, &log)).is_err());
        let other = Desired {
            fleet: "evil".into(),
            ..good
        };
        assert!(read(&root, "one", &sign(&other, &sealer)).is_err());
    }

    #[test]
    fn what_is_let_through_is_named_whole() {
        let newest = Newest {
            digest: Digest::of(b"seven"),
            desired: desired("one"),
            index: 12,
        };
        let text = told(&newest);
        for part in [
            "one",
            "generation 7",
            &newest.desired.commit,
            "entry 12",
            &newest.digest.to_string(),
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
