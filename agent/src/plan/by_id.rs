//! Values by identity, sorted, in pieces that copies share: a state that differs in one object from the one before it
//! costs one piece, and what differs between the two is found without looking at the rest.
//!
//! Pure.

use std::collections::HashSet;
use std::sync::Arc;

use countersign_ledger::identity::ObjectId;

/// Most entries of a piece: few enough to copy in microseconds, many enough that a list of pieces is short.
const PIECE_MAX: usize = 128;

type Piece<V> = Vec<(Arc<ObjectId>, V)>;

/// A sorted map from identities to `V`.
#[derive(Clone)]
pub struct ById<V> {
    /// None is empty; all of a piece come before all of the next.
    pieces: Vec<Arc<Piece<V>>>,
    len: usize,
}

impl<V> Default for ById<V> {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            len: 0,
        }
    }
}

impl<V: std::fmt::Debug> std::fmt::Debug for ById<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: PartialEq> PartialEq for ById<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<V: Eq> Eq for ById<V> {}

impl<V> ById<V> {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// None at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All, sorted by identity.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<ObjectId>, &V)> {
        self.pieces
            .iter()
            .flat_map(|piece| piece.iter())
            .map(|(id, value)| (id, value))
    }

    /// The identities, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<ObjectId>> {
        self.iter().map(|(id, _)| id)
    }

    /// The value of `id`.
    #[must_use]
    pub fn get(&self, id: &ObjectId) -> Option<&V> {
        self.entry(id).map(|(_, value)| value)
    }

    /// The identity as kept, to share it, and its value.
    #[must_use]
    pub fn entry(&self, id: &ObjectId) -> Option<(&Arc<ObjectId>, &V)> {
        let piece = self.pieces.get(self.piece_of(id)?)?;
        let at = place(piece, id).ok()?;
        piece.get(at).map(|(id, value)| (id, value))
    }

    /// Whether `id` has a value.
    #[must_use]
    pub fn contains_key(&self, id: &ObjectId) -> bool {
        self.get(id).is_some()
    }

    /// The last piece that begins at or before `id`, or the first.
    fn piece_of(&self, id: &ObjectId) -> Option<usize> {
        let after = self
            .pieces
            .partition_point(|piece| piece.first().is_some_and(|(first, _)| **first <= *id));
        (!self.pieces.is_empty()).then(|| after.saturating_sub(1))
    }
}

fn place<V>(piece: &Piece<V>, id: &ObjectId) -> Result<usize, usize> {
    piece.binary_search_by(|(other, _)| (**other).cmp(id))
}

impl<V: Clone> ById<V> {
    /// Puts a value in the place of the one that `id` had.
    pub fn insert(&mut self, id: Arc<ObjectId>, value: V) {
        let Some((at, shared)) = self
            .piece_of(&id)
            .and_then(|at| self.pieces.get_mut(at).map(|piece| (at, piece)))
        else {
            self.pieces.push(Arc::new(vec![(id, value)]));
            self.len = 1;
            return;
        };
        let piece = Arc::make_mut(shared);
        match place(piece, &id) {
            Ok(found) => {
                if let Some((_, old)) = piece.get_mut(found) {
                    *old = value;
                }
                return;
            }
            Err(gap) => piece.insert(gap, (id, value)),
        }
        self.len += 1;
        if piece.len() > PIECE_MAX {
            let rest = piece.split_off(PIECE_MAX / 2);
            piece.shrink_to_fit();
            self.pieces.insert(at + 1, Arc::new(rest));
        }
    }

    /// Takes `id` and its value out.
    pub fn remove(&mut self, id: &ObjectId) -> Option<V> {
        let at = self.piece_of(id)?;
        let shared = self.pieces.get_mut(at)?;
        let found = place(shared, id).ok()?;
        let piece = Arc::make_mut(shared);
        let (_, value) = piece.remove(found);
        if piece.is_empty() {
            self.pieces.remove(at);
        }
        self.len -= 1;
        Some(value)
    }
}

