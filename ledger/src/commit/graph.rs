//! Which commits lie between two, and where two branches part. Committer's times only decide what is read first.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};

use super::oid::Oid;
use super::reader::Reader;
use super::refusal::AuthorRefusal;
use super::source::Objects;

const LEFT: u8 = 1;
const RIGHT: u8 = 2;
const BOTH: u8 = LEFT | RIGHT;

/// Marks commits with the side from which they are reached, newest first, until nothing open is left.
struct Paint<'r, O> {
    reader: &'r mut Reader<O>,
    marks: BTreeMap<Oid, u8>,
    queue: BinaryHeap<(i64, Oid)>,
    /// The marks that close a commit: nothing beyond it is looked for.
    closing: u8,
    /// Reached, not closed, and not followed yet.
    open: HashSet<Oid>,
}

impl<'r, O: Objects> Paint<'r, O> {
    fn new(reader: &'r mut Reader<O>, closing: u8) -> Self {
        Self {
            reader,
            marks: BTreeMap::new(),
            queue: BinaryHeap::new(),
            closing,
            open: HashSet::new(),
        }
    }

    fn mark(&mut self, id: Oid, mark: u8) -> Result<(), AuthorRefusal> {
        let marks = self.marks.entry(id).or_default();
        if *marks | mark == *marks {
            return Ok(());
        }
        *marks |= mark;
        if *marks & self.closing == self.closing {
            self.open.remove(&id);
        } else {
            self.open.insert(id);
        }
        // One that is not there has no parents to follow. Where it is needed, its lack is a refusal.
        if let Some(commit) = self.reader.find(id)? {
            self.queue.push((commit.time, id));
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), AuthorRefusal> {
        while !self.open.is_empty()
            && let Some((_, id)) = self.queue.pop()
        {
            self.open.remove(&id);
            let mark = self.marks.get(&id).copied().unwrap_or_default();
            for parent in self.reader.commit(id)?.parents.clone() {
                self.mark(parent, mark)?;
            }
        }
        self.settle()
    }

    /// Times may lie: a commit that was followed before its last mark passes that on, without reading more.
    fn settle(&mut self) -> Result<(), AuthorRefusal> {
        let mut stack: Vec<Oid> = self.marks.keys().copied().collect();
        while let Some(id) = stack.pop() {
            let mark = self.marks.get(&id).copied().unwrap_or_default();
            let Some(commit) = self.reader.find(id)? else {
                continue;
            };
            for parent in &commit.parents {
                if let Some(marks) = self.marks.get_mut(parent)
                    && *marks | mark != *marks
                {
                    *marks |= mark;
                    stack.push(*parent);
                }
            }
        }
        Ok(())
    }
}

/// Commits that `side` leads to and `known` does not, in the order of their ids.
pub(super) fn beyond<O: Objects>(
    reader: &mut Reader<O>,
    side: &[Oid],
    known: &[Oid],
) -> Result<Vec<Oid>, AuthorRefusal> {
    let mut paint = Paint::new(reader, RIGHT);
    for id in known {
        paint.mark(*id, RIGHT)?;
    }
    for id in side {
        paint.mark(*id, LEFT)?;
    }
    paint.run()?;
    let found: Vec<Oid> = paint
        .marks
        .iter()
        .filter(|(_, mark)| **mark == LEFT)
        .map(|(id, _)| *id)
        .collect();
    for id in &found {
        reader.commit(*id)?;
    }
    Ok(found)
}

/// The one newest commit that both lead to; `None` if there is none, or more than one.
pub(super) fn fork_point<O: Objects>(
    reader: &mut Reader<O>,
    one: Oid,
    other: Oid,
) -> Result<Option<Oid>, AuthorRefusal> {
    let mut paint = Paint::new(reader, BOTH);
    paint.mark(other, RIGHT)?;
    paint.mark(one, LEFT)?;
    paint.run()?;
    let common: BTreeSet<Oid> = paint
        .marks
        .iter()
        .filter(|(_, mark)| **mark == BOTH)
        .map(|(id, _)| *id)
        .collect();
    // Those that another one leads to are older.
    let mut older = HashSet::new();
    let mut stack: Vec<Oid> = common.iter().copied().collect();
    while let Some(id) = stack.pop() {
        let Some(commit) = reader.find(id)? else {
            continue;
        };
        for parent in &commit.parents {
            if common.contains(parent) && older.insert(*parent) {
                stack.push(*parent);
            }
        }
    }
    let mut newest = common.into_iter().filter(|id| !older.contains(id));
    Ok(match (newest.next(), newest.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    })
}
