//! People's word for a state: the commits that came with it, judged from the last verified state's commit on.

use bytes::Bytes;
use countersign_ledger::commit::limits::{OBJECT_BYTES_MAX, OBJECTS_MAX};
use countersign_ledger::commit::{self, Oid, People};
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::Person;
use countersign_ledger::verify::{AuthorRefused, Judge};

use super::Untrusted;

/// Raw commits and trees as they came, and from where on they are judged.
#[derive(Debug, Clone)]
pub struct Commits {
    /// The commit up to which commits were judged here; none at a first judgement.
    pub old: Option<String>,
    /// The objects, each framed; their ids are recomputed from their bytes.
    pub objects: Untrusted<Vec<Bytes>>,
}

/// Raw Git objects as they come, message by message. What exceeds the judge's limits is not kept.
#[derive(Debug, Clone, Default)]
pub(super) struct GitObjects {
    pub(super) objects: Vec<Bytes>,
    bytes: usize,
}

impl GitObjects {
    /// # Errors
    /// `COMMIT_LIMIT` where the judge would refuse them for their number or size.
    pub(super) fn take(&mut self, came: &[Bytes]) -> Result<(), Refusal> {
        let bytes = came.iter().map(Bytes::len).sum::<usize>();
        self.bytes = self.bytes.saturating_add(bytes);
        let count = self.objects.len().saturating_add(came.len());
        if count > OBJECTS_MAX || self.bytes > OBJECT_BYTES_MAX {
            return Err(Refusal::AuthorRefused {
                code: "COMMIT_LIMIT",
                problem: format!(
                    "more than {OBJECTS_MAX} Git objects or {OBJECT_BYTES_MAX} bytes of them for one judgement"
                ),
            });
        }
        self.objects.extend_from_slice(came);
        Ok(())
    }
}

impl Judge for Commits {
    fn judge(
        &self,
        people: &[Person],
        commit: &str,
        time: Option<u64>,
    ) -> Result<(), AuthorRefused> {
        // Keys have ends, and only the witnesses' clock counts.
        let time = time.ok_or_else(|| {
            refused(
                "COMMIT_TIME_UNKNOWN",
                "no quorum of witnesses gave a time to judge keys at",
            )
        })?;
        let people =
            People::read(people).map_err(|mistake| refused("PEOPLE_UNREADABLE", mistake))?;
        let old = self.old.as_deref().map(id).transpose()?;
        commit::authored(&people, old, id(commit)?, &self.objects.0, time)
            .map(drop)
            .map_err(|refusal| refused(refusal.code(), &refusal))
    }
}

fn id(commit: &str) -> Result<Oid, AuthorRefused> {
    commit
        .parse()
        .map_err(|invalid| refused("COMMIT_MALFORMED", format!("{commit:?}: {invalid}")))
}

fn refused(code: &'static str, problem: impl ToString) -> AuthorRefused {
    AuthorRefused {
        code,
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn code(old: Option<&str>, commit: &str, time: Option<u64>) -> Option<&'static str> {
        let judge = Commits {
            old: old.map(str::to_owned),
            objects: Untrusted(Vec::new()),
        };
        let judged = judge.judge(&[], commit, time);
        judged.err().map(|refused| refused.code)
    }

    #[test]
    fn without_objects_no_commit_is_anybodys_word() {
        assert_eq!(code(None, COMMIT, Some(1)), Some("COMMIT_MISSING"));
        let other = "01".repeat(20);
        assert_eq!(code(Some(&other), COMMIT, Some(1)), Some("COMMIT_MISSING"));
    }

    #[test]
    fn without_a_time_or_an_id_nothing_is_judged() {
        assert_eq!(code(None, COMMIT, None), Some("COMMIT_TIME_UNKNOWN"));
        assert_eq!(code(None, "main", Some(1)), Some("COMMIT_MALFORMED"));
        assert_eq!(
            code(Some("main"), COMMIT, Some(1)),
            Some("COMMIT_MALFORMED")
        );
    }
}
