//! The floor, as the puller meets it: from the agent's own newest receipt where the volume is new, and raised with each state.

use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::statement::Statement;
use countersign_proto::agent::v1 as proto;

use super::{Failure, Puller, hub};
use crate::floor::Floor;

impl Puller {
    /// A volume that is new knows nothing: what this agent's key countersigned last, and the hub shows of it, says how far the
    /// cluster was. A hub that hides it is met by the floor in the cluster.
    pub(super) async fn learn_floor(&mut self, client: &mut hub::Client) {
        if self.last.is_some() || self.roots.newest().log().is_none() {
            return;
        }
        let asked = client.receipts(proto::ReceiptsRequest::default()).await;
        let Ok(answer) = asked else {
            return; // not enrolled yet: it never said anything
        };
        let newest = answer.into_inner().newest;
        if let Some(floor) = self.own_floor(&newest) {
            tracing::info!(
                generation = floor.generation,
                "the log shows how far this cluster was"
            );
            self.engine.floor.raise(&floor);
        }
    }

    /// What a receipt of this agent says; none if it is none.
    fn own_floor(&self, bytes: &[u8]) -> Option<Floor> {
        let key = self.keys.receipt();
        let envelope = Envelope::parse(bytes, &Limits::entry()).ok()?;
        if envelope.signed_by([&key], &RingVerifier).is_empty() {
            return None;
        }
        let (fleet, cluster, generation, seq) = match Statement::parse(envelope.payload()).ok()? {
            Statement::Receipt(said) => (said.fleet, said.cluster, said.generation, said.seq),
            Statement::Drift(said) => (said.fleet, said.cluster, said.generation, said.seq),
            _ => return None,
        };
        let ours = fleet == self.roots.newest().fleet() && cluster == self.cluster;
        let known = Floor::of(&self.cluster, &self.roots, generation, None);
        ours.then_some(Floor {
            receipts: Some((key, seq)),
            ..known
        })
    }

    /// What is believed now is the least from now on.
    pub(super) fn raise_floor(&self) {
        let generation = self.last.map_or(0, |last| last.generation);
        let seen = self.seen.as_ref();
        let floor = Floor::of(&self.cluster, &self.roots, generation, seen);
        self.engine.floor.raise(&floor);
    }

    /// A chain that ends below the floor is an old day's, however well it is signed.
    pub(super) fn above_floor(&self, generation: u64) -> Result<(), Failure> {
        Ok(self.engine.floor.check(generation, &self.roots)?)
    }
}
