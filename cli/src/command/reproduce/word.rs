//! What a second renderer says: signed, handed in at the hub's door, or written into a folder.

use std::path::PathBuf;

use countersign_fleet::api::{SALTS_SECONDS_MAX, SALTS_TYPE, SaltsAnswer, SaltsRequest};
use countersign_fleet::reproduce::State;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::PAYLOAD_TYPE;
use countersign_ledger::statement::Reproduction;
use countersign_ledger::trust::Role;
use countersign_signer::Signer;
use jiff::{SignedDuration, Timestamp};

use super::ReproduceArgs;
use super::feed::Sealed;
use super::salts::Salts;
use crate::entry::Door;
use crate::exit::Failure;
use crate::key;
use crate::log::Trust;

/// Signs and hands in.
pub struct Mouth {
    signer: Option<Box<dyn Signer>>,
    door: Option<Door>,
    out: Option<PathBuf>,
}

impl Mouth {
    /// What the arguments name. A key that the trust root does not list is a mistake at once, not with the first word.
    pub fn open(args: &ReproduceArgs, trust: &Trust) -> Result<Self, Failure> {
        let signer = match &args.key {
            None => None,
            Some(reference) => {
                let signer = key::load(reference)?;
                let listed = trust.roots.newest().holders(Role::Reproducer);
                if !listed.contains(&signer.public()) {
                    return Err(Failure::Mistake(format!(
                        "--key {reference}: the trust root (version {}) lists no second renderer with this key",
                        trust.roots.newest().version()
                    )));
                }
                Some(signer)
            }
        };
        let door = match &args.hub {
            None => None,
            Some(hub) => {
                let root = trust.roots.newest().clone();
                Some(Door::under(root, hub, args.ca.as_deref())?)
            }
        };
        if let Some(folder) = &args.out {
            std::fs::create_dir_all(folder).map_err(|e| Failure::file(folder, &e))?;
        }
        Ok(Self {
            signer,
            door,
            out: args.out.clone(),
        })
    }

    /// Salts of the Secrets in a state, if the hub gives them.
    pub fn salts(&self, sealed: &Sealed, content: &State) -> Result<Salts, Failure> {
        let (Some(signer), Some(door)) = (&self.signer, &self.door) else {
            return Ok(Salts::default());
        };
        let ask = |commitments: &[Digest]| -> Result<SaltsAnswer, Failure> {
            let asked = SaltsRequest {
                fleet: sealed.desired.fleet.clone(),
                cluster: sealed.desired.cluster.clone(),
                until: Timestamp::now() + SignedDuration::from_secs(SALTS_SECONDS_MAX / 2),
                commitments: commitments.to_vec(),
            };
            let payload =
                serde_json::to_vec(&asked).map_err(|error| Failure::Fault(error.to_string()))?;
            let envelope = key::sign(signer.as_ref(), SALTS_TYPE, &payload)?;
            let request = door
                .post("log/salts")?
                .header("content-type", "application/json")
                .body(envelope.bytes().to_vec());
            let answer = door.send(request)?;
            serde_json::from_slice(&answer)
                .map_err(|error| Failure::Fault(format!("the hub's salts: {error}")))
        };
        match Salts::asked(content, ask) {
            // Without them the Secrets stay open; what else there is to say is said.
            Err(Failure::Negative(why)) => {
                eprintln!("countersign: {why}");
                Ok(Salts::default())
            }
            other => other,
        }
    }

    /// Says it; gives its place in the log, if it was handed in.
    pub fn say(&self, word: &Reproduction) -> Result<Option<u64>, Failure> {
        let Some(signer) = &self.signer else {
            return Ok(None);
        };
        let payload = word
            .payload()
            .map_err(|error| Failure::Fault(error.to_string()))?;
        let envelope = key::sign(signer.as_ref(), PAYLOAD_TYPE, &payload)?;
        if let Some(folder) = &self.out {
            let path = folder.join(format!("{}-{}.json", word.cluster, word.generation));
            std::fs::write(&path, envelope.bytes()).map_err(|e| Failure::file(&path, &e))?;
        }
        match &self.door {
            None => Ok(None),
            Some(door) => Ok(Some(door.submit(&envelope, &[])?.index)),
        }
    }
}
