//! Event, what our last write left, and the time: is it drift?
//!
//! Pure. DRIFT.md measured which changes our entry shows; the exceptions are met here: an apply under our own name in
//! the very second of our write leaves fields and time alike, so an event of that second that is not our own write is
//! looked at in full.

use super::ownership::{Mark, Seen};

/// What our last write left on the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// UID of the object that we wrote.
    pub uid: Box<str>,
    /// Digest of our entry after it.
    pub mark: Mark,
    /// resourceVersion that it got.
    pub revision: u64,
    /// Its generation then.
    pub generation: i64,
    /// Its labels and annotations then.
    pub words: u64,
    /// Seconds since 1970 of our entry.
    pub written: i64,
}

impl Expected {
    /// After a write that was answered by `seen`; none when the answer shows no entry of ours.
    #[must_use]
    pub fn after(seen: &Seen) -> Option<Self> {
        seen.mark.map(|mark| Self {
            uid: seen.uid.clone(),
            mark,
            revision: seen.revision,
            generation: seen.generation,
            words: seen.words,
            written: seen.written,
        })
    }
}

/// What was done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A field that we applied was changed or removed.
    Changed,
    /// The object is gone.
    Deleted,
    /// Something was added beside what we applied.
    Added,
}

impl What {
    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Added => "added",
        }
    }
}

/// What to do about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing of ours changed.
    Nothing,
    /// Ours was changed or is gone: write it again.
    Drift(What),
    /// The entry can't tell: compare in full, once the second has passed.
    LookCloser,
}

/// Whether a change of this kind's spec always raises its generation, so that an equal one rules it out.
fn counts_generations(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        (
            "apps",
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet"
        ) | ("batch", "Job" | "CronJob")
    )
}

/// Judges the state of an object that an event shows. `now` is seconds since 1970.
#[must_use]
pub fn judge(group: &str, kind: &str, expected: &Expected, seen: &Seen, now: i64) -> Verdict {
    if seen.uid == expected.uid && seen.revision <= expected.revision {
        return Verdict::Nothing; // our own write, or one from before it
    }
    if seen.mark != Some(expected.mark) || seen.uid != expected.uid {
        return Verdict::Drift(What::Changed);
    }
    let same_second = now <= expected.written + SAME_SECOND;
    let ruled_out = counts_generations(group, kind)
        && seen.generation == expected.generation
        && seen.words == expected.words;
    if same_second && !ruled_out {
        Verdict::LookCloser
    } else {
        Verdict::Nothing
    }
}

/// Seconds after our write in which an event may stem from the same second: that second itself, and one for the way
/// and for clocks that differ a little.
const SAME_SECOND: i64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(revision: u64, mark: Option<u8>) -> Seen {
        Seen {
            uid: "u".into(),
            revision,
            generation: 1,
            mark: mark.map(|byte| Mark([byte; 16])),
            written: 100,
            words: 5,
            others: 0,
            deleting: false,
            argo: false,
            labelled: true,
        }
    }

    fn check(seen: &Seen, now: i64, want: Verdict) {
        let expected = Expected::after(&self::seen(10, Some(1))).unwrap();
        assert_eq!(judge("", "ConfigMap", &expected, seen, now), want);
    }

    #[test]
    fn our_own_write_and_older_events_are_nothing() {
        check(&seen(10, Some(1)), 100, Verdict::Nothing);
        check(&seen(9, None), 100, Verdict::Nothing);
    }

    #[test]
    fn another_entry_or_none_is_drift() {
        check(&seen(11, Some(2)), 900, Verdict::Drift(What::Changed));
        check(&seen(11, None), 900, Verdict::Drift(What::Changed));
    }

    #[test]
    fn a_recreated_object_is_drift_whatever_its_revision() {
        let other = Seen {
            uid: "v".into(),
            ..seen(11, None)
        };
        check(&other, 900, Verdict::Drift(What::Changed));
    }

    #[test]
    fn the_second_of_our_own_write_is_looked_at_in_full() {
        check(&seen(11, Some(1)), 101, Verdict::LookCloser);
        check(&seen(11, Some(1)), 103, Verdict::Nothing);
    }

    #[test]
    fn a_generation_that_stands_still_rules_a_changed_spec_out() {
        let expected = Expected::after(&seen(10, Some(1))).unwrap();
        assert_eq!(
            judge("apps", "Deployment", &expected, &seen(11, Some(1)), 100),
            Verdict::Nothing
        );
        let raised = Seen {
            generation: 2,
            ..seen(11, Some(1))
        };
        assert_eq!(
            judge("apps", "Deployment", &expected, &raised, 100),
            Verdict::LookCloser
        );
        let relabelled = Seen {
            words: 6,
            ..seen(11, Some(1))
        };
        assert_eq!(
            judge("apps", "Deployment", &expected, &relabelled, 100),
            Verdict::LookCloser
        );
    }
}
