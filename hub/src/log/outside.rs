//! What outsiders signed, as it is filed in the index and found again.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::Envelope;
use countersign_ledger::statement::Statement;

use super::Log;
use super::error::ReadError;
use crate::store::index::{Filed, Outside, OutsideKind};

/// How an outsider's entry is filed; [`Filed::Other`] for anybody else's.
pub(crate) fn filed(envelope: &Envelope, statement: &Statement) -> Filed {
    let (kind, about, names) = match statement {
        Statement::Override(this) => {
            let cluster = this.cluster.clone().unwrap_or_default();
            (OutsideKind::Override, cluster, Vec::new())
        }
        Statement::Reproduction(this) => {
            let desired = this.desired.to_string();
            (OutsideKind::Reproduction, desired, Vec::new())
        }
        Statement::Infrastructure(this) => {
            let workspace = this.workspace.clone();
            (OutsideKind::Infrastructure, workspace, vec![this.resources])
        }
        Statement::Source(_)
        | Statement::Desired(_)
        | Statement::Receipt(_)
        | Statement::Drift(_)
        | Statement::Enrolment(_)
        | Statement::Revocation(_)
        | Statement::TrustEntry(_) => return Filed::Other,
    };
    Filed::Outside(Outside {
        kind,
        about,
        leaf: envelope.leaf_hash(),
        names,
    })
}

impl Log {
    /// The salt of a cluster's Secret by its commitment, if it is kept still.
    pub(crate) fn salt(
        &self,
        cluster: &str,
        commitment: &Digest,
    ) -> Result<Option<[u8; 32]>, ReadError> {
        Ok(self.index.salt(cluster, commitment)?)
    }

    /// The outsiders' entries of a kind about something: index and exact bytes of each, in the order of the log.
    pub(crate) async fn outside(
        &self,
        kind: OutsideKind,
        about: &str,
    ) -> Result<Vec<(u64, Bytes)>, ReadError> {
        self.bytes_of(self.index.outside(kind, about)?).await
    }

    /// The same of all entries of a kind, from a place on.
    pub(crate) async fn outside_from(
        &self,
        kind: OutsideKind,
        place: u64,
    ) -> Result<Vec<(u64, Bytes)>, ReadError> {
        self.bytes_of(self.index.outside_from(kind, place)?).await
    }

    async fn bytes_of(&self, leaves: Vec<Digest>) -> Result<Vec<(u64, Bytes)>, ReadError> {
        let mut found = Vec::new();
        for leaf in leaves {
            if let Some(index) = self.find(&leaf)?
                && let Some(bytes) = self.entry(index).await?
            {
                found.push((index, bytes));
            }
        }
        Ok(found)
    }
}
