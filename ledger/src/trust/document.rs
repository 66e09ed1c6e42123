//! The content of a trust root, version 1: here the document, in [`parts`] and [`level`] what stands in it; [`check`] says
//! whether it holds together, [`error`] why not.

mod check;
mod error;
mod level;
mod parts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::dsse::{self, Envelope};
use crate::json::{self, Limits};
use crate::key::Sign;
use crate::limits::TRUST_ROOT_BYTES_MAX;

pub use error::TrustRootError;
pub use level::{Level, NotALevel};
pub use parts::{
    ClusterTrust, LogTrust, NamedKey, Person, PersonKey, RoleKey, RootRole, SealerKey, WitnessTrust,
};

/// The format's name.
pub const FORMAT: &str = "https://countersign.dev/trust/v1";
/// The payload type of its envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.countersign.trust+json";

/// The name of a fleet's log: its origin, and the name of its key.
#[must_use]
pub fn log_name(fleet: &str) -> String {
    format!("countersign.dev/fleet/{fleet}")
}

/// The content of a trust root. A field that is not known is refused: it may forbid what we would allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustRoot {
    format: Format,
    /// From 1, each root one above the one before.
    pub version: u64,
    /// The fleet's name; final.
    pub fleet: String,
    /// When it was made (RFC 3339). For people; no check looks at it.
    pub issued: String,
    /// Who may make the next one.
    pub root: RootRole,
    /// The keys that may seal, by environment; no key serves two.
    pub sealers: BTreeMap<String, Vec<SealerKey>>,
    /// The clusters.
    pub clusters: BTreeMap<String, ClusterTrust>,
    /// SHA-256 of the DER of the CA certificate under which the hub's TLS stands.
    pub hub_ca: Digest,
    /// People whose commit signatures count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Person>,
    /// The log; none until it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogTrust>,
    /// Whose cosignatures a checkpoint needs from level `witnessed` on; none without witnesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<WitnessTrust>,
    /// The keys with which a hub says which clusters may speak, and which trust root is in effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agent_cas: Vec<RoleKey>,
    /// The people's keys that sign overrides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overriders: Vec<NamedKey>,
    /// The keys of second renderers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reproducers: Vec<NamedKey>,
    /// The keys with which CI signs what it did to the infrastructure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ci: Vec<NamedKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "https://countersign.dev/trust/v1")]
    V1,
}

impl TrustRoot {
    /// A trust root of version 1 without clusters, people or log.
    #[must_use]
    pub fn new(fleet: &str, issued: &str, root: RootRole, hub_ca: Digest) -> Self {
        Self {
            format: Format::V1,
            version: 1,
            fleet: fleet.to_owned(),
            issued: issued.to_owned(),
            root,
            sealers: BTreeMap::new(),
            clusters: BTreeMap::new(),
            hub_ca,
            people: Vec::new(),
            log: None,
            witnesses: None,
            agent_cas: Vec::new(),
            overriders: Vec::new(),
            reproducers: Vec::new(),
            ci: Vec::new(),
        }
    }

    /// Reads and checks the content; no signature is looked at.
    pub fn parse(payload: &[u8]) -> Result<Self, TrustRootError> {
        let mut value = json::parse(payload, &Limits::document(TRUST_ROOT_BYTES_MAX))?;
        // "log": null says the same as no log.
        if let Some(fields) = value.as_object_mut()
            && fields.get("log").is_some_and(serde_json::Value::is_null)
        {
            fields.remove("log");
        }
        let root: Self = serde_json::from_value(value)
            .map_err(|error| TrustRootError::Shape(error.to_string()))?;
        root.check()?;
        Ok(root)
    }

    /// The canonical bytes that are signed.
    pub fn payload(&self) -> Result<Vec<u8>, TrustRootError> {
        self.check()?;
        let value =
            serde_json::to_value(self).map_err(|error| TrustRootError::Shape(error.to_string()))?;
        Ok(json::canonical(&value)?)
    }

    /// The document: an envelope with the signatures of `signers`.
    pub fn sign(&self, signers: &[&dyn Sign]) -> Result<Envelope, TrustRootError> {
        Ok(dsse::sign(PAYLOAD_TYPE, &self.payload()?, signers)?)
    }
}
