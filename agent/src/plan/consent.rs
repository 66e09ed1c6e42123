//! What is left alone, whatever the desired state says.
//!
//! Pure.

use super::Live;
use super::rails::{Breach, Rails};
use countersign_ledger::identity::ObjectId;

/// Why an object is not touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Argo CD tracks it.
    ArgoTracked,
    /// Outside the agent's own guard rails.
    GuardRail(Breach),
}

impl Refused {
    /// Stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ArgoTracked => "ARGO_TRACKED",
            Self::GuardRail(_) => "GUARD_RAIL",
        }
    }
}

/// May it be written?
///
/// # Errors
/// [`Refused`] when it belongs to somebody else, or is outside the rails.
pub fn consent(id: &ObjectId, live: &Live, rails: &Rails) -> Result<(), Refused> {
    rails.check(id).map_err(Refused::GuardRail)?;
    if live.argo {
        Err(Refused::ArgoTracked)
    } else {
        Ok(())
    }
}
