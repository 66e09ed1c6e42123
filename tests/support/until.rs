//! Waiting on a condition, never on time.

use std::{fmt::Display, panic::Location, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

/// The pause before the second look; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between two looks: how late at most a test sees what has happened.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What one look at the world says: it is as wanted, or this was seen instead.
///
/// `bool`, `Option<T>` and `Result<T, E>` are looks. `Result` is best: its error is what a time-out shows.
pub trait Look {
    /// What the wait hands back.
    type Found;
    /// The wanted thing, or a description of what was there instead.
    ///
    /// # Errors
    /// Describes what was seen.
    fn look(self) -> Result<Self::Found, String>;
}

impl Look for bool {
    type Found = ();
    fn look(self) -> Result<(), String> {
        if self {
            Ok(())
        } else {
            Err("false".to_owned())
        }
    }
}

impl<T> Look for Option<T> {
    type Found = T;
    fn look(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: Display> Look for Result<T, E> {
    type Found = T;
    fn look(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

/// Looks until the world is as wanted, and returns what was found.
///
/// ```ignore
/// until("cart is healthy", secs(30), || async {
///     let seen = hub.app("cart").await?;
///     if seen.healthy() { Ok(seen) } else { Err(anyhow!("{seen:?}")) }
/// }).await;
/// ```
///
/// # Panics
/// If it is not so within `limit`: the message names the caller's line, what was waited for, and what was seen last.
#[track_caller]
#[allow(clippy::panic, reason = "a test that waited in vain has failed")]
pub fn until<L, F, Fut>(what: &str, limit: Duration, look: F) -> impl Future<Output = L::Found>
where
    L: Look,
    F: FnMut() -> Fut,
    Fut: Future<Output = L>,
{
    let caller = Location::caller();
    async move {
        match wait(what, limit, look).await {
            Ok(found) => found,
            Err(in_vain) => panic!("{caller}: {in_vain}"),
        }
    }
}

/// A condition that did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waited {limit:?} for: {what}\n  looked {looks} times; seen last: {last}")]
pub struct InVain {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub limit: Duration,
    /// How often it was looked at.
    pub looks: u32,
    /// What was there instead.
    pub last: String,
}

/// As [`until`], for a caller that goes on when it waited in vain.
///
/// # Errors
/// [`InVain`] if it is not so within `limit`.
pub async fn wait<L, F, Fut>(what: &str, limit: Duration, mut look: F) -> Result<L::Found, InVain>
where
    L: Look,
    F: FnMut() -> Fut,
    Fut: Future<Output = L>,
{
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    let mut last = "no look came to an end".to_owned();
    let mut looks = 0_u32;
    loop {
        let in_vain = |last: &str, looks| InVain {
            what: what.to_owned(),
            limit,
            looks,
            last: last.to_owned(),
        };
        match timeout_at(deadline, look()).await {
            Ok(seen) => match seen.look() {
                Ok(found) => return Ok(found),
                Err(seen) => last = seen,
            },
            Err(_elapsed) => return Err(in_vain(&last, looks)),
        }
        looks += 1;
        if Instant::now() + pause > deadline {
            return Err(in_vain(&last, looks));
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);
    /// For waits that must fail.
    const BRIEF: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn returns_what_was_found_in_the_end() {
        let mut left = 3;
        let found = until("the third look", SOON, || {
            left -= 1;
            std::future::ready(if left == 0 {
                Ok("here")
            } else {
                Err(format!("{left} left"))
            })
        })
        .await;
        assert_eq!(found, "here");
    }

    #[tokio::test]
    #[should_panic(expected = "for: the moon\n  looked")]
    async fn a_time_out_names_what_was_waited_for() {
        until("the moon", BRIEF, || std::future::ready(false)).await;
    }

    #[tokio::test]
    #[should_panic(expected = "seen last: 2 of 3 replicas")]
    async fn a_time_out_shows_what_was_seen_last() {
        until("all replicas", BRIEF, || {
            std::future::ready(Err::<(), _>("2 of 3 replicas"))
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "no look came to an end")]
    async fn a_look_that_hangs_is_cut_off() {
        until("an answer", BRIEF, std::future::pending::<bool>).await;
    }
}
