//! How many writes may be in flight: quickly more until the API server falls behind for the first time, slowly more after
//! that, halved when it pushes back.
//!
//! [`Window`] is the pure rule; [`Pace`] lends its places to tasks.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Fewest writes in flight: below it a push would crawl even where the API server is well.
pub const IN_FLIGHT_MIN: u32 = 8;
/// Most writes in flight: beyond it only the slowest answers grow slower.
pub const IN_FLIGHT_MAX: u32 = 32;
/// Answers that usually take so much longer than the quickest one mean that the API server falls behind.
const SLOW_FACTOR: u32 = 12;
/// One answer in so many makes what is usual: a single slow one says nothing.
const USUAL_OF: u32 = 8;
/// A slower answer counts as this slow.
const SLOWEST: Duration = Duration::from_secs(60);
/// Answers below this are never slow, however quick the others are.
const SLOW_FLOOR: Duration = Duration::from_millis(150);
/// After a reduction the answers to what was already in flight say nothing new.
const REST: Duration = Duration::from_millis(500);

/// The window's size and what it is derived from.
#[derive(Debug, Clone)]
pub struct Window {
    size: u32,
    answered: u32,
    quickest: Duration,
    usual: Duration,
    rested: Option<Instant>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            size: 16,
            answered: 0,
            quickest: Duration::MAX,
            usual: Duration::ZERO,
            rested: None,
        }
    }
}

impl Window {
    /// Writes that may be in flight now.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// An answer came after `took`.
    pub fn answered(&mut self, now: Instant, took: Duration) {
        self.quickest = self.quickest.min(took);
        self.usual = (self.usual * (USUAL_OF - 1) + took.min(SLOWEST)) / USUAL_OF;
        if self.usual > SLOW_FLOOR.max(self.quickest.saturating_mul(SLOW_FACTOR)) {
            self.reduce(now, 4);
            return;
        }
        self.answered += 1;
        if self.rested.is_none() || self.answered >= self.size {
            self.answered = 0;
            self.size = (self.size + 1).min(IN_FLIGHT_MAX);
        }
    }

    /// The API server asked for less, or did not answer in time.
    pub fn pushed_back(&mut self, now: Instant) {
        self.reduce(now, 2);
    }

    /// Takes away one part in `divisor`, at most once in a rest.
    fn reduce(&mut self, now: Instant, divisor: u32) {
        if self.rested.is_some_and(|until| now < until) {
            return;
        }
        self.rested = Some(now + REST);
        self.answered = 0;
        self.size = (self.size - self.size / divisor).max(IN_FLIGHT_MIN);
    }
}

/// Lends places; clones share them.
#[derive(Debug, Clone)]
pub struct Pace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Arc<Semaphore>,
    state: Mutex<(Window, u32)>,
}

impl Default for Pace {
    fn default() -> Self {
        let window = Window::default();
        let size = window.size();
        Self(Arc::new(Inner {
            places: Arc::new(Semaphore::new(size as usize)),
            state: Mutex::new((window, size)),
        }))
    }
}

impl Pace {
    /// Waits for a place.
    ///
    /// # Cancel safety
    /// May be dropped; the place in the queue is lost.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.places).acquire_owned().await.ok()
    }

    /// Tells how an answer went and gives the place back.
    pub fn leave(&self, place: Option<OwnedSemaphorePermit>, took: Duration, pushback: bool) {
        let now = Instant::now();
        let mut state = self
            .0
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (window, lent) = &mut *state;
        if pushback {
            window.pushed_back(now)
        } else {
            window.answered(now, took)
        }
        let wanted = window.size();
        if wanted > *lent {
            self.0.places.add_permits((wanted - *lent) as usize);
            *lent = wanted;
        } else if wanted < *lent
            && let Some(place) = place
        {
            place.forget();
            *lent -= 1;
        }
    }

    /// Writes that may be in flight now.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .0
            .size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_healthy_api_server_is_used_fully() {
        let (mut window, now) = (Window::default(), Instant::now());
        for _ in 0..2_000 {
            window.answered(now, Duration::from_millis(5));
        }
        assert_eq!(window.size(), IN_FLIGHT_MAX);
    }

    #[test]
    fn it_opens_at_once_and_one_slow_answer_does_not_close_it() {
        let (mut window, now) = (Window::default(), Instant::now());
        for _ in 0..16 {
            window.answered(now, Duration::from_millis(5));
        }
        assert_eq!(window.size(), IN_FLIGHT_MAX);
        window.answered(now, Duration::from_millis(600));
        assert_eq!(window.size(), IN_FLIGHT_MAX);
        for _ in 0..4 {
            window.answered(now, Duration::from_millis(600));
        }
        assert!(window.size() < IN_FLIGHT_MAX);
    }

    #[test]
    fn pushback_halves_once_for_what_was_in_flight() {
        let (mut window, now) = (Window::default(), Instant::now());
        for _ in 0..10 {
            window.pushed_back(now);
        }
        assert_eq!(window.size(), IN_FLIGHT_MIN);
        let mut window = Window {
            size: 32,
            ..Window::default()
        };
        window.pushed_back(now);
        window.pushed_back(now);
        assert_eq!(window.size(), 16);
    }

    proptest! {
        #[test]
        fn the_window_never_leaves_its_bounds(events in proptest::collection::vec((any::<bool>(), 0u64..20_000, 0u64..3_000), 0..500)) {
            let (mut window, mut now) = (Window::default(), Instant::now());
            for (pushback, took, pause) in events {
                now += Duration::from_millis(pause);
                if pushback { window.pushed_back(now) } else { window.answered(now, Duration::from_millis(took)) }
                prop_assert!((IN_FLIGHT_MIN..=IN_FLIGHT_MAX).contains(&window.size()));
            }
        }
    }
}
