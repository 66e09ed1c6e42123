//! From the last commit to the new one: is every change somebody's who may make it?
//!
//! Every commit that the new one leads to and the last one does not is checked: its signer, and each path that it changes
//! against its first parent. A merge thus counts against its first parent: who signs it signs for all that it brings. Since
//! the new commit leads to the last one by first parents, the difference of their trees is the sum of changes that were
//! allowed. The commits of merged branches are checked in the same way; that they end at something known is proven by the
//! last commit's own ancestors, whose ids follow from its id.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::change::{self, Merge};
use super::graph;
use super::object::Commit;
use super::oid::Oid;
use super::people::People;
use super::reader::Reader;
use super::refusal::AuthorRefusal;
use super::signature::{Signer, signer};
use super::source::Objects;

pub(super) struct Walk<'p, O> {
    people: &'p People,
    reader: Reader<O>,
    time: u64,
    done: Vec<(Oid, Signer<'p>)>,
}

/// The first parents from the new commit down.
struct Line {
    /// Newest first; the last commit is not in it.
    commits: Vec<Oid>,
    /// The last commit, or, where there is none, the first of `commits` whose signer vouches for all of it.
    ground: Option<Oid>,
}

impl<'p, O: Objects> Walk<'p, O> {
    pub(super) fn new(people: &'p People, objects: O, time: u64) -> Self {
        Self {
            people,
            reader: Reader::new(objects),
            time,
            done: Vec::new(),
        }
    }

    /// Judges; returns the commits with their signers, and the source.
    pub(super) fn run(
        mut self,
        old: Option<Oid>,
        new: Oid,
    ) -> Result<(Vec<(Oid, Signer<'p>)>, O), AuthorRefusal> {
        if old != Some(new) {
            let line = match old {
                Some(old) => self.line_to(old, new)?,
                None => self.line_to_ground(new)?,
            };
            let sides = self.sides(&line)?;
            for id in sides.into_iter().chain(line.commits.iter().rev().copied()) {
                // The ground of a first judgement: its signer vouches for the whole tree.
                let whole = old.is_none() && line.ground == Some(id);
                self.check(id, whole)?;
            }
        }
        Ok((self.done, self.reader.into_source()))
    }

    fn line_to(&mut self, old: Oid, new: Oid) -> Result<Line, AuthorRefusal> {
        let mut commits = Vec::new();
        let mut at = new;
        while at != old {
            commits.push(at);
            at = *self
                .reader
                .commit(at)?
                .parents
                .first()
                .ok_or(AuthorRefusal::NotDescended { old, new })?;
        }
        Ok(Line {
            commits,
            ground: Some(old),
        })
    }

    /// Without a last commit: down to a commit signed by a person who may change everything, or to the very first one.
    fn line_to_ground(&mut self, new: Oid) -> Result<Line, AuthorRefusal> {
        let mut commits = Vec::new();
        let mut at = new;
        loop {
            commits.push(at);
            let commit = self.reader.commit(at)?;
            let signer = signer(self.people, at, &commit, self.time)?;
            if signer.person().paths.all() && !signer.person().forge {
                return Ok(Line {
                    commits,
                    ground: Some(at),
                });
            }
            match commit.parents.first() {
                Some(parent) => at = *parent,
                None => {
                    return Ok(Line {
                        commits,
                        ground: None,
                    });
                }
            }
        }
    }

    /// Commits of merged branches that the ground does not lead to.
    fn sides(&mut self, line: &Line) -> Result<Vec<Oid>, AuthorRefusal> {
        let mut sides = Vec::new();
        for id in &line.commits {
            if line.ground != Some(*id) {
                let commit = self.reader.commit(*id)?;
                sides.extend(commit.parents.iter().skip(1).copied());
            }
        }
        if sides.is_empty() {
            return Ok(sides);
        }
        // Only the ground is known, not the line: a commit of the line leads to the very branches that are asked for.
        let known: Vec<Oid> = line.ground.into_iter().collect();
        let mut found = graph::beyond(&mut self.reader, &sides, &known)?;
        let line: BTreeSet<&Oid> = line.commits.iter().collect();
        found.retain(|id| !line.contains(id));
        Ok(found)
    }

    fn check(&mut self, id: Oid, whole: bool) -> Result<(), AuthorRefusal> {
        let commit = self.reader.commit(id)?;
        let signer = signer(self.people, id, &commit, self.time)?;
        if !whole {
            let parent = match commit.parents.first() {
                Some(parent) => Some(self.reader.commit(*parent)?.tree),
                None => None,
            };
            let person = signer.person();
            let uncovered =
                change::uncovered(&mut self.reader, &person.paths, parent, commit.tree)?;
            if let Some(path) = uncovered {
                return Err(AuthorRefusal::PathNotAllowed {
                    commit: id,
                    person: person.name.clone(),
                    path,
                });
            }
            if person.forge {
                self.check_forge(id, &commit, &person.name)?;
            }
        }
        self.done.push((id, signer));
        Ok(())
    }

    /// A forge's key counts for a merge of two branches that people signed, each path of which is as one of them has it by
    /// the rule of the three-way merge. It says nothing of its own. A squash or a rebase of the forge has no signed
    /// commits behind it and is refused.
    fn check_forge(
        &mut self,
        id: Oid,
        commit: &Rc<Commit>,
        person: &str,
    ) -> Result<(), AuthorRefusal> {
        let not_merge = |reason| AuthorRefusal::ForgeNotMerge {
            commit: id,
            person: person.to_owned(),
            reason,
        };
        let [ours, theirs] = commit.parents[..] else {
            return Err(not_merge("it has not two parents"));
        };
        let base = graph::fork_point(&mut self.reader, ours, theirs)?
            .ok_or_else(|| not_merge("its branches do not part at one commit"))?;
        let merge = Merge {
            ours: self.reader.commit(ours)?.tree,
            theirs: self.reader.commit(theirs)?.tree,
            base: self.reader.commit(base)?.tree,
            merged: commit.tree,
        };
        match change::unclean(&mut self.reader, merge)? {
            None => Ok(()),
            Some(path) => Err(AuthorRefusal::ForgeContent {
                commit: id,
                person: person.to_owned(),
                path,
            }),
        }
    }
}
