//! Every bound of the serving side, with its unit and its reason.

use std::time::Duration;

/// Client certificates live 24 hours; they are renewed with the receipt key, so that a lost one is no loss.
pub const CLIENT_CERTIFICATE_SECONDS: i64 = 24 * 3600;
/// Server certificates live 30 days and are made anew at half of that.
pub const SERVER_CERTIFICATE_SECONDS: i64 = 30 * 24 * 3600;
/// Certificates count from five minutes before they were made: clocks differ.
pub const CLOCK_SKEW_SECONDS: i64 = 300;
/// A join token is used within a quarter of an hour, or made anew.
pub const JOIN_TOKEN_SECONDS: i64 = 15 * 60;
/// A signed request to renew may be this old or early, in seconds. Replaying one only yields a certificate of a key that
/// the replayer does not hold, so the bound is wide enough for clocks that are off by hours.
pub const RENEW_SKEW_SECONDS: i64 = 24 * 3600;

/// Connections at once on the agents' listener: ten thousand agents and room for probes, forges and reconnects.
pub const AGENT_CONNECTIONS_MAX: usize = 12_000;
/// Connections at once on the operators' listeners: people and their scripts.
pub const OPERATOR_CONNECTIONS_MAX: usize = 128;
/// Between two pieces of a request's body.
pub const BODY_PIECE_MAX: Duration = Duration::from_secs(30);
/// HTTP/2 pings, so that a dead peer is found and no NAT forgets a living one.
pub const PING_EVERY: Duration = Duration::from_secs(20);
/// Requests at once on one connection: an agent has one stream of heads and a few fetches.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 32;
/// All headers of a request, in bytes.
pub const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Body of an operator's request, in bytes; the largest holds a reason.
pub const OPERATOR_BODY_BYTES_MAX: usize = 64 * 1024;
/// Body of a push webhook, in bytes; GitHub's limit is 25 MB, a push of many commits takes far less than this.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 2 << 20;
/// Open requests get this long to end at shutdown; streams of heads are ended at once.
pub const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// Heads of a cluster whose blobs may still be fetched: an agent may be fetching for one that was just overtaken.
pub const HEADS_READABLE: usize = 4;
/// Blobs read from the store at once for one request.
pub const BLOB_READS_AT_ONCE: usize = 16;
/// Files of the log read for strangers at once: 16 MiB each at the most, and agents come first.
pub const LOG_READS_AT_ONCE: usize = 32;
/// A blob attached to a head, in bytes: a section of 256 lines of 350 bytes fits well; larger ones are fetched.
pub const ATTACHED_BLOB_BYTES_MAX: usize = 256 * 1024;
/// All blobs attached to a head, in bytes: what a small change needs comes with it, a large one is fetched in batches.
pub const ATTACHED_BYTES_MAX: usize = 2 << 20;

/// Objects remembered of one cluster's reports; further ones are counted, not kept.
pub const OBJECTS_PER_CLUSTER_MAX: usize = 50_000;
/// Apps remembered of one cluster's reports.
pub const APPS_PER_CLUSTER_MAX: usize = 5_000;
/// Identities reported gone and not yet taken in by the pipeline, of one cluster.
pub const GONE_PER_CLUSTER_MAX: usize = 50_000;
/// Drifts remembered of one cluster, the newest.
pub const DRIFTS_PER_CLUSTER_MAX: usize = 256;
/// Kinds of refusal remembered of one cluster.
pub const REFUSALS_PER_CLUSTER_MAX: usize = 64;
/// Kinds of alarm remembered of one cluster or of the fleet.
pub const ALARMS_MAX: usize = 32;
/// A text from an agent, in bytes; the rest is cut off.
pub const TEXT_BYTES_MAX: usize = 1024;
/// A drift's JSON patch, in bytes; a larger one is left out.
pub const PATCH_BYTES_MAX: usize = 32 * 1024;
/// Paths or managers in one drift.
pub const DRIFT_LIST_MAX: usize = 64;

