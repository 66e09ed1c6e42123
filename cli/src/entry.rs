//! The hub's door to the log, from outside: a statement goes in, a proof that it is in the log comes back and is checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use countersign_fleet::api::Problem;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::Envelope;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::merkle;
use countersign_ledger::tlog::proof::ProofFile;
use countersign_ledger::trust::VerifiedRoot;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::{StatusCode, Url};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::safe;

/// For a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For an answer: the hub acknowledges after it has written.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer: a proof has some thousand.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Content type of an entry with blobs.
const WITH_BLOBS: &str = "application/vnd.countersign.entry+json";

/// How the hub's public address is reached.
#[derive(Debug, Clone, Args)]
pub struct DoorArgs {
    /// The hub's address for agents: https://HOST:PORT.
    #[arg(long, env = "COUNTERSIGN_HUB_URL", value_name = "URL")]
    pub hub: Url,
    /// Certificates (PEM) to trust for it, such as hub-ca.crt, instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The fleet's trust root: its log's key counts.
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    pub trust: PathBuf,
}

/// A door that is open.
pub struct Door {
    client: Client,
    hub: Url,
    /// The trust root that was named.
    pub root: VerifiedRoot,
}

/// An entry that is in the log.
#[derive(Debug)]
pub struct Entered {
    /// Its place.
    pub index: u64,
    /// Its proof, `c2sp.org/tlog-proof`.
    pub proof: ProofFile,
}

#[derive(Serialize)]
struct WithBlobs {
    envelope: String,
    blobs: Vec<String>,
}

impl Door {
    /// Reads the trust root and the certificates; nothing is sent yet.
    pub fn open(args: &DoorArgs) -> Result<Self, Failure> {
        let root = trust_root(&args.trust)?;
        if root.log().is_none() {
            let file = args.trust.display();
            return Err(Failure::Mistake(format!(
                "{file}: this trust root names no log"
            )));
        }
        Ok(Self {
            client: client(&args.hub, args.ca.as_deref())?,
            hub: args.hub.clone(),
            root,
        })
    }

    /// Hands in an envelope and the blobs that it names.
    pub fn submit(&self, envelope: &Envelope, blobs: &[Vec<u8>]) -> Result<Entered, Failure> {
        let request = self.client.post(self.url("log/entries")?);
        let request = if blobs.is_empty() {
            request
                .header("content-type", "application/json")
                .body(envelope.bytes().to_vec())
        } else {
            let body = WithBlobs {
                envelope: STANDARD.encode(envelope.bytes()),
                blobs: blobs.iter().map(|blob| STANDARD.encode(blob)).collect(),
            };
            let body =
                serde_json::to_vec(&body).map_err(|e| Failure::Fault(format!("request: {e}")))?;
            request.header("content-type", WITH_BLOBS).body(body)
        };
        let proof = self.send(request)?;
        self.check(&proof, &envelope.leaf_hash())
    }

    /// A URL below the hub's.
    pub fn url(&self, path: &str) -> Result<Url, Failure> {
        below(&self.hub, path)
    }

    /// A request that this door's client makes.
    pub fn post(&self, path: &str) -> Result<RequestBuilder, Failure> {
        Ok(self.client.post(self.url(path)?))
    }

    /// The same without a body.
    pub fn get(&self, path: &str) -> Result<RequestBuilder, Failure> {
        Ok(self.client.get(self.url(path)?))
    }

    /// Sends, and reads what a success brought.
    pub fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        send(&self.hub, request)
    }

    /// The entry with this leaf hash is in the log that the trust root names.
    pub fn check(&self, proof: &[u8], leaf: &Digest) -> Result<Entered, Failure> {
        in_log(&self.root, proof, leaf)
    }
}

/// The entry with this leaf hash is in the log that `root` names.
pub fn in_log(root: &VerifiedRoot, proof: &[u8], leaf: &Digest) -> Result<Entered, Failure> {
    let refused =
        |why: &dyn std::fmt::Display| Failure::Negative(safe(&format!("the hub's proof: {why}")));
    let proof = ProofFile::parse(proof).map_err(|e| refused(&e))?;
    let log = root.log().ok_or_else(|| refused(&"no log is known"))?;
    let opened = proof
        .checkpoint
        .open(std::slice::from_ref(log), &RingVerifier)
        .map_err(|e| refused(&e))?;
    let checkpoint = countersign_ledger::tlog::checkpoint::Checkpoint::parse_with(
        opened.text(),
        countersign_ledger::tlog::checkpoint::Extensions::Ignore,
    )
    .map_err(|e| refused(&e))?;
    if checkpoint.origin != log.name() || opened.by(log).is_none() {
        return Err(refused(&"is not signed by the log's key"));
    }
    merkle::verify_inclusion(
        proof.index,
        checkpoint.size,
        leaf,
        &proof.hashes,
        &checkpoint.root,
    )
    .map_err(|e| refused(&e))?;
    Ok(Entered {
        index: proof.index,
        proof,
    })
}

/// A client that sends nothing but over TLS, and follows nobody.
pub fn client(hub: &Url, ca: Option<&Path>) -> Result<Client, Failure> {
    if hub.scheme() != "https" {
        return Err(Failure::Mistake(
            "--hub: must be https://HOST:PORT".to_owned(),
        ));
    }
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_MAX)
        .timeout(ANSWER_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .https_only(true)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
    if let Some(file) = ca {
        let bad = |e: &dyn std::fmt::Display| Failure::Mistake(format!("{}: {e}", file.display()));
        let pem = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| bad(&e))?;
        if roots.is_empty() {
            return Err(bad(&"holds no certificate"));
        }
        builder = builder.tls_certs_only(roots);
    }
    builder
        .build()
        .map_err(|error| Failure::Fault(format!("TLS: {error}")))
}

/// A URL below the hub's.
pub fn below(hub: &Url, path: &str) -> Result<Url, Failure> {
    hub.join(path)
        .map_err(|error| Failure::Mistake(format!("--hub: {error}")))
}

/// Sends, and reads what a success brought. A refusal is a no; a hub that is away or busy is a fault.
pub fn send(hub: &Url, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let away = |e: &dyn std::fmt::Display| Failure::Fault(safe(&format!("{hub}: {e}")));
    let response = request.send().map_err(|e| away(&e.without_url()))?;
    let status = response.status();
    let mut body = Vec::new();
    response
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut body)
        .map_err(|e| away(&e))?;
    if status.is_success() {
        return Ok(body);
    }
    let text = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => safe(&format!("{} ({})", problem.message, problem.code)),
        Err(_) => format!("answered {status}"),
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Err(Failure::Fault(text))
    } else {
        Err(Failure::Negative(text))
    }
}

/// Reads a trust root.
pub fn trust_root(file: &Path) -> Result<VerifiedRoot, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
    VerifiedRoot::parse(&bytes, &RingVerifier).map_err(|refusal| {
        let text = format!("{}: {refusal} ({})", file.display(), refusal.code());
        Failure::Negative(safe(&text))
    })
}