impl<V: PartialEq> ById<V> {
    /// What differs from `before`: each identity with its value before and now. Pieces that both share are not looked at.
    pub fn changes<'a>(
        &'a self,
        before: &'a Self,
    ) -> Vec<(&'a Arc<ObjectId>, Option<&'a V>, Option<&'a V>)> {
        let set = |map: &Self| -> HashSet<*const Piece<V>> {
            map.pieces.iter().map(Arc::as_ptr).collect()
        };
        let (ours, theirs) = (set(self), set(before));
        let own = |map: &'a Self, shared: &HashSet<*const Piece<V>>| -> Vec<&'a Piece<V>> {
            let own = |piece: &&Arc<Piece<V>>| !shared.contains(&Arc::as_ptr(piece));
            map.pieces
                .iter()
                .filter(own)
                .map(|piece| &**piece)
                .collect()
        };
        let mut out = Vec::new();
        for (id, now) in own(self, &theirs).into_iter().flatten() {
            let was = before.get(id);
            if was != Some(now) {
                out.push((id, was, Some(now)));
            }
        }
        for (id, was) in own(before, &ours).into_iter().flatten() {
            if !self.contains_key(id) {
                out.push((id, Some(was), None));
            }
        }
        out
    }
}

impl<V> FromIterator<(Arc<ObjectId>, V)> for ById<V> {
    /// Of an identity that comes twice the last value stands.
    fn from_iter<I: IntoIterator<Item = (Arc<ObjectId>, V)>>(entries: I) -> Self {
        let mut all: Vec<(Arc<ObjectId>, V)> = entries.into_iter().collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut out = Self::default();
        let mut piece: Piece<V> = Vec::with_capacity(PIECE_MAX.min(all.len()));
        let mut left = all.into_iter().peekable();
        while let Some((id, value)) = left.next() {
            if left.peek().is_some_and(|(next, _)| *next == id) {
                continue;
            }
            piece.push((id, value));
            out.len += 1;
            if piece.len() == PIECE_MAX {
                let room = PIECE_MAX.min(left.len());
                let full = std::mem::replace(&mut piece, Vec::with_capacity(room));
                out.pieces.push(Arc::new(full));
            }
        }
        if !piece.is_empty() {
            piece.shrink_to_fit();
            out.pieces.push(Arc::new(piece));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u16) -> Arc<ObjectId> {
        Arc::new(ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "n".into(),
            name: format!("{number:04}"),
        })
    }

    fn number(id: &ObjectId) -> u16 {
        id.name.parse().unwrap()
    }

    fn all(map: &ById<u8>) -> Vec<(u16, u8)> {
        map.iter().map(|(id, value)| (number(id), *value)).collect()
    }

    #[test]
    fn a_copy_shares_all_but_the_piece_that_changed() {
        let before: ById<u8> = (0..1000).map(|number| (id(number), 0)).collect();
        let mut after = before.clone();
        after.insert(id(500), 1);
        let shared = after
            .pieces
            .iter()
            .filter(|piece| before.pieces.iter().any(|other| Arc::ptr_eq(piece, other)))
            .count();
        assert_eq!(shared, after.pieces.len() - 1);
        let changes = after.changes(&before);
        assert_eq!(changes, vec![(&id(500), Some(&0), Some(&1))]);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds_and_names_each_difference_once(
            first in proptest::collection::vec((0u16..600, any::<u8>()), 0..700),
            then in proptest::collection::vec((0u16..600, proptest::option::of(any::<u8>())), 0..300),
        ) {
            let before: ById<u8> = first.iter().map(|(number, value)| (id(*number), *value)).collect();
            let plain: BTreeMap<u16, u8> = first.into_iter().collect();
            prop_assert_eq!(all(&before), plain.clone().into_iter().collect::<Vec<_>>());
            let (mut after, mut expected) = (before.clone(), plain.clone());
            for (number, value) in then {
                match value {
                    Some(value) => {
                        after.insert(id(number), value);
                        expected.insert(number, value);
                    }
                    None => prop_assert_eq!(after.remove(&id(number)), expected.remove(&number)),
                }
                prop_assert_eq!(after.get(&id(number)), expected.get(&number));
            }
            prop_assert_eq!(all(&after), expected.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(all(&before), plain.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!((after.len(), after.is_empty()), (expected.len(), expected.is_empty()));
            prop_assert!(after.pieces.iter().all(|piece| (1..=PIECE_MAX).contains(&piece.len())));
            let mut changes: Vec<_> = after.changes(&before).into_iter().map(|(id, was, now)| (number(id), was.copied(), now.copied())).collect();
            changes.sort();
            let differs = |number: &u16| plain.get(number) != expected.get(number);
            let differences: Vec<_> = (0..600).filter(differs).map(|number| (number, plain.get(&number).copied(), expected.get(&number).copied())).collect();
            prop_assert_eq!(changes, differences);
        }
    }
}
