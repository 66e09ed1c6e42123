//! A stand-in for a Helm repository, an OCI registry or its token service, on loopback: it gives fixed answers over real
//! HTTP and remembers what it was asked. Tests of other crates use it as well.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

/// One answer.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// Header `Authorization` without which the answer is 401 with this challenge.
    pub wants: Option<(String, String)>,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub target: String,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct State {
    replies: BTreeMap<String, Reply>,
    seen: Vec<Seen>,
}

/// A running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct StandIn {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let standin = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let state = Arc::clone(&standin.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let service = service_fn(move |request| {
                    let answer = answer(&state, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        standin
    }

    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Gives this from now on.
    pub fn put(&self, path: &str, body: impl Into<Bytes>) {
        self.reply(path, Reply::ok(body));
    }

    pub fn reply(&self, path: &str, reply: Reply) {
        self.state
            .lock()
            .unwrap()
            .replies
            .insert(path.to_owned(), reply);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Puts a Helm repository at `/charts` with one version of one chart.
    pub fn helm(&self, chart: &str, version: &str, archive: &[u8]) {
        let file = format!("{chart}-{version}.tgz");
        let index = format!(
            "apiVersion: v1\nentries:\n  {chart}:\n  - {{version: {version}, digest: {}, urls: [{file}]}}\n",
            sha256(archive)
        );
        self.put("/charts/index.yaml", index);
        self.put(&format!("/charts/{file}"), archive.to_vec());
    }

    /// Puts a chart into a registry; returns the manifest's digest.
    pub fn oci(&self, path: &str, version: &str, archive: &[u8]) -> String {
        let layer = sha256(archive);
        let manifest = format!(
            "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\",\"digest\":\"sha256:{layer}\",\"size\":2}},\"layers\":[{{\"mediaType\":\"application/vnd.cncf.helm.chart.content.v1.tar+gzip\",\"digest\":\"sha256:{layer}\",\"size\":{}}}]}}",
            archive.len()
        );
        let digest = format!("sha256:{}", sha256(manifest.as_bytes()));
        for name in [version, &digest] {
            self.put(&format!("/v2/{path}/manifests/{name}"), manifest.clone());
        }
        self.put(
            &format!("/v2/{path}/blobs/sha256:{layer}"),
            archive.to_vec(),
        );
        digest
    }

    /// Asks for this header at every path that is there by now.
    pub fn guard(&self, authorization: &str, challenge: &str) {
        for reply in self.state.lock().unwrap().replies.values_mut() {
            reply.wants = Some((authorization.to_owned(), challenge.to_owned()));
        }
    }
}

impl Reply {
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            wants: None,
        }
    }

    pub fn redirect(to: String) -> Self {
        Self {
            status: 307,
            headers: vec![("location", to)],
            ..Self::ok("")
        }
    }
}

fn answer<B>(state: &Mutex<State>, request: &Request<B>) -> Response<Full<Bytes>> {
    let mut state = state.lock().unwrap();
    let header = request.headers().get("authorization");
    let authorization = header.map(|value| value.to_str().unwrap().to_owned());
    state.seen.push(Seen {
        target: request.uri().to_string(),
        authorization: authorization.clone(),
    });
    let mut response = Response::new(Full::new(Bytes::new()));
    let Some(reply) = state.replies.get(request.uri().path()) else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    if let Some((wanted, challenge)) = &reply.wants
        && authorization.as_ref() != Some(wanted)
    {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let challenge = challenge.parse().unwrap();
        response.headers_mut().insert("www-authenticate", challenge);
        return response;
    }
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in &reply.headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    *response.body_mut() = Full::new(reply.body.clone());
    response
}

fn sha256(content: &[u8]) -> String {
    countersign_ledger::digest::Digest::of(content).to_string()
}

/// A chart's archive of these files.
pub fn chart(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        builder
            .append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&builder.into_inner().unwrap()).unwrap();
    packed.finish().unwrap()
}
