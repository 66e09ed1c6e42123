//! The content of a trust root, version 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::dsse::{self, Envelope};
use crate::json::{self, JsonError, Limits};
use crate::key::{PublicKey, Sign, SignFault};
use crate::limits::TRUST_ROOT_BYTES_MAX;
use crate::name::{self, BadName};
use crate::time::Time;
use crate::tlog::note::{KeyKind, Vkey, VkeyError};
use crate::tlog::policy::{Policy, PolicyError};

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

/// How sure an agent must be before it applies a state; each level holds all that the ones before it do.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Signed for this cluster and in the log.
    #[default]
    Signed,
    /// The log is witnessed.
    Witnessed,
    /// The commit is signed by an allowed person.
    Authored,
    /// A second renderer agrees.
    Reproduced,
}

impl Level {
    /// All levels, the least first.
    pub const ALL: [Self; 4] = [
        Self::Signed,
        Self::Witnessed,
        Self::Authored,
        Self::Reproduced,
    ];

    /// The level's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Witnessed => "witnessed",
            Self::Authored => "authored",
            Self::Reproduced => "reproduced",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be signed, witnessed, authored or reproduced")]
pub struct NotALevel;

impl std::str::FromStr for Level {
    type Err = NotALevel;

    fn from_str(text: &str) -> Result<Self, NotALevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or(NotALevel)
    }
}

