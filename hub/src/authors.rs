//! The commits behind states, as the serving side wants them: judged here on the mirror, with what another judge needs.
//!
//! A push goes to many clusters at once: what was found for the last few pairs of commits is kept, and found once.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use countersign_ledger::commit::{AuthorRefusal, People, PersonMistake};
use countersign_ledger::trust::VerifiedRoot;
use countersign_proto::limits::HEAD_BYTES_MAX;
use futures::future::BoxFuture;
use git2::Repository;
use tokio::sync::Mutex;

use crate::serve::limits::{
    GIT_OBJECTS_PER_HEAD_BYTES_MAX, JUDGEMENTS_KEPT_BYTES_MAX, JUDGEMENTS_KEPT_MAX,
    REFUSED_JUDGEMENT_KEPT,
};
use crate::serve::{Clock, Commits, NoCommits};
use crate::track::id::CommitId;
use crate::track::mirror::proof::{Proof, collect};
use crate::track::trouble::Trouble;

/// What was found of the commits between two, kept for the next who asks.
pub struct Judgements {
    mirror: PathBuf,
    people: Result<Arc<People>, PersonMistake>,
    clock: Clock,
    kept: Mutex<VecDeque<Judgement>>,
}

struct Judgement {
    between: (Option<CommitId>, CommitId),
    /// What an agent judges by, or why it would not look at it.
    answer: Result<Arc<[Bytes]>, NoCommits>,
    /// Of one that found a fault.
    refused: Option<Instant>,
}

impl Judgement {
    fn counts(&self) -> bool {
        self.refused
            .is_none_or(|since| since.elapsed() < REFUSED_JUDGEMENT_KEPT)
    }
}

impl Judgements {
    /// By the people of a trust root, on the mirror in this folder.
    #[must_use]
    pub fn new(mirror: &Path, root: &VerifiedRoot) -> Self {
        Self {
            mirror: mirror.to_owned(),
            people: People::read(&root.document().people).map(Arc::new),
            clock: Clock::system(),
            kept: Mutex::default(),
        }
    }

    async fn judge(&self, old: Option<CommitId>, new: CommitId) -> Result<Judgement, NoCommits> {
        let people = match &self.people {
            Ok(people) => Arc::clone(people),
            Err(mistake) => {
                return Err(NoCommits::Refused {
                    code: "PEOPLE_UNREADABLE",
                    problem: mistake.to_string(),
                });
            }
        };
        let time = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let mirror = self.mirror.clone();
        let proof = tokio::task::spawn_blocking(move || {
            let repository = Repository::open_bare(&mirror).map_err(|error| {
                let reason = error.to_string();
                Trouble::MirrorFault { reason }
            })?;
            collect(&repository, &people, old, new, time)
        })
        .await
        .map_err(|error| NoCommits::Unreadable(error.to_string()))?
        .map_err(|trouble| NoCommits::Unreadable(trouble.to_string()))?;
        Ok(judgement((old, new), proof))
    }
}

/// A refusal is kept like any other, or each attempt of each agent would walk the same commits again.
fn judgement(between: (Option<CommitId>, CommitId), proof: Proof) -> Judgement {
    let refused = proof.judged.is_err();
    let answer = answer(between, proof);
    Judgement {
        between,
        refused: (refused || answer.is_err()).then(Instant::now),
        answer,
    }
}

fn answer(
    (old, new): (Option<CommitId>, CommitId),
    proof: Proof,
) -> Result<Arc<[Bytes]>, NoCommits> {
    let span = || match old {
        Some(old) => format!("from commit {old} to {new}"),
        None => format!("up to commit {new}"),
    };
    if let Err(refusal) = &proof.judged {
        tracing::warn!(code = refusal.code(), %refusal, "commits that agents will refuse");
        if let AuthorRefusal::Limit { .. } = refusal {
            return Err(NoCommits::Refused {
                code: refusal.code(),
                problem: format!("{}: {refusal} for one judgement", span()),
            });
        }
    }
    let largest = proof.objects.iter().map(Vec::len).max().unwrap_or(0);
    if largest > GIT_OBJECTS_PER_HEAD_BYTES_MAX {
        return Err(NoCommits::Refused {
            code: "COMMIT_LIMIT",
            problem: format!(
                "{}: a tree of {largest} bytes fits in no message of {HEAD_BYTES_MAX}",
                span()
            ),
        });
    }
    Ok(proof.objects.into_iter().map(Bytes::from).collect())
}

