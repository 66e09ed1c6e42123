//! When to look again without being woken. Pure.

use std::time::Duration;

use crate::track::limits::BACKOFF_MAX;

/// The pause before the next look: the interval while all is well; doubled with each failure in a row, up to 15
/// minutes. `random` spreads it by ±20 %, so that hubs that started together don't knock together.
#[must_use]
pub fn pause(interval: Duration, failures: u32, random: u32) -> Duration {
    let longest = BACKOFF_MAX.max(interval);
    let doubled = interval
        .saturating_mul(2u32.saturating_pow(failures.min(20)))
        .min(longest);
    let spread = 0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX);
    doubled.mul_f64(spread).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_back_off_to_fifteen_minutes() {
        let middle = u32::MAX / 2;
        let seconds = |failures| {
            pause(Duration::from_secs(60), failures, middle)
                .as_secs_f64()
                .round() as u64
        };
        assert_eq!(
            [
                seconds(0),
                seconds(1),
                seconds(2),
                seconds(3),
                seconds(4),
                seconds(40)
            ],
            [60, 120, 240, 480, 900, 900]
        );
    }

    proptest! {
        #[test]
        fn a_pause_is_never_zero_nor_beyond_the_limit(interval in 1u64..100_000, failures in any::<u32>(), random in any::<u32>()) {
            let interval = Duration::from_secs(interval);
            let pause = pause(interval, failures, random);
            prop_assert!(pause >= interval.mul_f64(0.79).min(BACKOFF_MAX));
            prop_assert!(pause <= BACKOFF_MAX.max(interval));
        }
    }
}
