//! What stands in a trust root: keys, people, clusters, log and witnesses.

use serde::{Deserialize, Serialize};

use super::Level;
use crate::key::PublicKey;
use crate::time::Time;

/// Who may make the next trust root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootRole {
    /// The keys.
    pub keys: Vec<NamedKey>,
    /// How many of them must sign.
    pub threshold: usize,
}

/// A key and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedKey {
    /// The key.
    pub key: PublicKey,
    /// Whose it is, for people to read.
    pub name: String,
}

/// A key that may seal.
pub type SealerKey = RoleKey;

/// A key of a role whose holder is a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleKey {
    /// The key.
    pub key: PublicKey,
}

/// Whose cosignatures a checkpoint needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessTrust {
    /// A witness policy (C2SP `tlog-policy`): `witness`, `group` and `quorum` lines.
    pub policy: String,
}

/// What the trust root says of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTrust {
    /// Its environment: whose sealer keys count.
    pub environment: String,
    /// The least that its agent accepts.
    pub level: Level,
}

/// A person, or a forge, whose commit signatures count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name, unique in the trust root.
    pub name: String,
    /// The keys.
    pub keys: Vec<PersonKey>,
    /// Paths that the person may change; a path that ends in `/` is a folder, `/` is everything.
    pub paths: Vec<String>,
    /// It is a forge: its key counts for clean merges of branches that people signed, see [`crate::commit`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forge: bool,
}

/// A key that signs commits, and from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PersonKey {
    /// An OpenSSH line or an armored OpenPGP key.
    pub key: String,
    /// Not valid before this time; always, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_after: Option<Time>,
    /// Not valid from this time on; never ends, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_before: Option<Time>,
}

/// The log that entries must stand in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogTrust {
    /// The log's key in the text form of signed notes; its name is `countersign.dev/fleet/<fleet>`.
    pub vkey: String,
    /// Where its files are served, without a slash at the end; a hint for people and auditors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
