//! What happened since the last report and is not a state: drifts, refusals, objects that are gone.
//!
//! Bounded: in a storm the oldest drifts fold into a count, and equal refusals are one line with a count.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use countersign_ledger::identity::ObjectId;

/// Drifts kept until they are reported; beyond, the oldest is dropped and counted.
const DRIFTS_MAX: usize = 500;
/// Characters of a drift's patch that are kept.
const PATCH_BYTES_MAX: usize = 16 << 10;

/// One drift, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftRecord {
    /// The object.
    pub id: Arc<ObjectId>,
    /// Its app.
    pub app: Arc<str>,
    /// `changed`, `deleted` or `added`.
    pub what: &'static str,
    /// Who made it.
    pub managers: Vec<String>,
    /// Where.
    pub paths: Vec<String>,
    /// RFC 6902 from desired to found; empty for a Secret, or when the object was not fetched.
    pub patch: String,
    /// It was undone.
    pub healed: bool,
    /// From the event to the healing write's answer, milliseconds.
    pub healed_after: u32,
    /// Milliseconds since 1970.
    pub time: i64,
}

/// A refusal, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRecord {
    /// For a person.
    pub message: String,
    /// Generation that was refused, or stood.
    pub generation: u64,
    /// How often since the last report.
    pub count: u64,
    /// The last time.
    pub time: i64,
}

/// Since the last report.
#[derive(Debug, Default)]
pub struct News {
    drifts: VecDeque<DriftRecord>,
    /// Drifts that found no place.
    pub dropped: u64,
    refusals: BTreeMap<&'static str, RefusalRecord>,
    gone: Vec<ObjectId>,
    forgotten: Vec<Arc<ObjectId>>,
}

impl News {
    /// One more drift.
    pub fn drifted(&mut self, mut record: DriftRecord) {
        if record.patch.len() > PATCH_BYTES_MAX {
            record.patch.clear();
        }
        if self.drifts.len() >= DRIFTS_MAX {
            self.drifts.pop_front();
            self.dropped += 1;
        }
        self.drifts.push_back(record);
    }

    /// One more refusal.
    pub fn refused(&mut self, code: &'static str, message: &str, generation: u64, time: i64) {
        let record = self.refusals.entry(code).or_insert_with(|| RefusalRecord {
            message: String::new(),
            generation: 0,
            count: 0,
            time: 0,
        });
        message.clone_into(&mut record.message);
        record.generation = generation;
        record.count += 1;
        record.time = time;
    }

    /// A tombstone's object is gone.
    pub fn gone(&mut self, id: ObjectId) {
        if !self.gone.contains(&id) {
            self.gone.push(id);
        }
    }

    /// Objects that are no longer managed.
    pub fn forgot(&mut self, ids: Vec<Arc<ObjectId>>) {
        self.forgotten.extend(ids);
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drifts.is_empty()
            && self.refusals.is_empty()
            && self.gone.is_empty()
            && self.forgotten.is_empty()
    }

    /// Everything, to report it; what could not be delivered comes back by [`Self::put_back`].
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// A report did not arrive.
    pub fn put_back(&mut self, older: Self) {
        let newer = std::mem::replace(self, older);
        for record in newer.drifts {
            self.drifted(record);
        }
        for (code, record) in newer.refusals {
            let count = self.refusals.get(code).map_or(0, |old| old.count);
            self.refusals.insert(
                code,
                RefusalRecord {
                    count: count + record.count,
                    ..record
                },
            );
        }
        for id in newer.gone {
            self.gone(id);
        }
        self.forgotten.extend(newer.forgotten);
    }

    /// The drifts, oldest first.
    pub fn drifts(&self) -> impl Iterator<Item = &DriftRecord> {
        self.drifts.iter()
    }

    /// The refusals by code.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, &RefusalRecord)> {
        self.refusals.iter().map(|(code, record)| (*code, record))
    }

    /// Tombstones whose objects are gone.
    #[must_use]
    pub fn all_gone(&self) -> &[ObjectId] {
        &self.gone
    }

    /// Objects no longer managed.
    #[must_use]
    pub fn all_forgotten(&self) -> &[Arc<ObjectId>] {
        &self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_refusals_are_one_with_a_count_even_after_a_lost_report() {
        let mut news = News::default();
        news.refused("REPLAYED", "a", 1, 1);
        let lost = news.take();
        assert!(news.is_empty());
        news.refused("REPLAYED", "b", 2, 2);
        news.put_back(lost);
        let all: Vec<_> = news.refusals().collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].1.count, all[0].1.message.as_str()), (2, "b"));
    }

    #[test]
    fn a_storm_of_drifts_keeps_the_newest_and_counts_the_rest() {
        let mut news = News::default();
        let id = Arc::new(ObjectId {
            group: String::new(),
            kind: "A".into(),
            namespace: String::new(),
            name: "a".into(),
        });
        for time in 0..600 {
            news.drifted(DriftRecord {
                id: Arc::clone(&id),
                app: "x".into(),
                what: "changed",
                managers: vec![],
                paths: vec![],
                patch: String::new(),
                healed: true,
                healed_after: 1,
                time,
            });
        }
        assert_eq!((news.drifts().count(), news.dropped), (500, 100));
        assert_eq!(news.drifts().next().unwrap().time, 100);
    }
}
