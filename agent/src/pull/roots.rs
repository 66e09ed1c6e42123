//! Trust roots from the hub: the pinned one at a first start by its digest, and those that follow.
//!
//! Roots prove themselves, so they may come from anybody; a hub is spoken to further only if what it presented stands
//! under the CA that they name.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::{Roots, VerifiedRoot};
use countersign_proto::agent::v1 as proto;
use tonic::transport::Channel;

use super::hub::{self, Hub, HubFault};
use super::{Failure, Puller};

/// Why there is no trust root at a first start.
#[derive(Debug, thiserror::Error)]
pub enum NoRoot {
    /// Try again.
    #[error(transparent)]
    Fault(#[from] HubFault),
    /// A document was refused.
    #[error("{code}: {0}", code = .0.code())]
    Refused(#[from] Refusal),
    /// The hub has no document of that digest.
    #[error("the hub serves no trust root of this digest")]
    NotServed,
    /// The roots name another CA than the hub stands under.
    #[error("the hub's certificate does not stand under the CA that this trust root names")]
    OtherHub,
}

/// The root of this digest, as a hub serves it, and those that follow; the hub is the one that they name.
///
/// # Errors
/// [`NoRoot`].
pub async fn first(url: &str, digest: &Digest) -> Result<Roots, NoRoot> {
    // Nothing is pinned yet, and nothing but roots is asked for.
    let hub = Hub::new(url.to_owned(), Digest::default());
    let (documents, presented) = hub.roots_unproven(0).await?;
    let pinned = documents
        .iter()
        .find(|document| Digest::of(document) == *digest)
        .ok_or(NoRoot::NotServed)?;
    let mut roots = Roots::new(VerifiedRoot::pinned(pinned, digest, &RingVerifier)?);
    follow(&mut roots, &documents)?;
    if presented.is_of(roots.newest().document().hub_ca) {
        Ok(roots)
    } else {
        Err(NoRoot::OtherHub)
    }
}

/// Takes the documents that follow the newest root, passing over older ones.
///
/// # Errors
/// The [`Refusal`] of the first that follows wrongly.
pub fn follow<B: AsRef<[u8]>>(roots: &mut Roots, documents: &[B]) -> Result<(), Refusal> {
    for document in documents {
        let document = document.as_ref();
        let version = VerifiedRoot::parse(document, &RingVerifier)?.version();
        if version > roots.newest().version() {
            roots.extend(document, &RingVerifier)?;
        }
    }
    Ok(())
}

impl Puller {
    /// Connects to the pinned hub; if it stands under another CA, asks whether newer roots say so.
    pub(super) async fn connect(
        &mut self,
        identity: Option<(&str, &str)>,
    ) -> Result<Channel, Failure> {
        match self.hub.channel(identity).await {
            Ok(channel) => Ok(channel),
            Err(fault) => {
                self.ask_unproven().await?;
                Err(fault.into())
            }
        }
    }

    /// A hub that did not prove itself may have moved to another CA: newer roots say so, if they lead there.
    async fn ask_unproven(&mut self) -> Result<(), Failure> {
        let above = self.roots.newest().version();
        let Ok((documents, presented)) = self.hub.roots_unproven(above).await else {
            return Ok(()); // not there at all
        };
        let mut roots = self.roots.clone();
        follow(&mut roots, &documents)?;
        if roots.newest().version() > above && presented.is_of(roots.newest().document().hub_ca) {
            self.extend_roots(&documents)?;
            tracing::info!(
                version = roots.newest().version(),
                "the hub has another CA now"
            );
        }
        Ok(())
    }

    /// Asks a hub that proved itself for the roots above the newest known one.
    pub(super) async fn follow_roots(&mut self, client: &mut hub::Client) -> Result<(), Failure> {
        let above_version = self.roots.newest().version();
        let response = client
            .trust_roots(proto::TrustRootsRequest { above_version })
            .await
            .map_err(HubFault::from)?
            .into_inner();
        self.extend_roots(&response.trust_roots)
    }

    /// Takes roots that follow the newest one, in order; those that are known already are passed over.
    pub(super) fn extend_roots(&mut self, documents: &[Bytes]) -> Result<(), Failure> {
        for document in documents {
            if self
                .roots
                .iter()
                .any(|root| root.bytes() == document.as_ref())
            {
                continue;
            }
            self.roots.extend(document, &RingVerifier)?;
            let newest = self.roots.newest();
            self.saved.keep_trust_root(newest.version(), document)?;
            if self.hub.pin(newest.document().hub_ca) {
                // A certificate of the CA before counts nowhere any more.
                self.renew = true;
            }
        }
        Ok(())
    }
}
