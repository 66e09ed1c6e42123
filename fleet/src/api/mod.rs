//! What the hub tells operators, as JSON: the types that hub and CLI share.
//!
//! Nothing here is evidence: live status comes from unsigned reports of agents, for people to look at. Field names are
//! camelCase; times are RFC 3339 in UTC; digests and commits are lower-case hex. Read [`fleet`] first.
//!
//! Text in these types comes from Git, clusters and agents. Whoever prints it neutralises control characters.

mod app;
pub mod ci;
mod cluster;
mod drift;
mod fleet;
mod object;
mod override_;
mod request;
mod salts;
mod state;
mod verify;

pub use app::{App, AppOnCluster, AppSummary, AppWants, Kept};
pub use cluster::{Alarm, Cluster, ClusterSummary, Connection, RefusalCount, Registered};
pub use drift::{Drift, DriftKind, Drifts};
pub use fleet::{
    Commit, Fleet, LogProgress, Mistake, PermitNeeded, Source, SourceState, TrustRootInUse,
};
pub use object::{Object, ObjectName, Objects};
pub use override_::{Overrides, Paused};
pub use request::{
    JoinToken, JoinTokenRequest, ParcelRequest, Permit, PermitKind, PermitRequest, Permits,
    Problem, ReportTaken, Revocation, RevokeRequest, SyncStarted,
};
pub use salts::{SALTS_MAX, SALTS_SECONDS_MAX, SALTS_TYPE, SaltsAnswer, SaltsRequest};
pub use state::{HealthState, SyncState};
pub use verify::{ProvenEntry, VerifyAnswer, VerifyAsked};
