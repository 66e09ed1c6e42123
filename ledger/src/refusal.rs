//! Why a check said no. A refusal is final for what came; nothing is tried again with the same bytes.

use crate::digest::Digest;
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
    /// The cluster's level asks for checks that this version can not make.
    #[error("the cluster asks for level {level}, which can not be checked here")]
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
