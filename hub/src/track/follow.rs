//! One look at the tracked ref: resolve its name once, fetch if it moved, decide, copy, check. Blocking.
//!
//! The name is resolved to an id first; from then on only ids are used, so a ref that moves meanwhile changes nothing.

use std::path::{Path, PathBuf};

use git2::{Repository, RepositoryOpenFlags};

use countersign_ledger::digest::Digest;

use crate::track::id::{CommitId, OID_BYTES, TreeId};
use crate::track::limits::{COMMITS_WALKED_MAX, FetchLimits};
use crate::track::mirror::{Mirror, Stores, copy, fault, history, incoming::Incoming};
use crate::track::protocol::Want;
use crate::track::refmove::{Decision, RewritePermit, Seen, decide};
use crate::track::refname::RefName;
use crate::track::remote::Remote;
use crate::track::signer::{self, SignatureKind};
use crate::track::treecheck::{self, Notice, Stopped};
use crate::track::trouble::Trouble;

/// The ref moved to this commit, which is in the mirror, whole and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where to.
    pub commit: CommitId,
    /// Its root tree.
    pub tree: TreeId,
    /// Where it was when this tracker last accepted a commit.
    pub old: Option<CommitId>,
    /// SHA-256 of the raw commit.
    pub commit_sha256: Digest,
    /// `Name <mail>` as the commit says.
    pub author: String,
    /// First line of its message, for people.
    pub subject: String,
    /// Committer's time as the commit says, seconds since 1970.
    pub time: i64,
    /// Whether it bears a signature; whose is not known yet.
    pub signature: SignatureKind,
    /// A person's permit allowed this move; it is spent when the commit is sealed.
    pub by_permit: Option<RewritePermit>,
    /// What in the tree can't be rendered.
    pub notices: Vec<Notice>,
}

/// Where objects come from.
pub enum Upstream {
    /// A repository on this machine.
    Local {
        /// Its folder.
        path: PathBuf,
        /// Kept open between looks.
        open: Option<Repository>,
    },
    /// Over the network.
    Remote(Remote),
}

/// Follows one ref.
pub struct Follower {
    upstream: Upstream,
    mirror: Mirror,
    name: RefName,
    limits: FetchLimits,
    accepted: Option<CommitId>,
    notices: Vec<Notice>,
    /// The mirror was read through once since it was opened.
    verified: bool,
    /// The object that the ref named at the last look, and how that ended.
    last: Option<([u8; OID_BYTES], Result<(), Trouble>)>,
    /// Fetches of objects since the start; looks that found nothing new are not counted.
    pub fetches: u64,
}

impl Follower {
    /// `accepted` is the commit that was sealed last, if any.
    #[must_use]
    pub const fn new(
        upstream: Upstream,
        mirror: Mirror,
        name: RefName,
        limits: FetchLimits,
        accepted: Option<CommitId>,
    ) -> Self {
        Self {
            upstream,
            mirror,
            name,
            limits,
            accepted,
            notices: Vec::new(),
            verified: false,
            last: None,
            fetches: 0,
        }
    }

    /// The commit that is followed now.
    #[must_use]
    pub const fn accepted(&self) -> Option<CommitId> {
        self.accepted
    }

    /// Where the mirror is.
    #[must_use]
    pub fn mirror(&self) -> &Path {
        self.mirror.path()
    }

    /// Forgets that the last look ended in a refusal, because a permit may have come.
    pub fn look_again_if_refused(&mut self) {
        if self
            .last
            .as_ref()
            .is_some_and(|(_, outcome)| outcome.is_err())
        {
            self.last = None;
        }
    }

    /// Throws the mirror away; the next look fills it.
    ///
    /// # Errors
    /// [`Trouble::MirrorFault`]
    pub fn rebuild(&mut self) -> Result<(), Trouble> {
        self.last = None;
        self.mirror.rebuild()
    }

