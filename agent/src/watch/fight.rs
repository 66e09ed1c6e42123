//! Who keeps changing what we heal, and when we yield: contested three times in five minutes, the object is written
//! once a minute only, and the rival is named.
//!
//! Pure; time comes in.

use std::time::{Duration, Instant};

/// Drifts within [`WINDOW`] that make a fight.
const ROUNDS: usize = 3;
/// How long a drift is remembered.
const WINDOW: Duration = Duration::from_secs(300);
/// Between two writes while we yield.
const YIELD: Duration = Duration::from_secs(60);

/// The last drifts of one object, kept only while there are any.
#[derive(Debug, Clone, Default)]
pub struct Fight {
    drifts: [Option<Instant>; ROUNDS + 1],
    healed: Option<Instant>,
}

/// What to do about one more drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Heal at once.
    Heal,
    /// A fight: heal no earlier than then.
    Yield(Instant),
}

impl Fight {
    /// One more drift was seen.
    pub fn drifted(&mut self, now: Instant) -> Turn {
        self.drifts.rotate_right(1);
        self.drifts[0] = Some(now);
        let recent = self
            .drifts
            .iter()
            .flatten()
            .filter(|then| now.duration_since(**then) < WINDOW)
            .count();
        if recent <= ROUNDS {
            self.healed = Some(now);
            return Turn::Heal;
        }
        match self.healed {
            Some(healed) if now.duration_since(healed) < YIELD => Turn::Yield(healed + YIELD),
            _ => {
                self.healed = Some(now);
                Turn::Heal
            }
        }
    }

    /// We wrote it at the end of a pause.
    pub fn healed(&mut self, now: Instant) {
        self.healed = Some(now);
    }

    /// Whether the object is contested now.
    #[must_use]
    pub fn contested(&self, now: Instant) -> bool {
        self.drifts
            .iter()
            .flatten()
            .filter(|then| now.duration_since(**then) < WINDOW)
            .count()
            > ROUNDS
    }

    /// Nothing recent is left to remember.
    #[must_use]
    pub fn over(&self, now: Instant) -> bool {
        self.drifts
            .iter()
            .flatten()
            .all(|then| now.duration_since(*then) >= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_rounds_are_healed_at_once_then_once_a_minute() {
        let (mut fight, start) = (Fight::default(), Instant::now());
        let mut heals = 0;
        for millis in (0..3_600_000).step_by(100) {
            let now = start + Duration::from_millis(millis);
            if fight.drifted(now) == Turn::Heal {
                heals += 1;
            }
        }
        assert!((60..=63).contains(&heals), "{heals}");
    }

    #[test]
    fn a_rare_drift_is_never_a_fight() {
        let (mut fight, start) = (Fight::default(), Instant::now());
        for round in 0..50 {
            assert_eq!(
                fight.drifted(start + Duration::from_secs(round * 120)),
                Turn::Heal
            );
        }
    }

    proptest! {
        #[test]
        fn yielding_never_writes_twice_in_a_minute_after_the_third_round(pauses in proptest::collection::vec(1u64..20_000, 4..400)) {
            let (mut fight, mut now) = (Fight::default(), Instant::now());
            let mut healed: Vec<Instant> = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                let was_fight = fight.contested(now) ;
                if fight.drifted(now) == Turn::Heal {
                    if was_fight && let Some(last) = healed.last() {
                        prop_assert!(now.duration_since(*last) >= YIELD);
                    }
                    healed.push(now);
                }
            }
        }
    }
}
