//! How objects are: status of one object, rolled up to apps and the cluster.
//!
//! The rules themselves (kstatus, CEL) stand in `countersign-health`, shared with the CLI; `probe` reads the objects
//! that have a status, `rollup` draws the conclusion.

pub mod probe;
pub mod rollup;

pub use countersign_health::HealthStatus as Status;

/// How one object is; small, since each object has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Its status.
    pub status: Status,
    /// Why, for a person; none when there is nothing to say.
    pub message: Option<Box<str>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            status: Status::Unknown,
            message: None,
        }
    }
}

impl Health {
    /// A status with a reason.
    #[must_use]
    pub fn because(status: Status, message: &str) -> Self {
        Self {
            status,
            message: (!message.is_empty()).then(|| message.into()),
        }
    }
}

impl From<countersign_health::Health> for Health {
    fn from(health: countersign_health::Health) -> Self {
        Self::because(health.status, &health.message)
    }
}

/// Whether the next wave may start.
#[must_use]
pub fn lets_pass(status: Status) -> bool {
    matches!(status, Status::Healthy | Status::Suspended)
}
