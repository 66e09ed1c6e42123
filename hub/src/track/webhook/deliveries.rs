//! Delivery ids that were taken, newest few thousand, so that none is taken twice. Pure.

use std::collections::{HashSet, VecDeque};

use countersign_ledger::digest::Digest;

use crate::track::limits::DELIVERIES_REMEMBERED_MAX;

/// The memory; ids are kept as digests, so a long one costs no more than a short one.
#[derive(Debug, Default)]
pub struct Deliveries {
    known: HashSet<Digest>,
    order: VecDeque<Digest>,
}

impl Deliveries {
    /// Remembers an id; false if it is known.
    pub fn first_time(&mut self, id: &[u8]) -> bool {
        let id = Digest::of(id);
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > DELIVERIES_REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_once_and_memory_is_bounded() {
        let mut deliveries = Deliveries::default();
        assert!(deliveries.first_time(b"a"));
        assert!(!deliveries.first_time(b"a"));
        for n in 0..DELIVERIES_REMEMBERED_MAX {
            assert!(deliveries.first_time(&n.to_be_bytes()));
        }
        assert_eq!(deliveries.known.len(), DELIVERIES_REMEMBERED_MAX);
        assert!(deliveries.first_time(b"a"), "the oldest is forgotten first");
    }
}
