//! Permits: acts that need a person's word, stored by the hub, carried in the signed statement and shown (DECISIONS 15).
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
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

/// Names exactly what would be deleted of an app on a cluster, whatever else a commit changes: SHA-256 of the canonical
/// JSON `{"app","cluster","format","ids":[{"group","kind","name","namespace"}…]}`, identities sorted.
pub fn deletion_digest<'a>(
    cluster: &str,
    app: &str,
    ids: impl IntoIterator<Item = &'a ObjectId>,
) -> Digest {
    let mut ids: Vec<&ObjectId> = ids.into_iter().collect();
    ids.sort();
    ids.dedup();
    let mut bytes = Vec::new();
    let text = |out: &mut Vec<u8>, text: &str| countersign_ledger::json::write_string(text, out);
    bytes.extend_from_slice(b"{\"app\":");
    text(&mut bytes, app);
    bytes.extend_from_slice(b",\"cluster\":");
    text(&mut bytes, cluster);
    bytes.extend_from_slice(b",\"format\":\"https://countersign.dev/deletion/v1\",\"ids\":[");
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        id.write(&mut bytes);
    }
    bytes.extend_from_slice(b"]}");
    Digest::of(&bytes)
}
