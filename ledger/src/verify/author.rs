//! Check 6, from level `authored` on: people whom the trust root allows signed the commits behind a state.
//!
//! How commits are judged is a matter of Git's formats and stands elsewhere, behind [`Judge`]; here stands whose word is asked
//! for, and that a state stays out of reach without it.

use crate::refusal::Refusal;
use crate::trust::Person;

use super::Known;
use super::chain::VerifiedStatement;
use super::checkpoint::Seen;

/// Judges commits by their raw objects.
pub trait Judge {
    /// Whether `people` signed every commit from the last one that was judged here to `commit`, each for the paths that it
    /// changes. `time` is in seconds since 1970, of the newest quorum.
    ///
    /// # Errors
    /// Why not, with its code.
    fn judge(
        &self,
        people: &[Person],
        commit: &str,
        time: Option<u64>,
    ) -> Result<(), AuthorRefused>;
}

/// Why commits are not people's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorRefused {
    /// The stable name of the cause.
    pub code: &'static str,
    /// The same, for a person.
    pub problem: String,
}

/// Checks that people of the newest trust root stand behind the commit of `statement`.
pub fn authored(
    known: &Known,
    statement: VerifiedStatement,
    judge: &dyn Judge,
) -> Result<VerifiedStatement, Refusal> {
    let people = &known.roots.newest().document().people;
    let time = known.seen.as_ref().and_then(Seen::clock);
    judge
        .judge(people, &statement.desired().commit, time)
        .map_err(|AuthorRefused { code, problem }| Refusal::AuthorRefused { code, problem })?;
    Ok(statement.mark_authored())
}
