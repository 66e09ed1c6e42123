//! Commits as people's word: who signed each, and may they change what it changes? Hub and agent share this judge.
//!
//! Comes in: the people of the trust root, the last commit and the new one, raw commits and trees, a time. Goes out:
//! [`Authored`], or the [`AuthorRefusal`]. All ids are recomputed, nothing is taken from the names that a sender gives.
//!
//! Read [`walk`](self) in this order: `walk` (which commits, what of them), `change` (paths), `signature` (whose),
//! `sshsig` and `openpgp` (the two kinds), `object` and `tree` (bytes), `people` (the trust root's word).
//!
//! **A first judgement**, without a last commit, goes down the first parents to the newest commit that a person signed who
//! may change everything: that signature vouches for the whole tree.
//!
//! **The forge's key** counts for merges alone, see [`AuthorRefusal::ForgeNotMerge`] and [`AuthorRefusal::ForgeContent`].
//!
//! **Time** is the caller's: the newest cosignature's, never a commit's own.

mod change;
mod graph;
pub mod limits;
pub mod object;
pub mod oid;
mod openpgp;
mod paths;
mod people;
mod reader;
mod refusal;
mod signature;
mod source;
mod sshsig;
#[cfg(test)]
mod tests;
pub mod tree;
mod walk;

pub use object::Commit;
pub use oid::{HashKind, ObjectKind, Oid};
pub use openpgp::OpenPgpKey;
pub use paths::Paths;
pub use people::{Member, People, PersonMistake};
pub use refusal::AuthorRefusal;
pub use signature::{Signer, signer};
pub use source::frame;
pub use sshsig::SshKey;

use std::collections::BTreeSet;

use source::{Given, Recorded};
use walk::Walk;

/// Commits each of which a person signed who may change what it changes. Only the judge makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authored {
    commits: Vec<AuthoredCommit>,
}

/// A commit and whose word it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoredCommit {
    /// The commit.
    pub id: Oid,
    /// The signer, by the trust root's name.
    pub signer: String,
    /// The fingerprint of the signer's key.
    pub key: String,
}

impl Authored {
    /// The commits: those of merged branches first, then the branch itself, the new one last. None if nothing is new.
    #[must_use]
    pub fn commits(&self) -> &[AuthoredCommit] {
        &self.commits
    }

    /// Everybody who signed one.
    #[must_use]
    pub fn signers(&self) -> BTreeSet<&str> {
        self.commits
            .iter()
            .map(|commit| commit.signer.as_str())
            .collect()
    }

    fn of(done: Vec<(Oid, Signer<'_>)>) -> Self {
        let commits = done
            .into_iter()
            .map(|(id, signer)| AuthoredCommit {
                id,
                signer: signer.person().name.clone(),
                key: signer.key().to_owned(),
            })
            .collect();
        Self { commits }
    }
}

/// Judges all commits from `old` to `new` by the objects that came, each as [`frame`] writes it.
///
/// # Errors
/// [`AuthorRefusal`]
pub fn authored(
    people: &People,
    old: Option<Oid>,
    new: Oid,
    objects: &[impl AsRef<[u8]>],
    time: u64,
) -> Result<Authored, AuthorRefusal> {
    let given = Given::index(new.hash(), objects)?;
    let (done, _) = Walk::new(people, given, time).run(old, new)?;
    Ok(Authored::of(done))
}

/// Judges as [`authored`] does, by a repository, and collects the objects that another judge needs to find the same.
///
/// # Errors
/// [`AuthorRefusal`]
pub fn prove(
    people: &People,
    old: Option<Oid>,
    new: Oid,
    repository: impl FnMut(ObjectKind, Oid) -> Option<Vec<u8>>,
    time: u64,
) -> Result<(Authored, Vec<Vec<u8>>), AuthorRefusal> {
    let walk = Walk::new(people, Recorded::new(repository), time);
    let (done, recorded) = walk.run(old, new)?;
    Ok((Authored::of(done), recorded.into_objects()))
}