    /// Looks once. `None`: the ref is where it was at the last look.
    ///
    /// # Errors
    /// [`Trouble`]; what was accepted stays.
    pub fn look(&mut self, permits: &[RewritePermit]) -> Result<Option<Moved>, Trouble> {
        let Some(object) = self.resolve()? else {
            self.last = None;
            return Err(Trouble::RefGone {
                name: self.name.clone(),
            });
        };
        if let Some((seen, outcome)) = &self.last
            && *seen == object
        {
            let outcome = outcome.clone();
            self.close();
            // Nothing has moved, so that nobody waits.
            if let Err(trouble) = self.mirror.compact_if_needed() {
                tracing::warn!(%trouble, "the mirror is not packed");
            }
            return outcome.map(|()| None);
        }
        let outcome = match self.follow(object, permits) {
            Err(trouble @ (Trouble::PackBroken { .. } | Trouble::MirrorFault { .. })) => {
                tracing::warn!(code = trouble.code(), %trouble, "mirror is rebuilt");
                self.mirror.rebuild()?;
                self.resolve()?;
                self.follow(object, permits)
            }
            outcome => outcome,
        };
        self.close();
        // Faults are looked at again next time; refusals stand until the ref moves.
        self.last = match &outcome {
            Ok(_) => Some((object, Ok(()))),
            Err(trouble) if is_verdict(trouble) => Some((object, Err(trouble.clone()))),
            Err(_) => None,
        };
        outcome.map(Some)
    }

    fn close(&mut self) {
        if let Upstream::Remote(remote) = &mut self.upstream {
            remote.close();
        }
    }

    fn resolve(&mut self) -> Result<Option<[u8; OID_BYTES]>, Trouble> {
        match &mut self.upstream {
            Upstream::Remote(remote) => remote.resolve(&self.name, &self.limits),
            Upstream::Local { path, open } => {
                if open.is_none() || !path.exists() {
                    *open = None;
                    *open = Some(open_local(path)?);
                }
                let Some(repository) = open else {
                    return Ok(None);
                };
                match repository
                    .find_reference(self.name.as_str())
                    .and_then(|reference| reference.resolve())
                {
                    Ok(reference) => Ok(reference.target().map(|id| *CommitId::from(id).bytes())),
                    Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
                    Err(error) => Err(Trouble::Unreachable {
                        host: path.display().to_string(),
                        reason: error.message().to_owned(),
                    }),
                }
            }
        }
    }

    fn follow(
        &mut self,
        object: [u8; OID_BYTES],
        permits: &[RewritePermit],
    ) -> Result<Moved, Trouble> {
        let here = Repository::open_bare(self.mirror.path()).map_err(|error| fault(&error))?;
        let id = git2::Oid::from_bytes(&object).map_err(|error| fault(&error))?;
        let known = self.mirror.has(CommitId::from(id))
            && self.accepted.is_none_or(|commit| self.mirror.has(commit));
        let fetched = match &mut self.upstream {
            Upstream::Remote(_) | Upstream::Local { .. } if known => None,
            Upstream::Local { path, .. } => {
                self.fetches += 1;
                Some(open_local(path)?)
            }
            Upstream::Remote(remote) => {
                let have: Vec<_> = self
                    .accepted
                    .filter(|commit| self.mirror.has(*commit))
                    .map(|commit| *commit.bytes())
                    .into_iter()
                    .collect();
                let depth_one = self.accepted.is_none();
                let shallow = if have.is_empty() {
                    Vec::new()
                } else {
                    self.mirror.shallow()
                };
                self.fetches += 1;
                let mut incoming = Incoming::begin(self.mirror.path())?;
                remote.fetch(
                    Want {
                        tip: object,
                        have,
                        shallow,
                        depth_one,
                    },
                    &self.limits,
                    &mut incoming,
                )?;
                Some(incoming.finish()?)
            }
        };
        let from = match &fetched {
            Some(fetched) => Stores::of(&[fetched, &here])?,
            None => Stores::of(&[&here])?,
        };
        self.accept(&from, id, permits)
    }

