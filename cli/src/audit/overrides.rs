//! People's overrides after the fact: when one ended, and what it let through.

use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Override, Permit, PermitKind};
use countersign_ledger::time::Time;

/// A person's word, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The entry.
    pub index: u64,
    /// What it says.
    pub says: Override,
}

/// How an override ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It holds yet.
    Open,
    /// Its time was over.
    Expired(Time),
    /// A person ended it before its time, with this entry.
    Resumed(Time, u64),
}

impl Word {
    /// When it ended, if it did. A resume ends the pauses that stand before it and that it covers.
    pub fn end(&self, words: &[Self], now: Time) -> End {
        let resumed = words.iter().find(|word| word.resumes(self));
        match resumed {
            Some(word) if word.says.issued < self.says.until => {
                End::Resumed(word.says.issued, word.index)
            }
            _ if self.says.until <= now => End::Expired(self.says.until),
            _ => End::Open,
        }
    }

    fn resumes(&self, pause: &Self) -> bool {
        self.says.kind == OverrideKind::Resume
            && pause.says.kind == OverrideKind::Pause
            && self.index > pause.index
            && self.says.covers(&pause.says)
    }

    /// Whether a state's permit rests on this word.
    pub fn permits(&self, cluster: &str, permit: &Permit) -> bool {
        let says = &self.says;
        if says.cluster.as_deref().is_some_and(|name| name != cluster) {
            return false;
        }
        match (says.kind, permit.permit) {
            (OverrideKind::Deletion, PermitKind::Deletion) => {
                says.what == permit.object && says.app.as_ref() == Some(&permit.subject)
            }
            (OverrideKind::Policies, PermitKind::Policies) => says.what == permit.object,
            (OverrideKind::Rewrite, PermitKind::Rewrite) => {
                says.what.split_once(' ') == Some((&permit.subject, &permit.object))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(ms: u64) -> Time {
        Time::from_ms(ms).unwrap()
    }

    fn word(index: u64, kind: OverrideKind, cluster: &str, app: &str, issued: u64) -> Word {
        let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Word {
            index,
            says: Override {
                fleet: "acme".into(),
                kind,
                cluster: some(cluster),
                app: some(app),
                what: String::new(),
                reason: "night".into(),
                by: "olga".into(),
                issued: time(issued),
                until: time(100),
            },
        }
    }

    #[test]
    fn a_pause_ends_by_the_first_resume_that_covers_it_or_by_itself() {
        let pause = word(5, OverrideKind::Pause, "eks-a", "cart", 10);
        let resume =
            |index, cluster, app, issued| word(index, OverrideKind::Resume, cluster, app, issued);
        for (words, now, want) in [
            (vec![], 99, End::Open),
            (vec![], 100, End::Expired(time(100))),
            (
                vec![resume(6, "eks-a", "cart", 20)],
                99,
                End::Resumed(time(20), 6),
            ),
            (
                vec![resume(6, "", "", 20), resume(7, "eks-a", "", 30)],
                500,
                End::Resumed(time(20), 6),
            ),
            (vec![resume(4, "", "", 20)], 99, End::Open),
            (vec![resume(6, "metal-b", "", 20)], 99, End::Open),
            (vec![resume(6, "eks-a", "pay", 20)], 99, End::Open),
            (vec![resume(6, "", "", 200)], 300, End::Expired(time(100))),
        ] {
            assert_eq!(pause.end(&words, time(now)), want, "{words:?}");
        }
        let glass = word(5, OverrideKind::BreakGlass, "eks-a", "", 10);
        assert_eq!(glass.end(&[resume(6, "", "", 20)], time(50)), End::Open);
    }

    #[test]
    fn a_permit_rests_on_the_word_that_names_exactly_it() {
        let permit = |permit, subject: &str, object: &str| Permit {
            permit,
            subject: subject.into(),
            object: object.into(),
            by: "olga".into(),
            reason: "gone".into(),
        };
        let given = |kind, app: &str, what: &str| {
            let mut word = word(1, kind, "eks-a", app, 10);
            what.clone_into(&mut word.says.what);
            word
        };
        let deletion = given(OverrideKind::Deletion, "cart", "m");
        let its = permit(PermitKind::Deletion, "cart", "m");
        assert!(deletion.permits("eks-a", &its));
        assert!(!deletion.permits("metal-b", &its));
        assert!(!deletion.permits("eks-a", &permit(PermitKind::Deletion, "pay", "m")));
        assert!(!deletion.permits("eks-a", &permit(PermitKind::Policies, "cart", "m")));
        let rewrite = given(OverrideKind::Rewrite, "", "refs/heads/main c");
        assert!(rewrite.permits(
            "eks-a",
            &permit(PermitKind::Rewrite, "refs/heads/main", "c")
        ));
        assert!(!rewrite.permits(
            "eks-a",
            &permit(PermitKind::Rewrite, "refs/heads/main", "d")
        ));
    }
}
