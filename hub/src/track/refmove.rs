//! May the tracked ref move from where it was to where it is? Pure: what was seen goes in, the decision comes out.

use crate::track::id::CommitId;
use crate::track::refname::RefName;
use crate::track::trouble::Trouble;

/// What the remote says the ref is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The ref leads to this commit.
    At(CommitId),
    /// The ref does not exist.
    Gone,
}

/// How the commit that was seen relates to the accepted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descent {
    /// The accepted commit is among its ancestors.
    Descendant,
    /// It is not, or it could not be proven within the limits.
    Unproven,
}

/// A person's permit for one rewrite of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewritePermit {
    /// Ref that it is for.
    pub name: RefName,
    /// The only commit that it allows.
    pub commit: CommitId,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The ref is where it was.
    Unmoved,
    /// Follow it.
    Move {
        /// Where to.
        to: CommitId,
        /// A permit allowed it and is spent by it.
        by_permit: bool,
    },
}

/// Decides one observation.
///
/// `descent` is asked only when it matters, since it walks history.
///
/// # Errors
/// [`Trouble::RefGone`], [`Trouble::ForcePush`], or what `descent` failed with.
pub fn decide(
    name: &RefName,
    accepted: Option<CommitId>,
    seen: Seen,
    permits: &[RewritePermit],
    descent: impl FnOnce(CommitId, CommitId) -> Result<Descent, Trouble>,
) -> Result<Decision, Trouble> {
    let to = match seen {
        Seen::At(commit) => commit,
        Seen::Gone => return Err(Trouble::RefGone { name: name.clone() }),
    };
    let Some(had) = accepted else {
        return Ok(Decision::Move {
            to,
            by_permit: false,
        });
    };
    if had == to {
        return Ok(Decision::Unmoved);
    }
    match descent(had, to)? {
        Descent::Descendant => Ok(Decision::Move {
            to,
            by_permit: false,
        }),
        Descent::Unproven
            if permits
                .iter()
                .any(|permit| permit.name == *name && permit.commit == to) =>
        {
            Ok(Decision::Move {
                to,
                by_permit: true,
            })
        }
        Descent::Unproven => Err(Trouble::ForcePush {
            name: name.clone(),
            had,
            got: to,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(byte: u8) -> CommitId {
        CommitId::from([byte; 20])
    }

    fn name(text: &str) -> RefName {
        RefName::parse(text).unwrap()
    }

    fn check(
        accepted: Option<u8>,
        seen: Seen,
        descent: Descent,
        permits: &[RewritePermit],
    ) -> Result<Decision, &'static str> {
        decide(
            &name("main"),
            accepted.map(commit),
            seen,
            permits,
            |_, _| Ok(descent),
        )
        .map_err(|trouble| trouble.code())
    }

    #[test]
    fn the_first_commit_is_taken_as_it_is() {
        let moved = check(None, Seen::At(commit(1)), Descent::Unproven, &[]);
        assert_eq!(
            moved,
            Ok(Decision::Move {
                to: commit(1),
                by_permit: false
            })
        );
    }

    #[test]
    fn a_descendant_is_followed() {
        let moved = check(Some(1), Seen::At(commit(2)), Descent::Descendant, &[]);
        assert_eq!(
            moved,
            Ok(Decision::Move {
                to: commit(2),
                by_permit: false
            })
        );
    }

    #[test]
    fn the_same_commit_is_no_move_and_walks_no_history() {
        let unmoved = decide(
            &name("main"),
            Some(commit(1)),
            Seen::At(commit(1)),
            &[],
            |_, _| {
                Err(Trouble::MirrorFault {
                    reason: "history was walked".into(),
                })
            },
        );
        assert_eq!(unmoved, Ok(Decision::Unmoved));
    }

    #[test]
    fn rewritten_history_is_refused_until_exactly_that_commit_is_permitted() {
        let seen = Seen::At(commit(2));
        let permit = |name_text: &str, byte| RewritePermit {
            name: name(name_text),
            commit: commit(byte),
        };
        assert_eq!(
            check(Some(1), seen, Descent::Unproven, &[]),
            Err("FORCE_PUSH")
        );
        assert_eq!(
            check(Some(1), seen, Descent::Unproven, &[permit("main", 3)]),
            Err("FORCE_PUSH")
        );
        assert_eq!(
            check(Some(1), seen, Descent::Unproven, &[permit("other", 2)]),
            Err("FORCE_PUSH")
        );
        let moved = check(Some(1), seen, Descent::Unproven, &[permit("main", 2)]);
        assert_eq!(
            moved,
            Ok(Decision::Move {
                to: commit(2),
                by_permit: true
            })
        );
    }

    #[test]
    fn a_permit_is_not_spent_on_an_ordinary_push() {
        let permit = RewritePermit {
            name: name("main"),
            commit: commit(2),
        };
        let moved = check(Some(1), Seen::At(commit(2)), Descent::Descendant, &[permit]);
        assert_eq!(
            moved,
            Ok(Decision::Move {
                to: commit(2),
                by_permit: false
            })
        );
    }

    #[test]
    fn a_deleted_ref_keeps_the_last_commit() {
        assert_eq!(
            check(Some(1), Seen::Gone, Descent::Descendant, &[]),
            Err("REF_GONE")
        );
        assert_eq!(
            check(None, Seen::Gone, Descent::Descendant, &[]),
            Err("REF_GONE")
        );
    }
}