    fn accept(
        &mut self,
        from: &Stores<'_>,
        object: git2::Oid,
        permits: &[RewritePermit],
    ) -> Result<Moved, Trouble> {
        let tip = from
            .peel(object)?
            .map(CommitId::from)
            .ok_or_else(|| Trouble::NotACommit {
                name: self.name.clone(),
            })?;
        let decision = decide(
            &self.name,
            self.accepted,
            Seen::At(tip),
            permits,
            |had, tip| {
                let (had, tip) = (
                    had.oid().map_err(|e| fault(&e))?,
                    tip.oid().map_err(|e| fault(&e))?,
                );
                history::descent(tip, had, COMMITS_WALKED_MAX, |commit| {
                    copy::parents(from, commit)
                })
            },
        )?;
        let by_permit = matches!(
            decision,
            Decision::Move {
                by_permit: true,
                ..
            }
        );
        let raw = from
            .commit(tip.oid().map_err(|e| fault(&e))?)?
            .ok_or_else(|| Trouble::NotACommit {
                name: self.name.clone(),
            })?;
        let commit = signer::read(tip, &raw)?;
        let old_tree = self
            .accepted
            .filter(|had| *had != tip)
            .map(|had| self.tree_of(from, had))
            .transpose()?
            .flatten();
        let earlier = self.notices.clone();
        let notices = self.check(from, old_tree, &commit, earlier)?;
        copy::commit(from, &mut self.mirror, tip, &self.limits)?;
        if let Some(had) = self.accepted {
            self.keep(from, had);
        }
        if !self.verified {
            self.mirror.verify(commit.tree)?;
            self.verified = true;
        }
        self.notices.clone_from(&notices);
        let old = self.accepted.replace(tip);
        let by_permit = by_permit.then(|| RewritePermit {
            name: self.name.clone(),
            commit: tip,
        });
        let signature = commit.signature;
        Ok(Moved {
            commit: tip,
            tree: commit.tree,
            old,
            commit_sha256: commit.sha256,
            author: commit.author,
            subject: commit.subject,
            time: commit.time,
            signature,
            by_permit,
            notices,
        })
    }

    /// The commit before is needed to compare with; in a mirror that was filled anew it may be had once more.
    fn keep(&mut self, from: &Stores<'_>, had: CommitId) {
        if !self.mirror.has(had)
            && let Err(trouble) = copy::commit(from, &mut self.mirror, had, &self.limits)
        {
            tracing::warn!(commit = %had, %trouble, "the commit before is not in the mirror");
        }
    }

    fn tree_of(
        &self,
        from: &Stores<'_>,
        commit: CommitId,
    ) -> Result<Option<[u8; OID_BYTES]>, Trouble> {
        if !self.mirror.has(commit) {
            return Ok(None);
        }
        let raw = from.commit(commit.oid().map_err(|e| fault(&e))?)?;
        Ok(raw
            .map(|raw| signer::read(commit, &raw))
            .transpose()?
            .map(|commit| *commit.tree.bytes()))
    }

    fn check(
        &self,
        from: &Stores<'_>,
        old: Option<[u8; OID_BYTES]>,
        commit: &signer::Commit,
        earlier: Vec<Notice>,
    ) -> Result<Vec<Notice>, Trouble> {
        let tree = *commit.tree.bytes();
        let mut notices = treecheck::still_true(from, tree, earlier)?;
        let found = treecheck::scan(from, old, tree).map_err(|stopped| match stopped {
            Stopped::Unsafe { path, defect } => Trouble::TreeUnsafe {
                commit: commit.id,
                path,
                defect: defect.to_owned(),
            },
            Stopped::Trouble(trouble) => trouble,
        })?;
        for notice in found {
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
        Ok(notices)
    }
}

/// A verdict on what the ref names, as opposed to a fault on the way to it.
const fn is_verdict(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::ForcePush { .. }
        | Trouble::CommitMalformed { .. }
        | Trouble::TreeUnsafe { .. }
        | Trouble::NotACommit { .. }
        | Trouble::FetchLimit { .. } => true,
        Trouble::SourceInvalid { .. }
        | Trouble::HostUntrusted { .. }
        | Trouble::CredentialScope { .. }
        | Trouble::AccessDenied { .. }
        | Trouble::Unreachable { .. }
        | Trouble::ProtocolBroken { .. }
        | Trouble::PackBroken { .. }
        | Trouble::RefGone { .. }
        | Trouble::MirrorFault { .. } => false,
    }
}

fn open_local(path: &Path) -> Result<Repository, Trouble> {
    let none: [&std::ffi::OsStr; 0] = [];
    Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH, none).map_err(|error| {
        let host = path.display().to_string();
        match error.code() {
            git2::ErrorCode::NotFound => Trouble::Unreachable {
                host,
                reason: "there is no Git repository".into(),
            },
            git2::ErrorCode::Owner => Trouble::AccessDenied {
                host,
                detail: "it belongs to another user; list it as safe.directory".into(),
            },
            _ => Trouble::Unreachable {
                host,
                reason: error.message().to_owned(),
            },
        }
    })
}
