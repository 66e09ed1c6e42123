//! Permits: acts that need a person's word, stored by the hub, carried in the signed statement and shown (DECISIONS 15).
pub use countersign_ledger::deletion::deletion_digest;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person allowed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Permit {
    /// What is allowed.
    pub allows: Allows,
    /// Who allowed it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schemars(with = "String")]
    pub issued: Timestamp,
    /// Until when it counts.
    #[schemars(with = "String")]
    pub until: Timestamp,
}

/// What a permit allows; nothing but exactly this.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "act", deny_unknown_fields)]
pub enum Allows {
    /// Deleting exactly the objects that the digest names.
    #[serde(rename_all = "camelCase")]
    Deletion {
        /// The app.
        app: String,
        /// [`deletion_digest`] of cluster, app and identities, 64 hexadecimal digits.
        manifest: String,
    },
    /// A tracked ref that moves to a commit which is no descendant.
    #[serde(rename_all = "camelCase")]
    Rewrite {
        /// The ref.
        r#ref: String,
        /// The commit, in full.
        commit: String,
    },
}

impl Permit {
    /// Whether it counts at `now`.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.issued <= now && now < self.until
    }
}
