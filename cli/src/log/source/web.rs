//! A server of static files: a hub's `/log`, or any other.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::blocking::Client;

use super::{Fault, Files, NoSource, whole};

/// For a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// One answer takes this long at most.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Tries of one file, and how long is waited before the second; twice as long before each further one.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// A server.
pub struct Web {
    base: String,
    client: Client,
}

impl Web {
    /// The server at `base`.
    pub fn open(base: &str, ca: Option<&Path>) -> Result<Self, NoSource> {
        let base = base.trim_end_matches('/').to_owned();
        let refused = |why: String| NoSource::Client {
            place: base.clone(),
            why,
        };
        reqwest::Url::parse(&base).map_err(|e| refused(e.to_string()))?;
        let mut client = Client::builder()
            .connect_timeout(CONNECT_MAX)
            .timeout(ANSWER_MAX)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca {
            let bad = |why: String| refused(format!("{}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
            let authorities =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| bad(e.to_string()))?;
            if authorities.is_empty() {
                return Err(bad("holds no certificate".to_owned()));
            }
            client = client.tls_certs_only(authorities);
        }
        let client = client.build().map_err(|e| refused(e.to_string()))?;
        Ok(Self { base, client })
    }

    fn once(&self, path: &str, max: usize) -> Result<Option<Bytes>, Failed> {
        let url = format!("{}/{path}", self.base);
        let failed = |why: String, again: bool| Failed {
            fault: Fault::Unreadable {
                path: url.clone(),
                why,
            },
            again,
        };
        let answer = self.client.get(&url).send();
        let answer = answer.map_err(|e| failed(told(&e), !e.is_builder()))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status => {
                let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                return Err(failed(format!("answered {status}"), again));
            }
        }
        whole(answer, &url, 0, max)
            .map_err(|e| failed(e.to_string(), true))?
            .map(Some)
            .map_err(|fault| Failed {
                fault,
                again: false,
            })
    }
}

struct Failed {
    fault: Fault,
    again: bool,
}

/// An error with its causes: reqwest's own text names only the address.
fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl Files for Web {
    fn get(&self, path: &str, max: usize) -> Result<Option<Bytes>, Fault> {
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            match self.once(path, max) {
                Ok(answer) => return Ok(answer),
                Err(failed) if failed.again && tries < TRIES => {
                    std::thread::sleep(pause);
                    pause *= 2;
                    tries += 1;
                }
                Err(failed) => return Err(failed.fault),
            }
        }
    }

    fn place(&self) -> String {
        self.base.clone()
    }
}