/// Why the content of a trust root is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustRootError {
    /// Not JSON as we take it.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A field is missing, unknown or of another type.
    #[error("{0}")]
    Shape(String),
    /// Versions begin at 1.
    #[error("version: begins at 1")]
    Version,
    /// A threshold that nobody or everybody meets.
    #[error("root.threshold: must be 1 to {keys}, the number of root keys, is {got}")]
    Threshold {
        /// Number of keys.
        keys: usize,
        /// The threshold.
        got: usize,
    },
    /// One key in two places.
    #[error("key {key} stands twice: {first} and {second}")]
    KeyTwice {
        /// The key.
        key: PublicKey,
        /// Its first place.
        first: String,
        /// Its second place.
        second: String,
    },
    /// A name that is none.
    #[error("{0}")]
    Name(#[from] BadName),
    /// An environment without a key to seal for it.
    #[error("environment {0:?} has no sealer key")]
    NoSealer(String),
    /// Two people of one name.
    #[error("two people are named {0:?}")]
    PersonTwice(String),
    /// The keys of a person or the log are empty.
    #[error("{0} has no key")]
    NoKey(String),
    /// The log's key is none.
    #[error("log.vkey: {0}")]
    LogKey(VkeyError),
    /// The log's key is a witness's.
    #[error("log.vkey: must be of kind 0x01 (Ed25519)")]
    LogKeyKind,
    /// The log's key has another name than this fleet's log.
    #[error("log.vkey: must be named {want:?}, is {got:?}")]
    LogName {
        /// The name of this fleet's log.
        want: String,
        /// The key's name.
        got: String,
    },
    /// The log's address is none.
    #[error("log.url: must begin with http:// or https:// and not end in a slash")]
    LogUrl,
    /// The witness policy is none.
    #[error("witnesses.policy: {0}")]
    Witnesses(PolicyError),
    /// The witness policy is for another log.
    #[error("witnesses.policy: its log is not the one of this trust root")]
    WitnessesOtherLog,
    /// A cluster's level asks for something that the trust root lacks.
    #[error("cluster {cluster:?}: level {level} needs {needs}")]
    Level {
        /// The cluster.
        cluster: String,
        /// Its level.
        level: Level,
        /// What is lacking.
        needs: &'static str,
    },
    /// A person's key that never counts.
    #[error("person {0:?}: a key's validBefore is not after its validAfter")]
    KeyNeverValid(String),
    /// One key of two people, or twice of one.
    #[error("person {0:?}: a key stands twice")]
    PersonKeyTwice(String),
    /// A signature could not be made.
    #[error("{0}")]
    Sign(#[from] SignFault),
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

    /// Checks all that a reader relies on.
    pub fn check(&self) -> Result<(), TrustRootError> {
        if self.version == 0 {
            return Err(TrustRootError::Version);
        }
        name::check("fleet", &self.fleet)?;
        let keys = self.root.keys.len();
        if self.root.threshold == 0 || self.root.threshold > keys {
            return Err(TrustRootError::Threshold {
                keys,
                got: self.root.threshold,
            });
        }
        let log = self.log_key()?;
        let witnesses = self.witness_policy()?;
        self.check_keys(log.as_ref(), witnesses.as_ref())?;
        for (cluster, trust) in &self.clusters {
            name::check("cluster", cluster)?;
            if self
                .sealers
                .get(&trust.environment)
                .is_none_or(Vec::is_empty)
            {
                return Err(TrustRootError::NoSealer(trust.environment.clone()));
            }
            self.check_level(cluster, trust.level)?;
        }
        self.check_people()
    }

    /// The log's key; none without a log.
    pub fn log_key(&self) -> Result<Option<Vkey>, TrustRootError> {
        let Some(log) = &self.log else {
            return Ok(None);
        };
        if log.vkey.is_empty() {
            return Err(TrustRootError::NoKey("the log".into()));
        }
        let vkey: Vkey = log.vkey.parse().map_err(TrustRootError::LogKey)?;
        if vkey.kind() != KeyKind::Ed25519 {
            return Err(TrustRootError::LogKeyKind);
        }
        let want = log_name(&self.fleet);
        if vkey.name() != want {
            let got = vkey.name().to_owned();
            return Err(TrustRootError::LogName { want, got });
        }
        let is_url = |url: &String| {
            let rest = url
                .strip_prefix("https://")
                .or_else(|| url.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.ends_with('/'))
        };
        if !log.url.as_ref().is_none_or(is_url) {
            return Err(TrustRootError::LogUrl);
        }
        Ok(Some(vkey))
    }

    /// Whose cosignatures a checkpoint needs; none without witnesses.
    pub fn witness_policy(&self) -> Result<Option<Policy>, TrustRootError> {
        let Some(witnesses) = &self.witnesses else {
            return Ok(None);
        };
        let policy =
            Policy::parse(witnesses.policy.as_bytes()).map_err(TrustRootError::Witnesses)?;
        let log = self.log_key()?;
        if policy
            .logs()
            .iter()
            .any(|named| Some(&named.vkey) != log.as_ref())
        {
            return Err(TrustRootError::WitnessesOtherLog);
        }
        Ok(Some(policy))
    }

    /// A level needs what its checks look at.
    fn check_level(&self, cluster: &str, level: Level) -> Result<(), TrustRootError> {
        let needs: [(Level, bool, &'static str); 4] = [
            (Level::Witnessed, self.log.is_some(), "a log"),
            (
                Level::Witnessed,
                self.witnesses.is_some(),
                "a witness policy",
            ),
            (Level::Authored, !self.people.is_empty(), "people"),
            (
                Level::Reproduced,
                !self.reproducers.is_empty(),
                "a second renderer",
            ),
        ];
        for (from, has, needs) in needs {
            if level >= from && !has {
                let cluster = cluster.to_owned();
                return Err(TrustRootError::Level {
                    cluster,
                    level,
                    needs,
                });
            }
        }
        Ok(())
    }

    fn check_people(&self) -> Result<(), TrustRootError> {
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for person in &self.people {
            if !names.insert(&person.name) {
                return Err(TrustRootError::PersonTwice(person.name.clone()));
            }
            if person.keys.is_empty() {
                return Err(TrustRootError::NoKey(format!("person {:?}", person.name)));
            }
            for key in &person.keys {
                if key.key.is_empty() {
                    return Err(TrustRootError::NoKey(format!("person {:?}", person.name)));
                }
                if !keys.insert(&key.key) {
                    return Err(TrustRootError::PersonKeyTwice(person.name.clone()));
                }
                let window = key.valid_after.zip(key.valid_before);
                if window.is_some_and(|(after, before)| after >= before) {
                    return Err(TrustRootError::KeyNeverValid(person.name.clone()));
                }
            }
        }
        Ok(())
    }

    /// A key has one role: who steals an online key must not hold a root key, nor seal for a second environment; the log's
    /// key never authorises.
    fn check_keys(
        &self,
        log: Option<&Vkey>,
        witnesses: Option<&Policy>,
    ) -> Result<(), TrustRootError> {
        let mut places: BTreeMap<PublicKey, String> = BTreeMap::new();
        let mut place = |key: PublicKey, second: String| match places.get(&key) {
            Some(first) => Err(TrustRootError::KeyTwice {
                key,
                first: first.clone(),
                second,
            }),
            None => {
                places.insert(key, second);
                Ok(())
            }
        };
        for root in &self.root.keys {
            place(root.key, format!("root key of {:?}", root.name))?;
        }
        for (environment, sealers) in &self.sealers {
            name::check("environment", environment)?;
            if sealers.is_empty() {
                return Err(TrustRootError::NoSealer(environment.clone()));
            }
            for sealer in sealers {
                place(sealer.key, format!("sealer key of {environment:?}"))?;
            }
        }
        if let Some(log) = log {
            place(*log.key(), "key of the log".into())?;
        }
        for witness in witnesses.into_iter().flat_map(Policy::witnesses) {
            place(
                *witness.vkey.key(),
                format!("key of witness {:?}", witness.name),
            )?;
        }
        for ca in &self.agent_cas {
            place(ca.key, "key of the agent CA".into())?;
        }
        for (role, keys) in [
            ("override key", &self.overriders),
            ("key of second renderer", &self.reproducers),
            ("CI key", &self.ci),
        ] {
            for named in keys {
                place(named.key, format!("{role} of {:?}", named.name))?;
            }
        }
        Ok(())
    }
}