/// Keeps the newest ones, as far as their number and size allow.
fn shrink(kept: &mut VecDeque<Judgement>) {
    kept.truncate(JUDGEMENTS_KEPT_MAX);
    let mut left = JUDGEMENTS_KEPT_BYTES_MAX;
    let mut fits = |found: &Judgement| {
        let objects = found.answer.as_deref().unwrap_or_default();
        let bytes: usize = objects.iter().map(Bytes::len).sum();
        left.checked_sub(bytes).map(|rest| left = rest).is_some()
    };
    let count = kept.iter().map(&mut fits).take_while(|fits| *fits).count();
    kept.truncate(count);
}

impl Commits for Judgements {
    fn between<'a>(
        &'a self,
        old: Option<&'a str>,
        new: &'a str,
    ) -> BoxFuture<'a, Result<Arc<[Bytes]>, NoCommits>> {
        Box::pin(async move {
            let new = new.parse().map_err(|_| {
                NoCommits::Unreadable(format!("a state was made from {new:?}, which is no commit"))
            })?;
            // An agent that names none is answered as if it had judged none: that harms it alone.
            let old = old.and_then(|old| old.parse().ok());
            // One at a time: whoever waits finds what the one before it found.
            let mut kept = self.kept.lock().await;
            kept.retain(Judgement::counts);
            if let Some(found) = kept.iter().find(|found| found.between == (old, new)) {
                return found.answer.clone();
            }
            let found = self.judge(old, new).await?;
            let answer = found.answer.clone();
            kept.push_front(found);
            shrink(&mut kept);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: [u8; 20] = [7; 20];

    fn new() -> CommitId {
        CommitId::from(COMMIT)
    }

    fn found(objects: usize, bytes: usize) -> Judgement {
        Judgement {
            between: (None, new()),
            answer: Ok(vec![Bytes::from(vec![0; bytes]); objects].into()),
            refused: None,
        }
    }

    #[test]
    fn more_than_an_agent_looks_at_is_refused_with_the_limit() {
        let refusal = AuthorRefusal::Limit {
            what: "commits",
            limit: 20_000,
        };
        let proof = Proof {
            judged: Err(refusal),
            objects: Vec::new(),
        };
        let found = judgement((None, new()), proof);
        assert!(found.refused.is_some() && found.counts());
        let Err(NoCommits::Refused { code, problem }) = found.answer else {
            panic!("taken");
        };
        assert_eq!(code, "COMMIT_LIMIT");
        assert!(problem.contains("more than 20000 commits"), "{problem}");
    }

    #[test]
    fn an_object_that_fits_in_no_message_is_refused_with_the_limit() {
        let commit = countersign_ledger::commit::Oid::Sha1(COMMIT);
        let proof = Proof {
            judged: Err(AuthorRefusal::Unsigned { commit }),
            objects: vec![vec![0; GIT_OBJECTS_PER_HEAD_BYTES_MAX + 1]],
        };
        let refused = judgement((None, new()), proof);
        assert!(matches!(
            refused.answer,
            Err(NoCommits::Refused {
                code: "COMMIT_LIMIT",
                ..
            })
        ));
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_size() {
        let mut kept: VecDeque<_> = (0..9).map(|_| found(1, 1)).collect();
        shrink(&mut kept);
        assert_eq!(kept.len(), JUDGEMENTS_KEPT_MAX);
        let mut kept: VecDeque<_> = (0..3).map(|_| found(2, 10 << 20)).collect();
        shrink(&mut kept);
        assert_eq!(kept.len(), 1);
    }

    #[tokio::test]
    async fn what_agents_would_refuse_is_judged_once_for_all_who_ask() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = AuthorRefusal::Limit {
            what: "commits",
            limit: 20_000,
        };
        let proof = Proof {
            judged: Err(refusal),
            objects: Vec::new(),
        };
        // There is no mirror: whoever judged anew would meet a fault.
        let judgements = Judgements {
            mirror: folder.path().join("none"),
            people: Ok(Arc::new(People::default())),
            clock: Clock::system(),
            kept: Mutex::new(VecDeque::from([judgement((None, new()), proof)])),
        };
        for _ in 0..2 {
            let asked = judgements.between(None, &new().to_string()).await;
            let Err(NoCommits::Refused { code, .. }) = asked else {
                panic!("{asked:?}");
            };
            assert_eq!(code, "COMMIT_LIMIT");
        }
    }

    #[tokio::test]
    async fn a_mirror_that_can_not_be_read_is_a_fault_and_not_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let judgements = Judgements {
            mirror: folder.path().join("none"),
            people: Ok(Arc::new(People::default())),
            clock: Clock::system(),
            kept: Mutex::default(),
        };
        let asked = judgements.between(None, &new().to_string()).await;
        assert!(matches!(asked, Err(NoCommits::Unreadable(_))));
    }
}
