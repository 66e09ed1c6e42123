//! What does not hold, by a code that keeps its meaning.

use serde::{Deserialize, Serialize};

/// How much it weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Nothing is wrong with the record; an auditor wants to know of it.
    Notice,
    /// The record contradicts itself or its trust root.
    Broken,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $weight:ident;)+) => {
        /// What does not hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// How much it weighs.
            pub const fn weight(self) -> Weight {
                match self { $(Self::$name => Weight::$weight,)+ }
            }

            /// What it means, for documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

codes! {
    /// An entry is no envelope around a statement.
    EntryMalformed = "ENTRY_MALFORMED", Broken;
    /// An entry is a statement of a kind that is not known here: a newer program may know it.
    StatementUnknown = "STATEMENT_UNKNOWN", Broken;
    /// An entry is of another fleet.
    FleetOther = "FLEET_OTHER", Broken;
    /// An entry bears no valid signature of any key that is known.
    KeyUnknown = "KEY_UNKNOWN", Broken;
    /// An entry is signed by a known key that has another role.
    KeyRole = "KEY_ROLE", Broken;
    /// An entry is signed by a key that was not yet valid at its place in the log.
    KeyNotYet = "KEY_NOT_YET", Broken;
    /// An entry is signed by a key that a newer trust root or enrolment had replaced.
    KeyDropped = "KEY_DROPPED", Broken;
    /// An entry is signed by a key that was revoked.
    KeyRevoked = "KEY_REVOKED", Broken;
    /// A state is for a cluster that the trust root does not list.
    ClusterUnknown = "CLUSTER_UNKNOWN", Broken;
    /// A state is for another environment than the trust root's.
    EnvironmentOther = "ENVIRONMENT_OTHER", Broken;
    /// A state's generation leaves others out.
    GenerationSkipped = "GENERATION_SKIPPED", Broken;
    /// A state's generation is not above the one before.
    GenerationReplayed = "GENERATION_REPLAYED", Broken;
    /// A state names another state before it than the log has.
    PreviousOther = "PREVIOUS_OTHER", Broken;
    /// Two statements of one signer contradict each other: same generation or same number, other content.
    Equivocation = "EQUIVOCATION", Broken;
    /// A state names a source entry that does not stand before it in the log.
    SourceMissing = "SOURCE_MISSING", Broken;
    /// A state's commit is not its source entry's.
    SourceOther = "SOURCE_OTHER", Broken;
    /// A state of a cluster at level authored or above comes from a commit without a verified signer.
    SourceUnverified = "SOURCE_UNVERIFIED", Broken;
    /// A state was sealed under an older trust root than the one before.
    TrustRootOrder = "TRUST_ROOT_ORDER", Broken;
    /// An entry names a trust root that does not follow from the pinned one.
    TrustRootUnknown = "TRUST_ROOT_UNKNOWN", Broken;
    /// An enrolment does not bear the receipt key's own signature.
    EnrolmentUnproven = "ENROLMENT_UNPROVEN", Broken;
    /// An enrolment's number leaves others out or stands twice.
    EnrolmentNumber = "ENROLMENT_NUMBER", Broken;
    /// A receipt or drift record is of a cluster that was never enrolled: it counts for nothing, and contradicts nothing.
    ReceiptUnenrolled = "RECEIPT_UNENROLLED", Notice;
    /// Receipts are missing: the numbers of a cluster have a gap.
    ReceiptGap = "RECEIPT_GAP", Broken;
    /// A receipt names another one before it than the log has.
    ReceiptPrevious = "RECEIPT_PREVIOUS", Broken;
    /// A receipt is for a state that the log does not have.
    ReceiptStateUnknown = "RECEIPT_STATE_UNKNOWN", Broken;
    /// A receipt says that a state ran before the checkpoint that the agent had verified held it.
    ReceiptBeforeLog = "RECEIPT_BEFORE_LOG", Broken;
    /// A receipt carries the nonce that the hub gave another cluster: one of the two was not written by its agent.
    NonceForeign = "NONCE_FOREIGN", Broken;
    /// A cluster verified a checkpoint that is not of this log: the log was forked.
    LogForked = "LOG_FORKED", Broken;
    /// A second renderer got another manifest for the commit.
    ReproductionDisagrees = "REPRODUCTION_DISAGREES", Broken;
    /// A cluster at level reproduced applied a state that no second renderer had confirmed.
    ReproductionMissing = "REPRODUCTION_MISSING", Broken;
    /// A file of the log is missing, or not what the tree says.
    TreeDamaged = "TREE_DAMAGED", Broken;
    /// The rebuilt tree has another root than the checkpoint.
    RootOther = "ROOT_OTHER", Broken;
    /// The trust root asks for witnesses, and too few cosigned the checkpoint.
    WitnessQuorumMissing = "WITNESS_QUORUM_MISSING", Broken;
    /// The newest cosignature is older than the limit.
    CheckpointStale = "CHECKPOINT_STALE", Notice;
    /// A cluster at level witnessed or above applied a state without witnesses.
    ReceiptUnwitnessed = "RECEIPT_UNWITNESSED", Notice;
    /// A receipt's nonce was given later than the receipt says, long before it, or before the one that the cluster knew already.
    ReceiptNonce = "RECEIPT_NONCE", Notice;
    /// A receipt came into the log much later than the cluster wrote it.
    ReceiptLate = "RECEIPT_LATE", Notice;
    /// A cluster was silent for longer than the limit.
    ReceiptSilence = "RECEIPT_SILENCE", Notice;
    /// A cluster has not answered its newest state.
    StateUnanswered = "STATE_UNANSWERED", Notice;
    /// No second renderer spoke of a state of a cluster at level reproduced.
    StateUnreproduced = "STATE_UNREPRODUCED", Notice;
    /// A cluster of the trust root never said anything.
    ClusterSilent = "CLUSTER_SILENT", Notice;
    /// A cluster's clock is ahead of the auditor's.
    ClockAhead = "CLOCK_AHEAD", Notice;
    /// A person's word that the rules would not allow: pause, resume, break-glass, deletion, rewrite, policies.
    OverrideUsed = "OVERRIDE", Notice;
    /// An agent refused what came to it.
    Refused = "REFUSED", Notice;
    /// An agent detected an attack.
    AttackDetected = "ATTACK_DETECTED", Notice;
    /// The person who permitted something is the one who signed the commit.
    SelfApproved = "SELF_APPROVED", Notice;
    /// A part of a state failed to apply.
    ApplyFailed = "APPLY_FAILED", Notice;
}

impl Code {
    /// The code of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::custom("unknown code"))
    }
}

/// One thing that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The entry; none if it is about the log or a cluster as a whole.
    pub index: Option<u64>,
    /// What.
    pub code: Code,
    /// The cluster, or empty.
    pub cluster: String,
    /// In words. Parts of it come from the log: it is made safe when it is shown.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_name_and_a_meaning() {
        let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::named(code.name()), Some(*code));
            assert!(code.meaning().trim().ends_with('.'), "{code:?}");
        }
    }
}
