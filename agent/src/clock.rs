//! The only place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
#[must_use]
pub fn unix() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    )
    .unwrap_or(i64::MAX)
}

/// Milliseconds since 1970.
#[must_use]
pub fn unix_millis() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis(),
    )
    .unwrap_or(i64::MAX)
}

/// `least` and up to half as much again, so that many agents don't act in step.
#[must_use]
pub fn jittered(least: std::time::Duration) -> std::time::Duration {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .subsec_nanos();
    least + least.mul_f64(f64::from(nanos % 1_000) / 2_000.0)
}

/// So many a second, and no more.
#[derive(Debug)]
pub struct PerSecond {
    limit: u32,
    taken: std::sync::Mutex<Option<(std::time::Instant, u32)>>,
}

impl PerSecond {
    /// None taken yet.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            taken: std::sync::Mutex::new(None),
        }
    }

    /// One more; false when this second has none left.
    pub fn take(&self) -> bool {
        let mut second = self
            .taken
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = std::time::Instant::now();
        match &mut *second {
            Some((start, taken)) if now.duration_since(*start).as_secs() < 1 => {
                *taken = taken.saturating_add(1);
                *taken <= self.limit
            }
            _ => {
                *second = Some((now, 1));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_no_more() {
        let fifty = PerSecond::new(50);
        assert_eq!((0..200).filter(|_| fifty.take()).count(), 50);
    }
}
