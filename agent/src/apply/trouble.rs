//! When the API server is in trouble, nothing is deleted for a while: what it says then, and what stands behind it, may
//! not be what it seems.
//!
//! Pure; time comes in.

use std::time::{Duration, Instant};

use super::outcome::Trouble;

/// How long nothing is deleted.
pub const NO_DELETES: Duration = Duration::from_secs(600);
/// Failures within [`WINDOW`] that make a storm; a single one is a hiccup.
const STORM: usize = 3;
/// How long a failure is remembered.
const WINDOW: Duration = Duration::from_secs(60);

/// The API server's last failures.
#[derive(Debug, Default)]
pub struct Troubles {
    failures: [Option<Instant>; STORM],
    until: Option<Instant>,
}

impl Troubles {
    /// One more answer.
    pub fn saw(&mut self, trouble: Trouble, now: Instant) {
        match trouble {
            Trouble::None => {}
            Trouble::StoreFull => self.until = Some(now + NO_DELETES),
            Trouble::Failed => {
                self.failures.rotate_right(1);
                self.failures[0] = Some(now);
                let recent = self.failures.iter().flatten();
                if recent
                    .filter(|then| now.duration_since(**then) < WINDOW)
                    .count()
                    == STORM
                {
                    self.until = Some(now + NO_DELETES);
                }
            }
        }
    }

    /// Until when nothing is deleted.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_or_a_full_store_forbids_deletes_for_ten_minutes_after_its_last_sign() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut troubles = Troubles::default();
        troubles.saw(Trouble::Failed, at(0));
        troubles.saw(Trouble::Failed, at(30));
        troubles.saw(Trouble::None, at(31));
        assert_eq!(troubles.until(), None);
        troubles.saw(Trouble::Failed, at(70));
        assert_eq!(troubles.until(), None, "the first is over a minute old");
        troubles.saw(Trouble::Failed, at(71));
        assert_eq!(troubles.until(), Some(at(671)));
        let mut full = Troubles::default();
        full.saw(Trouble::StoreFull, at(5));
        assert_eq!(full.until(), Some(at(605)));
    }
}
