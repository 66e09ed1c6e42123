//! Why the content of a trust root is refused.

use super::Level;
use crate::json::JsonError;
use crate::key::{PublicKey, SignFault};
use crate::name::BadName;
use crate::tlog::note::VkeyError;
use crate::tlog::policy::PolicyError;

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
