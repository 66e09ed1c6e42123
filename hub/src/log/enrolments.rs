//! Which receipt keys may speak, as it stands in the log.

use countersign_ledger::Digest;
use countersign_ledger::key::PublicKey;
use countersign_ledger::statement::{Enrolment, Revocation};

use super::{Log, ReadError};
use crate::store::index::{Enrolled, Filed};

/// How an enrolment is filed.
pub(crate) fn enrolled(said: &Enrolment, leaf: Digest) -> Filed {
    Filed::Enrolment {
        cluster: said.cluster.clone(),
        key: said.receipt_key,
        number: said.number,
        leaf,
    }
}

/// How a revocation is filed.
pub(crate) fn revoked(said: &Revocation, leaf: Digest) -> Filed {
    Filed::Revocation {
        key: said.key,
        leaf,
    }
}

impl Log {
    /// The newest enrolment of `cluster`.
    pub(crate) fn enrolled(&self, cluster: &str) -> Result<Option<Enrolled>, ReadError> {
        Ok(self.index.enrolled(cluster)?)
    }

    /// The place at which `key` was revoked.
    pub(crate) fn revoked(&self, key: &PublicKey) -> Result<Option<u64>, ReadError> {
        Ok(self.index.revoked(key)?)
    }
}
