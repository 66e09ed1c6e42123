//! The door to a fleet's log for whoever signs statements outside the hub: offers an envelope, and sees for itself that it
//! is in the log before it believes so.

use std::path::Path;
use std::time::Duration;

use countersign_ledger::digest::leaf_hash;
use countersign_ledger::dsse::Envelope;
use countersign_ledger::tlog::merkle;
use countersign_ledger::tlog::proof::ProofFile;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use serde::Deserialize;

use crate::exit::Failure;
use crate::log::{Known, Signed};
use crate::output::safe;

/// One answer takes this long at most: a hub appends in batches and waits for its store.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read: a proof of 64 hashes and a checkpoint with its cosignatures.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How often a hub that is busy or starting is asked, and how long is waited before the second time; then twice that.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// A hub's door.
pub struct Door {
    base: String,
    client: Client,
    known: Known,
}

/// What a hub says when it says no.
#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    message: String,
}

impl Door {
    /// The door of the hub at `url`, whose log signs as `known` says. `ca` is the certificate authority that counts.
    pub fn open(url: &str, ca: Option<&Path>, known: Known) -> Result<Self, Failure> {
        let bad = |error: &dyn std::fmt::Display| {
            Failure::Mistake(format!("{}: {}", safe(url), safe(&error.to_string())))
        };
        let parsed = reqwest::Url::parse(url).map_err(|error| bad(&error))?;
        if !matches!(parsed.scheme(), "https" | "http") {
            return Err(bad(&"must begin with https://"));
        }
        let mut client = Client::builder()
            .timeout(ANSWER_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = ca {
            let pem = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
            let authorities =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad(&error))?;
            client = client.tls_certs_only(authorities);
        }
        Ok(Self {
            base: url.trim_end_matches('/').to_owned(),
            client: client.build().map_err(|error| bad(&error))?,
            known,
        })
    }

    /// Offers an envelope; gives its place in the log, once that is proven. Offering it again is harmless.
    pub fn submit(&self, envelope: &Envelope) -> Result<ProofFile, Failure> {
        let answer = self.post("log/entries", "application/json", envelope.bytes())?;
        let proof = ProofFile::parse(&answer)
            .map_err(|error| Failure::Negative(format!("the hub's proof: {error}")))?;
        self.check(envelope, &proof)?;
        Ok(proof)
    }

    fn check(&self, envelope: &Envelope, proof: &ProofFile) -> Result<(), Failure> {
        let signed = Signed::read(&proof.checkpoint.bytes(), &self.known)?;
        let (leaf, checkpoint) = (leaf_hash(envelope.bytes()), &signed.checkpoint);
        let (size, root) = (checkpoint.size, &checkpoint.root);
        merkle::verify_inclusion(proof.index, size, &leaf, &proof.hashes, root).map_err(|error| {
            Failure::Negative(format!(
                "the hub did not prove that the entry is in the log: {error}"
            ))
        })
    }

    /// Posts, and gives the body of a good answer.
    pub fn post(&self, path: &str, kind: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let url = format!("{}/{path}", self.base);
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            let sent = self
                .client
                .post(&url)
                .header(reqwest::header::CONTENT_TYPE, kind)
                .body(body.to_vec())
                .send();
            let failure = match sent {
                Ok(answer) if answer.status() == StatusCode::OK => return read(&url, answer),
                Ok(answer) => refused(&url, answer),
                Err(error) => Failure::Fault(format!("{}: {}", safe(&url), told(&error))),
            };
            if !matches!(failure, Failure::Fault(_)) || tries == TRIES {
                return Err(failure);
            }
            std::thread::sleep(pause);
            pause *= 2;
            tries += 1;
        }
    }
}

fn read(url: &str, answer: Response) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    answer
        .take(ANSWER_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Fault(format!("{}: {error}", safe(url))))?;
    if bytes.len() > ANSWER_BYTES_MAX {
        let url = safe(url);
        return Err(Failure::Negative(format!("{url}: the answer is too long")));
    }
    Ok(bytes)
}

fn refused(url: &str, answer: Response) -> Failure {
    let status = answer.status();
    let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let said = read(url, answer)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
    let text = match said {
        Some(Problem { code, message }) => {
            format!("the hub says no: {} ({})", safe(&message), safe(&code))
        }
        None => format!("{}: answered {status}", safe(url)),
    };
    if again {
        Failure::Fault(text)
    } else {
        Failure::Negative(text)
    }
}

/// An error with its causes: the outermost names only the address.
fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    safe(&text)
}
