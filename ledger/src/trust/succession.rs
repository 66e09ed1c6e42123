//! From one trust root to the next: signed by the threshold of the old and of the new one, one version higher.

use crate::key::Verify;
use crate::limits::TRUST_ROOT_STEPS_MAX;
use crate::refusal::Refusal;

use super::root::VerifiedRoot;

/// The trust root that somebody pinned, and those that follow it, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    pinned: VerifiedRoot,
    later: Vec<VerifiedRoot>,
}

impl VerifiedRoot {
    /// Reads the root that follows this one.
    pub fn succeed(&self, bytes: &[u8], verifier: &dyn Verify) -> Result<Self, Refusal> {
        let next = Self::parse(bytes, verifier)?;
        if next.fleet() != self.fleet() || self.version().checked_add(1) != Some(next.version()) {
            return Err(Refusal::TrustRootOrder {
                had: self.version(),
                fleet: self.fleet().to_owned(),
                got: next.version(),
                got_fleet: next.fleet().to_owned(),
            });
        }
        next.check_signed_by(&self.document().root, self.version(), verifier)?;
        Ok(next)
    }
}

impl Roots {
    /// Begins with a root that a person trusts.
    #[must_use]
    pub fn new(pinned: VerifiedRoot) -> Self {
        Self {
            pinned,
            later: Vec::new(),
        }
    }

    /// Follows with the next root.
    pub fn extend(&mut self, bytes: &[u8], verifier: &dyn Verify) -> Result<(), Refusal> {
        if self.later.len() == TRUST_ROOT_STEPS_MAX {
            let problem = format!("more than {TRUST_ROOT_STEPS_MAX} roots follow the pinned one");
            return Err(Refusal::TrustRootMalformed { problem });
        }
        let next = self.newest().succeed(bytes, verifier)?;
        self.later.push(next);
        Ok(())
    }

    /// The newest root: the one that counts.
    #[must_use]
    pub fn newest(&self) -> &VerifiedRoot {
        self.later.last().unwrap_or(&self.pinned)
    }

    /// The root that was pinned.
    #[must_use]
    pub fn pinned(&self) -> &VerifiedRoot {
        &self.pinned
    }

    /// The root of `version`, if it is one of these.
    #[must_use]
    pub fn at(&self, version: u64) -> Option<&VerifiedRoot> {
        self.iter().find(|root| root.version() == version)
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedRoot> {
        std::iter::once(&self.pinned).chain(&self.later)
    }
}
