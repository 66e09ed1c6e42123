//! What a new state deletes is held against what people permitted, from level `authored` on: whoever holds the hub's keys
//! deletes within the limits, and no more. What the last state had is noted before the new one is read: a state that does not
//! arrive whole costs what was kept, not this.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use countersign_ledger::identity::ObjectId;
use countersign_ledger::manifest::Line;
use countersign_ledger::time::Time;
use countersign_ledger::trust::{Level, VerifiedRoot};
use countersign_ledger::verify::deletions::{self, Had, New};
use countersign_ledger::verify::{Known, Last, Seen};

use super::{Failure, Puller};
use crate::verify::Kept;

/// The last verified state, as far as deleting is concerned: some twenty bytes a line.
#[derive(Debug, Clone)]
pub struct Stood {
    generation: u64,
    /// By a hash whose key nobody else knows.
    ids: HashMap<u64, Was>,
    apps: Vec<(String, usize)>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
enum Was {
    Object(u32),
    Orphan,
    Tombstone,
}

impl Stood {
    /// Of a state's lines.
    #[must_use]
    pub fn of(generation: u64, lines: &[Line]) -> Self {
        let mut this = Self {
            generation,
            ids: HashMap::with_capacity(lines.len()),
            apps: Vec::new(),
            hasher: RandomState::new(),
        };
        let mut places: HashMap<&str, u32> = HashMap::new();
        for line in lines {
            let was = match line {
                Line::Object(line) => {
                    let next = u32::try_from(this.apps.len()).unwrap_or(u32::MAX);
                    let place = *places.entry(&line.app).or_insert_with(|| {
                        this.apps.push((line.app.clone(), 0));
                        next
                    });
                    if let Some((_, count)) = this.apps.get_mut(place as usize) {
                        *count += 1;
                    }
                    Was::Object(place)
                }
                Line::Orphan(_) => Was::Orphan,
                Line::Tombstone(_) => Was::Tombstone,
            };
            this.ids.insert(this.hasher.hash_one(line.id()), was);
        }
        this
    }
}

impl deletions::Stood for Stood {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn had(&self, id: &ObjectId) -> Option<Had<'_>> {
        Some(match self.ids.get(&self.hasher.hash_one(id))? {
            Was::Object(place) => Had::Object(&self.apps.get(*place as usize)?.0),
            Was::Orphan => Had::Orphan,
            Was::Tombstone => Had::Tombstone,
        })
    }

    fn objects(&self, app: &str) -> usize {
        let mut apps = self.apps.iter();
        apps.find(|(name, _)| name == app)
            .map_or(0, |(_, count)| *count)
    }
}

impl Puller {
    /// Notes what the kept state has, if the next one will be held against it.
    pub(super) fn note_stood(&mut self) {
        if !self.asks_people(self.roots.newest()) {
            self.stood = None;
            return;
        }
        let Some(kept) = &self.kept else { return };
        let generation = kept.desired().generation;
        if self.stood.as_ref().map(|stood| stood.generation) != Some(generation) {
            self.stood = Some(Stood::of(generation, kept.manifest().lines()));
        }
    }

    /// All other checks of `new` have passed: may it delete what it deletes?
    pub(super) fn check_deletions(
        &self,
        known: &Known,
        last: Last,
        new: &Kept,
    ) -> Result<(), Failure> {
        let (Some(stood), Some(index)) = (&self.stood, last.index) else {
            return Ok(());
        };
        // Where it is not recorded which root was in effect, the newest says whose word is asked for.
        let root = known.windows.at(index);
        if !self.asks_people(root.map_or(self.roots.newest(), |(_, root)| root)) {
            return Ok(());
        }
        let new = New {
            cluster: &self.cluster,
            generation: last.generation,
            index,
            lines: new.manifest().lines(),
            after: self.seen.as_ref().and_then(|seen| before(seen, index)),
        };
        deletions::deletions(stood, &new, &self.overrides.all()).map_err(Failure::Refused)
    }

    fn asks_people(&self, root: &VerifiedRoot) -> bool {
        let level = root.cluster(&self.cluster).map(|cluster| cluster.level);
        level.is_ok_and(|level| level >= Level::Authored) && !root.document().overriders.is_empty()
    }
}

/// The time of a checkpoint that did not cover the entry at `index` yet.
fn before(seen: &Seen, index: u64) -> Option<Time> {
    let seconds = seen.clock().filter(|_| seen.size <= index)?;
    Time::from_ms(seconds.checked_mul(1_000)?).ok()
}

#[cfg(test)]
mod tests {
    use countersign_ledger::Digest;
    use countersign_ledger::manifest::{Content, ObjectLine, OrphanLine, TombstoneLine};
    use countersign_ledger::verify::deletions::Stood as _;

    use super::*;

    fn id(n: usize) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "default".into(),
            name: format!("o{n}"),
        }
    }

    #[test]
    fn a_state_is_noted_by_identity_and_app() {
        let commit = "1".repeat(40);
        let object = |app: &str, n| {
            Line::Object(ObjectLine {
                id: id(n),
                app: app.into(),
                commit: commit.clone(),
                wave: 0,
                bytes: 1,
                content: Content::Plain {
                    sha256: Digest::of(b"x"),
                },
            })
        };
        let lines = [
            object("cart", 1),
            object("blog", 2),
            object("cart", 3),
            Line::Tombstone(TombstoneLine {
                id: id(4),
                app: "cart".into(),
                commit: commit.clone(),
            }),
            Line::Orphan(OrphanLine {
                id: id(5),
                app: "shop".into(),
                commit: commit.clone(),
                reason: "APP_REMOVED".into(),
            }),
        ];
        let stood = Stood::of(7, &lines);
        assert_eq!(stood.generation(), 7);
        let had: Vec<_> = (1..=6).map(|n| stood.had(&id(n))).collect();
        let (cart, blog) = (Some(Had::Object("cart")), Some(Had::Object("blog")));
        let (gone, left) = (Some(Had::Tombstone), Some(Had::Orphan));
        assert_eq!(had, [cart, blog, cart, gone, left, None]);
        let counts = ["cart", "blog", "shop"].map(|app| stood.objects(app));
        assert_eq!(counts, [2, 1, 0]);
    }

    #[test]
    fn only_a_checkpoint_without_the_state_says_when_it_was_not_there() {
        let seen = |size, time| Seen {
            size,
            root: Digest::of(b"root"),
            note: Default::default(),
            time,
            before: None,
        };
        assert_eq!(before(&seen(9, Some(2)), 9), Time::from_ms(2_000).ok());
        assert_eq!(before(&seen(10, Some(2)), 9), None);
        assert_eq!(before(&seen(9, None), 9), None);
    }
}
