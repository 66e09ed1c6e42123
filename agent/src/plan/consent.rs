//! What is left alone, whatever the desired state says.
//!
//! Pure.

use super::Live;

/// Why an object is not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Argo CD tracks it.
    ArgoTracked,
}

impl Refused {
    /// Stable name.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::ArgoTracked => "ARGO_TRACKED",
        }
    }
}

/// May it be written?
///
/// # Errors
/// [`Refused`] when it belongs to somebody else.
pub fn consent(live: &Live) -> Result<(), Refused> {
    if live.argo {
        Err(Refused::ArgoTracked)
    } else {
        Ok(())
    }
}
