//! An attacker in the hub's place: it holds the hub's TLS authority, so agents connect to it, but no key that signs.
//!
//! It says to agents whatever a test makes it say, and keeps what they report: a refusal must show there.

use std::{
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use countersign_hub::serve::authority::Authority;
use countersign_ledger::{
    digest::Digest,
    dsse,
    identity::ObjectId,
    json,
    key::{FileKey, Sign},
    manifest::{AppEntry, Content, Line, Manifest, ObjectLine, TombstoneLine},
    statement::{Admission, Desired, Statement},
};
use countersign_proto::agent::v1::{
    Blob, BlobsRequest, EnrolRequest, EnrolResponse, Head, HeadsRequest, PutBlobsRequest,
    PutBlobsResponse, ReceiptsRequest, ReceiptsResponse, RegisterRequest, RegisterResponse,
    RenewRequest, RenewResponse, ReportRequest, ReportResponse, TrustRootsRequest,
    TrustRootsResponse,
    agents_server::{Agents, AgentsServer},
};
use futures::{Stream, StreamExt as _, stream};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};

use crate::install_tls;

mod log;

pub use log::{Cosigner, StolenLog};

/// What it says, and what it was told.
#[derive(Debug, Default)]
struct Part {
    head: Mutex<Head>,
    /// What makes the head look logged.
    log: Option<StolenLog>,
    blobs: Mutex<Vec<Blob>>,
    roots: Mutex<Vec<bytes::Bytes>>,
    /// The newest word of the agent that it admits to have.
    receipt: Mutex<Option<bytes::Bytes>>,
    reports: Mutex<Vec<ReportRequest>>,
}