/// Blobs that receipts name, in one request.
pub const PUT_BLOBS_PER_REQUEST_MAX: usize = 512;
/// A blob that a receipt names, in bytes: results of a few thousand objects, or two contradicting checkpoints.
pub const RECEIPT_BLOB_BYTES_MAX: usize = 2 << 20;
/// How long an answer to receipts waits for a checkpoint that covers them; from level `witnessed` on that is one the
/// witnesses cosigned. Without one the agent asks again.
pub const COVERED_MAX: Duration = Duration::from_secs(5);

/// Longest life of a token for CI, in seconds: a day.
pub const CI_TOKEN_SECONDS_MAX: u64 = 24 * 3600;

/// Body with a trust root, in bytes.
pub const TRUST_BODY_BYTES_MAX: usize = 1 << 20;

/// Body of an outsider's entry with its blobs, in bytes.
pub const ENTRY_BODY_BYTES_MAX: usize = 2 << 20;
/// Blobs that come with an outsider's entry.
pub const ENTRY_BLOBS_MAX: usize = 4;
/// One of them, in bytes: the addresses of some ten thousand resources.
pub const ENTRY_BLOB_BYTES_MAX: usize = 1 << 20;
/// Outsiders' entries that are judged and appended at once.
pub const ENTRIES_AT_ONCE: usize = 16;
/// Body of a second renderer's request for salts, in bytes: 48 commitments and an envelope around them.
pub const SALTS_BODY_BYTES_MAX: usize = 16 << 10;
/// Overrides that operators are shown at once, the newest.
pub(crate) const OVERRIDES_LISTED_MAX: usize = 1_000;
/// Questions to one cluster that are open at once; of more the oldest are forgotten.
pub(crate) const QUESTIONS_MAX: usize = 8;
/// Seconds for which a cluster that was asked for a word may answer: who asked waits no longer.
pub(crate) const QUESTION_SECONDS_MAX: i64 = 600;
/// An override lasts so long at most: what is needed for longer belongs into Git or into the trust root.
pub const OVERRIDE_SECONDS_MAX: u64 = 30 * 86_400;

/// Objects on one page of the operators' list, at most.
pub const OBJECTS_PER_PAGE_MAX: usize = 1_000;
/// Drifts in one answer, at most.
pub const DRIFTS_PER_ANSWER_MAX: usize = 1_000;
/// A stored record (registration, token, permit), in bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// A reason for a permit, in bytes.
pub const REASON_BYTES_MAX: usize = 1024;

/// How long a listener waits for the other side.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A TLS handshake takes a second on a bad line; more is a stall.
    pub handshake: Duration,
    /// A connection must bring its first request within this time.
    pub first_request: Duration,
    /// Head of an HTTP/1 request.
    pub headers: Duration,
    /// A connection without a byte from the other side for this long is closed; living ones answer pings before.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(15),
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

/// Sizes of the log that a parcel leads on from: an agent has seen one with states and one with receipts, and a person may
/// name a few files.
pub const PARCEL_WAYS_MAX: usize = 64;
/// Receipts whose places one parcel proves: with the longest proofs 8 MiB.
pub const PARCEL_RECEIPTS_MAX: u64 = 4_096;
/// Parcels of a cluster whose end is remembered: a person carries one a day, and an agent lags a few behind.
pub const PARCELS_REMEMBERED_MAX: usize = 64;

/// Git objects in one `Head`, in bytes: below what a message may have, so that any other content fits beside a last one.
pub const GIT_OBJECTS_PER_HEAD_BYTES_MAX: usize = 12 << 20;
/// Judgements of commits that are kept for the next agent: those of a push go to all clusters, those of a restart to some.
pub const JUDGEMENTS_KEPT_MAX: usize = 4;
/// Their objects, in bytes: one of the largest.
pub const JUDGEMENTS_KEPT_BYTES_MAX: usize = 32 << 20;
/// A judgement that found a fault is made anew after this time: a mirror may have been mended, a key may count now.
pub const REFUSED_JUDGEMENT_KEPT: Duration = Duration::from_secs(30);
/// Overrides in one `Head`: each is a word of a person that has not ended, and few of those hold at a time.
pub const OVERRIDES_PER_HEAD_MAX: usize = 256;
