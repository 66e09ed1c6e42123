//! The hub's door to the log, from outside: a statement goes in, a proof that it is in the log comes back and is checked.
//!
//! The one way in for people, CI and second renderers. [`http`] asks, [`Door`] believes nothing that isn't proven.

mod http;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::Envelope;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::merkle;
use countersign_ledger::tlog::proof::ProofFile;
use countersign_ledger::trust::VerifiedRoot;
use reqwest::Url;
use reqwest::blocking::{Client, RequestBuilder};
use serde::Serialize;

use crate::exit::Failure;
use crate::log::{Known, Signed};
use crate::output::safe;

pub use http::{below, client, send};

/// Content type of an entry with blobs.
const WITH_BLOBS: &str = "application/vnd.countersign.entry+json";

/// How the hub's public address is reached.
#[derive(Debug, Clone, Args)]
pub struct DoorArgs {
    /// The hub's address for agents: https://HOST:PORT.
    #[arg(long, env = "COUNTERSIGN_HUB_URL", value_name = "URL")]
    pub hub: Url,
    /// Certificates (PEM) to trust for it, such as hub-ca.crt, instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The fleet's trust root: its log's key counts.
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    pub trust: PathBuf,
}

/// A door that is open.
pub struct Door {
    client: Client,
    hub: Url,
    /// The trust root that was named.
    pub root: VerifiedRoot,
}

/// An entry that is in the log.
#[derive(Debug)]
pub struct Entered {
    /// Its place.
    pub index: u64,
    /// Its proof, `c2sp.org/tlog-proof`.
    pub proof: ProofFile,
}

#[derive(Serialize)]
struct WithBlobs {
    envelope: String,
    blobs: Vec<String>,
}

impl Door {
    /// Reads the trust root and the certificates; nothing is sent yet.
    pub fn open(args: &DoorArgs) -> Result<Self, Failure> {
        Self::under(trust_root(&args.trust)?, &args.hub, args.ca.as_deref())
    }

    /// The door of a hub whose log signs as `root` says; what witnesses of the root cosigned must be right too.
    pub fn under(root: VerifiedRoot, hub: &Url, ca: Option<&Path>) -> Result<Self, Failure> {
        known(&root)?;
        Ok(Self {
            client: client(hub, ca)?,
            hub: hub.clone(),
            root,
        })
    }

    /// Hands in an envelope and the blobs that it names.
    pub fn submit(&self, envelope: &Envelope, blobs: &[Vec<u8>]) -> Result<Entered, Failure> {
        let request = self.client.post(self.url("log/entries")?);
        let request = if blobs.is_empty() {
            request
                .header("content-type", "application/json")
                .body(envelope.bytes().to_vec())
        } else {
            let body = WithBlobs {
                envelope: STANDARD.encode(envelope.bytes()),
                blobs: blobs.iter().map(|blob| STANDARD.encode(blob)).collect(),
            };
            let body =
                serde_json::to_vec(&body).map_err(|e| Failure::Fault(format!("request: {e}")))?;
            request.header("content-type", WITH_BLOBS).body(body)
        };
        let proof = self.send(request)?;
        self.check(&proof, &envelope.leaf_hash())
    }

    /// A URL below the hub's.
    pub fn url(&self, path: &str) -> Result<Url, Failure> {
        below(&self.hub, path)
    }

    /// A request that this door's client makes.
    pub fn post(&self, path: &str) -> Result<RequestBuilder, Failure> {
        Ok(self.client.post(self.url(path)?))
    }

    /// The same without a body.
    pub fn get(&self, path: &str) -> Result<RequestBuilder, Failure> {
        Ok(self.client.get(self.url(path)?))
    }

    /// Sends, and reads what a success brought.
    pub fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        send(&self.hub, request)
    }

    /// The entry with this leaf hash is in the log that the trust root names.
    pub fn check(&self, proof: &[u8], leaf: &Digest) -> Result<Entered, Failure> {
        in_log(&self.root, proof, leaf)
    }
}

fn known(root: &VerifiedRoot) -> Result<Known, Failure> {
    Known::of_root(root).ok_or_else(|| {
        let fleet = safe(root.fleet());
        Failure::Mistake(format!("the trust root of {fleet} names no log"))
    })
}

/// The entry with this leaf hash is in the log that `root` names; what witnesses of the root cosigned must be right too.
pub fn in_log(root: &VerifiedRoot, proof: &[u8], leaf: &Digest) -> Result<Entered, Failure> {
    let refused =
        |why: &dyn std::fmt::Display| Failure::Negative(safe(&format!("the hub's proof: {why}")));
    let proof = ProofFile::parse(proof).map_err(|e| refused(&e))?;
    let signed = Signed::read(&proof.checkpoint.bytes(), &known(root)?).map_err(|e| refused(&e))?;
    let (size, root) = (signed.checkpoint.size, &signed.checkpoint.root);
    merkle::verify_inclusion(proof.index, size, leaf, &proof.hashes, root)
        .map_err(|e| refused(&e))?;
    Ok(Entered {
        index: proof.index,
        proof,
    })
}

/// Reads a trust root.
pub fn trust_root(file: &Path) -> Result<VerifiedRoot, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
    VerifiedRoot::parse(&bytes, &RingVerifier).map_err(|refusal| {
        let text = format!("{}: {refusal} ({})", file.display(), refusal.code());
        Failure::Negative(safe(&text))
    })
}

#[cfg(test)]
mod tests;
