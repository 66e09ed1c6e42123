//! What a cluster's answer attests, once all of it is checked. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_fleet::api::{ProvenEntry, VerifyAnswer};
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::{PublicKey, RingVerifier};
use countersign_ledger::statement::{Receipt, Statement};
use countersign_ledger::time::Time;
use countersign_ledger::trust::{Role, VerifiedRoot};
use serde::Serialize;

use crate::entry::in_log;

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Word {
    pub(super) generation: u64,
    /// Digest of the envelope of what it runs; none before the first.
    pub(super) state: Option<Digest>,
    pub(super) manifest: Option<Digest>,
    pub(super) apps: u64,
    pub(super) failed: u64,
    pub(super) health: String,
    #[serde(serialize_with = "text")]
    pub(super) said: Time,
    /// Its place in the log.
    pub(super) index: u64,
    pub(super) seq: u64,
    /// The key is enrolled in the log; false where the fleet enrols nobody.
    pub(super) enrolled: bool,
    /// The override under which it runs what it runs, if witnesses had not seen that.
    pub(super) break_glass: Option<u64>,
}

fn text<S: serde::Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

impl Word {
    /// What a person should know beside the numbers.
    pub(super) fn note(&self) -> String {
        let glass = self.break_glass.map(|word| format!("break-glass {word}"));
        let unknown = (!self.enrolled).then(|| "key not enrolled".to_owned());
        let notes: Vec<String> = glass.into_iter().chain(unknown).collect();
        notes.join(", ")
    }
}

/// An entry whose inclusion was checked.
struct Entry {
    index: u64,
    envelope: Envelope,
    statement: Statement,
}

/// Checks an answer: the receipt is in the log, of this cluster, with this nonce, and signed by the key that is enrolled there.
pub(super) fn read(
    root: &VerifiedRoot,
    cluster: &str,
    nonce: &str,
    answer: &VerifyAnswer,
) -> Result<Word, String> {
    let receipt = answer.receipt.as_ref().ok_or("is not there")?;
    let Entry {
        index,
        envelope,
        statement,
    } = entry(root, receipt)?;
    let Statement::Receipt(said) = statement else {
        return Err("is no receipt".to_owned());
    };
    if said.fleet != root.fleet() || said.cluster != cluster {
        return Err("is of another cluster".to_owned());
    }
    if said.nonce != nonce {
        return Err("is to another question".to_owned());
    }
    let enrolled = !root.holders(Role::AgentCa).is_empty();
    if enrolled {
        let enrolment = answer.enrolment.as_ref().ok_or("has no enrolment")?;
        let key = enrolled_key(root, cluster, index, enrolment)?;
        if envelope.signed_by([&key], &RingVerifier).is_empty() {
            return Err("bears no signature of the enrolled key".to_owned());
        }
    }
    Ok(word(&said, index, enrolled))
}

fn word(said: &Receipt, index: u64, enrolled: bool) -> Word {
    let counts = &said.apps;
    Word {
        generation: said.generation,
        state: said.desired,
        manifest: said.manifest,
        apps: counts.applied + counts.unchanged + counts.pruned + counts.failed,
        failed: counts.failed,
        health: format!("{:?}", said.health),
        said: said.ended,
        index,
        seq: said.seq,
        enrolled,
        break_glass: said.break_glass,
    }
}

/// The key that may speak for the cluster, by an enrolment that stands before the receipt.
fn enrolled_key(
    root: &VerifiedRoot,
    cluster: &str,
    before: u64,
    enrolment: &ProvenEntry,
) -> Result<PublicKey, String> {
    let Entry {
        index,
        envelope,
        statement,
    } = entry(root, enrolment)?;
    let Statement::Enrolment(said) = statement else {
        return Err("has an enrolment that is none".to_owned());
    };
    if said.fleet != root.fleet() || said.cluster != cluster {
        return Err("has an enrolment of another cluster".to_owned());
    }
    let cas = root.holders(Role::AgentCa);
    if envelope.signed_by(&cas, &RingVerifier).is_empty() {
        return Err("has an enrolment without the agent CA's signature".to_owned());
    }
    if index >= before {
        return Err("stands before the enrolment".to_owned());
    }
    Ok(said.receipt_key)
}

fn entry(root: &VerifiedRoot, entry: &ProvenEntry) -> Result<Entry, String> {
    let bytes = STANDARD
        .decode(&entry.envelope)
        .map_err(|error| error.to_string())?;
    let envelope = Envelope::parse(&bytes, &Limits::entry()).map_err(|error| error.to_string())?;
    let proven = in_log(root, entry.proof.as_bytes(), &envelope.leaf_hash());
    let proven = proven.map_err(|failure| failure.to_string())?;
    let statement = Statement::parse(envelope.payload()).map_err(|error| error.to_string())?;
    Ok(Entry {
        index: proven.index,
        envelope,
        statement,
    })
}

#[cfg(test)]
mod tests;
