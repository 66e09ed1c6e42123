//! People's word for a state: the commits that came with it, judged from the last verified state's commit on.

use bytes::Bytes;
use countersign_ledger::commit::{self, Oid, People};
use countersign_ledger::trust::Person;
use countersign_ledger::verify::{AuthorRefused, Judge};

use super::Untrusted;

/// Raw commits and trees as they came, and from where on they are judged.
#[derive(Debug, Clone)]
pub struct Commits {
    /// The commit of the last verified state; none at a first judgement.
    pub old: Option<String>,
    /// The objects, each framed; their ids are recomputed from their bytes.
    pub objects: Untrusted<Vec<Bytes>>,
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
