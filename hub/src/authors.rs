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
    objects: Arc<[Bytes]>,
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
        judgement((old, new), proof)
    }
}

fn judgement(between: (Option<CommitId>, CommitId), proof: Proof) -> Result<Judgement, NoCommits> {
    let (old, new) = between;
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
    Ok(Judgement {
        between,
        objects: proof.objects.into_iter().map(Bytes::from).collect(),
        refused: proof.judged.is_err().then(Instant::now),
    })
}

/// Keeps the newest ones, as far as their number and size allow.
fn shrink(kept: &mut VecDeque<Judgement>) {
    kept.truncate(JUDGEMENTS_KEPT_MAX);
    let mut left = JUDGEMENTS_KEPT_BYTES_MAX;
    let mut fits = |found: &Judgement| {
        let bytes: usize = found.objects.iter().map(Bytes::len).sum();
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
                return Ok(Arc::clone(&found.objects));
            }
            let found = self.judge(old, new).await?;
            let objects = Arc::clone(&found.objects);
            kept.push_front(found);
            shrink(&mut kept);
            Ok(objects)
        })
    }
}
