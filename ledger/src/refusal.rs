//! Why a check said no. A refusal is final for what came; nothing is tried again with the same bytes.

use crate::digest::Digest;
use crate::fork::Fork;
use crate::trust::Level;

/// A check said no. One variant a cause, with its data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are no trust root.
    #[error("the trust root is malformed: {problem}")]
    TrustRootMalformed {
        /// What is wrong.
        problem: String,
    },
    /// The document is not the one that was named by its digest.
    #[error("the trust root has the digest {got}, not {want}")]
    TrustRootOther {
        /// The digest that was named.
        want: Digest,
        /// The digest of what came.
        got: Digest,
    },
    /// A trust root without enough signatures of the keys that must sign it.
    #[error("trust root {version} has {got} of the {want} signatures that root {by} asks for")]
    TrustRootSignatures {
        /// Version of the new root.
        version: u64,
        /// Version of the root whose threshold is not met.
        by: u64,
        /// Signatures asked for.
        want: usize,
        /// Valid ones.
        got: usize,
    },
    /// A trust root that does not follow the one before by exactly one version, in the same fleet.
    #[error(
        "trust root {got} of fleet {got_fleet:?} does not follow root {had} of fleet {fleet:?}"
    )]
    TrustRootOrder {
        /// Version before.
        had: u64,
        /// Fleet before.
        fleet: String,
        /// Version that came.
        got: u64,
        /// Fleet that came.
        got_fleet: String,
    },
    /// The trust root does not know this cluster.
    #[error("the trust root does not list cluster {cluster:?}")]
    ClusterUnknown {
        /// The cluster.
        cluster: String,
    },
    /// A statement made under a trust root that this agent has not seen.
    #[error("the statement was made under trust root {named}, the newest one here is {newest}")]
    TrustRootUnknown {
        /// Version that the statement names.
        named: u64,
        /// Newest version here.
        newest: u64,
    },
    /// A statement made under an older trust root than the statement before it.
    #[error(
        "generation {generation} was made under trust root {named}, the one before under {before}"
    )]
    TrustRootReplayed {
        /// Generation of the statement.
        generation: u64,
        /// Version that it names.
        named: u64,
        /// Version that the one before names.
        before: u64,
    },
    /// The trust root lists a log, so a head needs a proof that it is in the log.
    #[error("the trust root lists a log, and no proof came that the statement is in it")]
    LogProofMissing,
    /// The trust root lists no log.
    #[error("a checkpoint came, but the trust root lists no log")]
    NoLog,
    /// The bytes are no checkpoint.
    #[error("the checkpoint is malformed: {problem}")]
    CheckpointMalformed {
        /// What is wrong.
        problem: String,
    },
    /// A signature that the checkpoint needs is missing or wrong.
    #[error("the checkpoint is not signed as it must be: {problem}")]
    LogSignatureInvalid {
        /// What is wrong.
        problem: String,
    },
    /// A checkpoint of another log.
    #[error("the checkpoint is of log {got:?}, this fleet's is {want:?}")]
    WrongLog {
        /// This fleet's.
        want: String,
        /// The checkpoint's.
        got: String,
    },
    /// Fewer witnesses cosigned the checkpoint than the trust root asks for.
    #[error("the checkpoint is not cosigned by a quorum of witnesses")]
    WitnessQuorumMissing,
    /// The quorum cosigned the checkpoint too long ago.
    #[error("the checkpoint was cosigned at {time}, too long before {now}")]
    CheckpointStale {
        /// When, in seconds since 1970.
        time: u64,
        /// The time here.
        now: u64,
    },
    /// The quorum cosigned the checkpoint at a time that has not come.
    #[error("the checkpoint was cosigned at {time}, here it is {now}")]
    CheckpointFromFuture {
        /// When, in seconds since 1970.
        time: u64,
        /// The time here.
        now: u64,
    },
    /// The log has fewer entries than it had.
    #[error("the log had {had} entries, and now shows {got}")]
    LogRolledBack {
        /// Entries that it had.
        had: u64,
        /// Entries that it shows.
        got: u64,
        /// Both checkpoints.
        evidence: Box<Fork>,
    },
    /// The log shows another history than it did.
    #[error("the log with {got} entries does not continue the one with {had} that was seen here")]
    LogForked {
        /// Entries that were seen.
        had: u64,
        /// Entries that it shows.
        got: u64,
        /// Both checkpoints.
        evidence: Box<Fork>,
    },
    /// No proof of the right form came that the log continues what was seen.
    #[error("no proof came that the log with {got} entries continues the one with {had}")]
    ConsistencyUnproven {
        /// Entries that were seen.
        had: u64,
        /// Entries that it shows.
        got: u64,
        /// Both checkpoints.
        evidence: Box<Fork>,
    },
    /// The proof does not show that the exact bytes stand in the log.
    #[error("the entry is not at index {index} of the log with {size} entries: {problem}")]
    NotInLog {
        /// The place that was named.
        index: u64,
        /// Entries in the log.
        size: u64,
        /// What is wrong.
        problem: String,
    },
    /// A statement that stands in the log before the one that it follows.
    #[error("the statement stands at index {index}, the one before it at {before}")]
    LogOrder {
        /// Its place.
        index: u64,
        /// The place of the one before.
        before: u64,
    },
    /// The source entry that a statement names did not come.
    #[error("the source entry {leaf} did not come")]
    SourceMissing {
        /// Its leaf hash.
        leaf: Digest,
    },
    /// The source entry is not what the statement says.
    #[error("the source entry {leaf} {problem}")]
    SourceMismatch {
        /// Its leaf hash.
        leaf: Digest,
        /// What is wrong.
        problem: &'static str,
    },
    /// A key signed after the trust root that dropped it was in the log.
    #[error(
        "the entry at index {index} is signed by a key that trust root {version}, in effect from index {since}, does not list"
    )]
    KeyRevoked {
        /// Place of the entry.
        index: u64,
        /// Version of the root in effect there.
        version: u64,
        /// Place of the entry that put it in effect.
        since: u64,
    },
    /// A key signed before a trust root that lists it was in the log.
    #[error(
        "the entry at index {index} is signed by a key that no trust root in effect there lists"
    )]
    KeyNotYet {
        /// Place of the entry.
        index: u64,
    },
    /// The entries that say when trust roots took effect do not fit the trust roots.
    #[error("the entry of trust root {version} {problem}")]
    TrustEntryMismatch {
        /// The version that it names.
        version: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// No person whom the trust root allows stands behind the commits.
    #[error("{problem}")]
    AuthorRefused {
        /// The stable name of the cause.
        code: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// No second renderer has said what it found.
    #[error("no second renderer has rendered generation {generation}")]
    ReproductionMissing {
        /// The generation.
        generation: u64,
    },
    /// An entry of a second renderer that is not about this state.
    #[error("the second renderer's entry {problem}")]
    ReproductionMismatch {
        /// What is wrong.
        problem: &'static str,
    },
    /// A second renderer rendered something else.
    #[error("a second renderer got {got} for generation {generation}, the manifest has {want}")]
    ReproductionDisagrees {
        /// The generation.
        generation: u64,
        /// Render digest of the manifest.
        want: Digest,
        /// The second renderer's.
        got: Digest,
    },
    /// An override that does not count here.
    #[error("the override {problem}")]
    OverrideInvalid {
        /// What is wrong.
        problem: &'static str,
    },
    /// A state deletes beyond the limits, and nobody who may permit that did.
    #[error(
        "it deletes {objects} objects of app {app}, which nobody permitted; if that is meant: countersign permit deletion {app} --manifest {digest} --cluster CLUSTER --key KEY"
    )]
    DeletionNotPermitted {
        /// The app.
        app: String,
        /// Number of those objects.
        objects: usize,
        /// What a person would have to permit.
        digest: Digest,
    },
    /// The cluster's level asks for checks that were not made.
    #[error("the cluster asks for level {level}, and not all of its checks were made")]
    LevelNotMet {
        /// The level.
        level: Level,
    },
    /// The bytes are no envelope.
    #[error("the {0}")]
    EnvelopeMalformed(#[from] crate::dsse::EnvelopeError),
    /// The envelope holds something else than a statement.
    #[error("the envelope's payload type is {got:?}")]
    PayloadType {
        /// The type that came.
        got: String,
    },
    /// The payload is no statement.
    #[error("the {0}")]
    StatementMalformed(#[from] crate::statement::StatementError),
    /// A statement, but none that says what a cluster shall run.
    #[error("the statement is no desired state")]
    NotDesired,
    /// No valid signature of a key that may seal for this environment.
    #[error("no signature of a key that the trust root allows for environment {environment:?}")]
    SignatureInvalid {
        /// The environment.
        environment: String,
    },
    /// A statement for another fleet.
    #[error("the statement is for fleet {got:?}, this is {want:?}")]
    WrongFleet {
        /// This fleet.
        want: String,
        /// The statement's.
        got: String,
    },
    /// A statement for another cluster.
    #[error("the statement is for cluster {got:?}, this is {want:?}")]
    WrongCluster {
        /// This cluster.
        want: String,
        /// The statement's.
        got: String,
    },
    /// A statement for another environment.
    #[error("the statement is for environment {got:?}, this cluster belongs to {want:?}")]
    WrongEnvironment {
        /// This cluster's, by the trust root.
        want: String,
        /// The statement's.
        got: String,
    },
    /// A generation that is not above the last one.
    #[error("generation {got} is not above {had}")]
    Replayed {
        /// The last generation.
        had: u64,
        /// The one that came.
        got: u64,
    },
    /// The chain does not reach the last generation.
    #[error("generation {got} does not follow {had}: statements between are missing")]
    Skipped {
        /// The last generation.
        had: u64,
        /// The one that came.
        got: u64,
    },
    /// A statement that names another one before it than the one that is known.
    #[error("generation {generation} follows another statement than the one that is known here")]
    PreviousMismatch {
        /// The generation.
        generation: u64,
        /// Digest of the known envelope; none before generation 1.
        want: Option<Digest>,
        /// Digest that the statement names.
        got: Option<Digest>,
    },
    /// No statement came.
    #[error("no statement came")]
    ChainEmpty,
    /// More statements came at once than are looked at.
    #[error("{got} statements came at once, at most {max} are looked at")]
    ChainTooLong {
        /// Statements that came.
        got: usize,
        /// Statements allowed.
        max: usize,
    },
    /// The section list is not the one that was signed.
    #[error("the section list has the digest {got}, the statement names {want}")]
    ManifestMismatch {
        /// Digest in the statement.
        want: Digest,
        /// Digest of what came.
        got: Digest,
    },
    /// The manifest's parts do not fit together.
    #[error("the manifest is malformed: {0}")]
    ManifestMalformed(#[from] crate::manifest::ManifestError),
    /// A blob that the manifest names is not there.
    #[error("blob {digest} is missing")]
    BlobMissing {
        /// Its digest.
        digest: Digest,
    },
    /// A blob has another length than was signed.
    #[error("blob {digest} has {got} bytes, {want} were signed")]
    BlobLength {
        /// Its digest.
        digest: Digest,
        /// The signed length.
        want: u64,
        /// The length of what came.
        got: u64,
    },
    /// A blob has another content than was signed.
    #[error("blob {digest} has the digest {got}")]
    BlobTampered {
        /// The signed digest.
        digest: Digest,
        /// The digest of what came.
        got: Digest,
    },
    /// A decrypted Secret is not the one that was signed.
    #[error("the content of a Secret is not the one that was signed")]
    SecretTampered,
}

impl Refusal {
    /// Two checkpoints that contradict each other, where that is the cause: an alarm, and what is kept of it.
    #[must_use]
    pub fn evidence(&self) -> Option<&Fork> {
        match self {
            Self::LogRolledBack { evidence, .. }
            | Self::LogForked { evidence, .. }
            | Self::ConsistencyUnproven { evidence, .. } => Some(evidence),
            _ => None,
        }
    }

    /// The stable name of the cause.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TrustRootMalformed { .. } => "TRUST_ROOT_MALFORMED",
            Self::TrustRootOther { .. } => "TRUST_ROOT_OTHER",
            Self::TrustRootSignatures { .. } => "TRUST_ROOT_SIGNATURES",
            Self::TrustRootOrder { .. } => "TRUST_ROOT_ORDER",
            Self::ClusterUnknown { .. } => "CLUSTER_UNKNOWN",
            Self::TrustRootUnknown { .. } => "TRUST_ROOT_UNKNOWN",
            Self::TrustRootReplayed { .. } => "TRUST_ROOT_REPLAYED",
            Self::LogProofMissing => "LOG_PROOF_MISSING",
            Self::NoLog => "NO_LOG",
            Self::CheckpointMalformed { .. } => "CHECKPOINT_MALFORMED",
            Self::LogSignatureInvalid { .. } => "LOG_SIGNATURE_INVALID",
            Self::WrongLog { .. } => "WRONG_LOG",
            Self::WitnessQuorumMissing => "WITNESS_QUORUM_MISSING",
            Self::CheckpointStale { .. } => "CHECKPOINT_STALE",
            Self::CheckpointFromFuture { .. } => "CHECKPOINT_FROM_FUTURE",
            Self::LogRolledBack { .. } => "LOG_ROLLED_BACK",
            Self::LogForked { .. } => "LOG_FORKED",
            Self::ConsistencyUnproven { .. } => "CONSISTENCY_UNPROVEN",
            Self::NotInLog { .. } => "NOT_IN_LOG",
            Self::LogOrder { .. } => "LOG_ORDER",
            Self::SourceMissing { .. } => "SOURCE_MISSING",
            Self::SourceMismatch { .. } => "SOURCE_MISMATCH",
            Self::KeyRevoked { .. } => "KEY_REVOKED",
            Self::KeyNotYet { .. } => "KEY_NOT_YET",
            Self::TrustEntryMismatch { .. } => "TRUST_ENTRY_MISMATCH",
            Self::AuthorRefused { code, .. } => code,
            Self::ReproductionMissing { .. } => "REPRODUCTION_MISSING",
            Self::ReproductionMismatch { .. } => "REPRODUCTION_MISMATCH",
            Self::ReproductionDisagrees { .. } => "REPRODUCTION_DISAGREES",
            Self::OverrideInvalid { .. } => "OVERRIDE_INVALID",
            Self::DeletionNotPermitted { .. } => "DELETION_NOT_PERMITTED",
            Self::LevelNotMet { .. } => "LEVEL_NOT_MET",
            Self::EnvelopeMalformed(_) => "ENVELOPE_MALFORMED",
            Self::PayloadType { .. } => "PAYLOAD_TYPE",
            Self::StatementMalformed(_) => "STATEMENT_MALFORMED",
            Self::NotDesired => "NOT_DESIRED",
            Self::SignatureInvalid { .. } => "SIGNATURE_INVALID",
            Self::WrongFleet { .. } => "WRONG_FLEET",
            Self::WrongCluster { .. } => "WRONG_CLUSTER",
            Self::WrongEnvironment { .. } => "WRONG_ENVIRONMENT",
            Self::Replayed { .. } => "REPLAYED",
            Self::Skipped { .. } => "SKIPPED",
            Self::PreviousMismatch { .. } => "PREVIOUS_MISMATCH",
            Self::ChainEmpty => "CHAIN_EMPTY",
            Self::ChainTooLong { .. } => "CHAIN_TOO_LONG",
            Self::ManifestMismatch { .. } => "MANIFEST_MISMATCH",
            Self::ManifestMalformed(_) => "MANIFEST_MALFORMED",
            Self::BlobMissing { .. } => "BLOB_MISSING",
            Self::BlobLength { .. } => "BLOB_LENGTH",
            Self::BlobTampered { .. } => "BLOB_TAMPERED",
            Self::SecretTampered => "SECRET_TAMPERED",
        }
    }
}