/// A running attacker; it ends when this is dropped.
#[derive(Debug)]
pub struct Rogue {
    part: Arc<Part>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Rogue {
    /// Takes the hub's place at `address` with the authority stolen from its key folder, and sends `head` to whoever asks:
    /// as it is, or dressed up by a stolen log.
    ///
    /// # Errors
    /// If the address is taken or the keys can't be read.
    pub async fn start(
        address: SocketAddr,
        keys: &Path,
        head: Head,
        blobs: Vec<Blob>,
        log: Option<StolenLog>,
    ) -> anyhow::Result<Self> {
        install_tls();
        let part = Arc::new(Part {
            head: Mutex::new(head),
            log,
            blobs: Mutex::new(blobs),
            roots: Mutex::default(),
            receipt: Mutex::default(),
            reports: Mutex::default(),
        });
        let listener = TcpListener::bind(address)
            .await
            .context("take the hub's place")?;
        let address = listener.local_addr()?;
        let mut server =
            Server::builder().tls_config(ServerTlsConfig::new().identity(stolen(keys)?))?;
        let router = server.add_service(AgentsServer::new(Service(Arc::clone(&part))));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let serving = router.serve_with_incoming(TcpListenerStream::new(listener));
            tokio::select! {
                ended = serving => drop(ended),
                _ = stopped => {}
            }
        });
        Ok(Self {
            part,
            address,
            stop: Some(stop),
            task,
        })
    }

    /// From here on it serves these trust roots to whoever asks.
    pub fn serve_roots(&self, documents: impl IntoIterator<Item = Vec<u8>>) {
        let mut roots = self
            .part
            .roots
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *roots = documents.into_iter().map(bytes::Bytes::from).collect();
    }

    /// From here on it shows this receipt to an agent that asks for its newest.
    pub fn show_receipt(&self, envelope: Vec<u8>) {
        let mut receipt = self
            .part
            .receipt
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *receipt = Some(envelope.into());
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The code of each refusal that agents have reported.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.part
            .reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .flat_map(|report| &report.refusals)
            .map(|refusal| refusal.code.clone())
            .collect()
    }

    /// Leaves the hub's place, closing every connection.
    pub async fn leave(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn stolen(keys: &Path) -> anyhow::Result<Identity> {
    let read = |name: &str| {
        std::fs::read_to_string(keys.join(name)).with_context(|| format!("read {name}"))
    };
    let authority = Authority::load(&read("hub-ca.key")?, &read("hub-ca.crt")?)?;
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let minted = authority.server_certificate(&names, jiff::Timestamp::now())?;
    let chain: String = minted
        .chain
        .iter()
        .map(|der| pem("CERTIFICATE", der.as_ref()))
        .collect();
    Ok(Identity::from_pem(
        chain,
        pem("PRIVATE KEY", minted.key.secret_der()),
    ))
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// A forged state: one object, in a statement that is right in everything but its signature.
#[derive(Debug)]
pub struct Forgery {
    /// What is sent as head.
    pub head: Head,
    /// What it refers to.
    pub blobs: Vec<Blob>,
}

/// Forges the state that follows `genuine` (the newest envelope of the real hub), signed by `key`.
///
/// # Errors
/// If `genuine` is no desired state.
pub fn forge(genuine: &[u8], object: &serde_json::Value, key: &FileKey) -> anyhow::Result<Forgery> {
    forge_with(genuine, object, &[], key)
}

/// [`forge`], with tombstones for these objects of an app.
///
/// # Errors
/// As there.
pub fn forge_with(
    genuine: &[u8],
    object: &serde_json::Value,
    buried: &[(String, ObjectId)],
    key: &FileKey,
) -> anyhow::Result<Forgery> {
    let envelope = dsse::Envelope::parse(genuine, &dsse::Limits::entry())?;
    let Statement::Desired(last) = Statement::parse(envelope.payload())? else {
        anyhow::bail!("not a desired state");
    };
    let content = json::canonical(object)?;
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(|v| v.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let line = Line::Object(ObjectLine {
        id: ObjectId {
            group: text("/apiVersion")
                .split_once('/')
                .map_or_else(String::new, |(group, _)| group.to_owned()),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        },
        app: "smuggled".to_owned(),
        wave: 0,
        commit: last.commit.clone(),
        bytes: content.len() as u64,
        content: Content::Plain {
            sha256: Digest::of(&content),
        },
    });
    let app = AppEntry {
        name: "smuggled".to_owned(),
        commit: last.commit.clone(),
        depends_on: Vec::new(),
        exclusive: false,
        health_rules: Vec::new(),
    };
    let tombstones = buried.iter().map(|(app, id)| {
        Line::Tombstone(TombstoneLine {
            id: id.clone(),
            app: app.clone(),
            commit: last.commit.clone(),
        })
    });
    let lines = std::iter::once(line).chain(tombstones).collect();
    let manifest = Manifest::build(lines, vec![app])?;
    let statement = Desired {
        manifest: manifest.digest(),
        generation: last.generation + 1,
        previous: Some(envelope.digest()),
        admission: Admission::default(),
        ..last
    };
    let signers: [&dyn Sign; 1] = [key];
    let forged = dsse::sign(dsse::PAYLOAD_TYPE, &statement.payload()?, &signers)?;
    let mut blobs = vec![
        blob(&content),
        blob(manifest.list_bytes()),
        blob(manifest.apps_bytes()),
    ];
    blobs.extend(
        manifest
            .sections()
            .iter()
            .map(|section| blob(section.bytes())),
    );
    Ok(Forgery {
        head: Head {
            envelopes: vec![bytes::Bytes::copy_from_slice(forged.bytes())],
            attached: blobs.clone(),
            ..Head::default()
        },
        blobs,
    })
}

/// The entries of a staged batch: each after its length in two bytes, big end first (C2SP `tlog-tiles`, entry bundles).
pub fn entries(mut batch: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = batch.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        batch = rest;
        Some(entry)
    })
}

fn blob(content: &[u8]) -> Blob {
    Blob {
        digest: bytes::Bytes::copy_from_slice(Digest::of(content).as_bytes()),
        content: bytes::Bytes::copy_from_slice(content),
    }
}

struct Service(Arc<Part>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Agents for Service {
    type HeadsStream = Answers<Head>;
    type BlobsStream = Answers<Blob>;

    async fn register(
        &self,
        _: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        Err(Status::unavailable("not now"))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        Err(Status::unavailable("not now"))
    }

    async fn trust_roots(
        &self,
        _: Request<TrustRootsRequest>,
    ) -> Result<Response<TrustRootsResponse>, Status> {
        let roots = self.0.roots.lock();
        Ok(Response::new(TrustRootsResponse {
            trust_roots: roots.unwrap_or_else(PoisonError::into_inner).clone(),
        }))
    }

    async fn heads(
        &self,
        request: Request<HeadsRequest>,
    ) -> Result<Response<Self::HeadsStream>, Status> {
        let mut head = self
            .0
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(log) = &self.0.log {
            head = log
                .dress(head, request.get_ref().tree_size)
                .map_err(|error| Status::internal(error.to_string()))?;
        }
        // The stream stays open, as the hub's would.
        let stream = stream::once(async move { Ok(head) }).chain(stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn blobs(
        &self,
        request: Request<BlobsRequest>,
    ) -> Result<Response<Self::BlobsStream>, Status> {
        let wanted = request.into_inner().digests;
        let blobs = self
            .0
            .blobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let found: Vec<Result<Blob, Status>> = wanted
            .iter()
            .filter_map(|digest| blobs.iter().find(|blob| blob.digest == *digest))
            .cloned()
            .map(Ok)
            .collect();
        Ok(Response::new(Box::pin(stream::iter(found))))
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        self.0
            .reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.into_inner());
        Ok(Response::new(ReportResponse::default()))
    }

    async fn enrol(&self, _: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        Err(Status::unavailable("not now"))
    }

    async fn receipts(
        &self,
        _: Request<ReceiptsRequest>,
    ) -> Result<Response<ReceiptsResponse>, Status> {
        let receipt = self.0.receipt.lock();
        let receipt = receipt.unwrap_or_else(PoisonError::into_inner).clone();
        let newest = receipt.ok_or_else(|| Status::unavailable("not now"))?;
        Ok(Response::new(ReceiptsResponse {
            newest,
            ..ReceiptsResponse::default()
        }))
    }

    async fn put_blobs(
        &self,
        _: Request<PutBlobsRequest>,
    ) -> Result<Response<PutBlobsResponse>, Status> {
        Err(Status::unavailable("not now"))
    }
}
