//! How often a key service is asked again, in one place: three more times, each pause longer, spread by chance.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

/// Longest wait for one answer. Vault and KMS answer within some ten milliseconds.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest wait for a connection.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Pauses between two tries. Together with the answers' waits the caller knows within a minute.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(2_000),
];

/// Runs `once` until it succeeds, fails for good, or was asked four times. `is_fault` says whether asking again may help.
pub(crate) async fn asking<T, E, F>(
    once: impl FnMut() -> F,
    is_fault: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    asking_after(&PAUSES, once, is_fault).await
}

async fn asking_after<T, E, F>(
    pauses: &[Duration],
    mut once: impl FnMut() -> F,
    is_fault: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    for &pause in pauses {
        match once().await {
            Err(error) if is_fault(&error) => tokio::time::sleep(spread(pause)).await,
            other => return other,
        }
    }
    once().await
}

/// Half to all of it, so that many do not come back at once.
fn spread(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness it is the whole pause.
    let _ = SystemRandom::new().fill(&mut byte);
    pause - pause.mul_f64(f64::from(byte[0]) / 512.0)
}

/// A client of a key service: no redirects, which could carry a token elsewhere; no proxy of the environment but by HTTPS.
pub(crate) fn client(ca: Option<&[u8]>) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_MAX)
        .timeout(ANSWER_MAX)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(pem) = ca {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_fault_is_tried_four_times_and_a_refusal_once() {
        for (fault, want) in [(true, 4), (false, 1)] {
            let tries = Cell::new(0);
            let once = || {
                tries.set(tries.get() + 1);
                async { Err::<(), bool>(fault) }
            };
            assert_eq!(
                asking_after(&[Duration::ZERO; 3], once, |fault| *fault).await,
                Err(fault)
            );
            assert_eq!(tries.get(), want);
        }
    }
}
