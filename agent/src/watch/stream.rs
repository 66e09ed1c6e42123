//! One watch of one kind: opens it (with the whole list first, or from where the last one ended) and yields events.
//!
//! Reads lines of raw bytes; nothing of an object is kept. Where the API server knows no streaming lists, the list is
//! read in pages first.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ownership::APP_LABEL;
use crate::apply::client::{self, Answer, ApiServer, Opened, Unanswered};

/// A watch ends by itself after so many seconds, so that no stale one lives on.
const WATCH_SECONDS: u32 = 290;
/// Silence beyond the end of the watch: the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);
/// The longest line; an object's metadata is at most what etcd holds.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Objects in a page of a list.
const PAGE: u32 = 500;

/// What a watch yields.
#[derive(Debug)]
pub enum Item {
    /// An object is there, so (bytes of its metadata).
    There(Bytes),
    /// An object is gone.
    Gone(Bytes),
    /// All that stood in the list has come; the list's resourceVersion.
    Listed(u64),
    /// A bookmark: nothing happened up to this resourceVersion.
    Upto(u64),
}

/// Why a watch is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its time was up: go on from where it stood.
    TimeUp,
    /// The place to go on from is too old: list again.
    Expired,
    /// The API server does not know the kind.
    Unknown,
    /// The API server knows no streaming lists.
    NoStreamingLists,
    /// The API server's revision went back: list again.
    WentBack,
    /// The kind is gone, or may not be watched.
    Refused(StatusCode),
    /// It broke: go on after a pause.
    Broken(String),
}

/// An open watch.
#[derive(Debug)]
pub struct Stream {
    body: Body,
    buffer: BytesMut,
    /// Where to go on from.
    pub since: String,
}

impl Stream {
    /// Opens a watch of `collection`: the whole list first where `since` is empty.
    ///
    /// # Errors
    /// Why not.
    pub async fn open(api: &ApiServer, collection: &str, since: &str) -> Result<Self, Ended> {
        let mut path = format!(
            "{collection}?watch=1&labelSelector={APP_LABEL}&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}"
        );
        if since.is_empty() {
            path.push_str("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
        } else {
            path.push_str("&resourceVersion=");
            path.push_str(since);
        }
        match api.open(&path, client::METADATA).await {
            Ok(Opened::Stream(body)) => Ok(Self {
                body,
                buffer: BytesMut::new(),
                since: since.to_owned(),
            }),
            Ok(Opened::Refused(answer)) => Err(refused(&answer, since.is_empty())),
            Err(error) => Err(Ended::Broken(error.to_string())),
        }
    }

    /// The next item.
    ///
    /// # Errors
    /// Why the watch is over.
    ///
    /// # Cancel safety
    /// May be dropped: bytes that came stay in the buffer.
    pub async fn next(&mut self) -> Result<Item, Ended> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end).freeze();
                self.buffer.advance(1);
                if let Some(item) = self.item(&line)? {
                    return Ok(item);
                }
                continue;
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(Ended::Broken("a line of the watch is too long".to_owned()));
            }
            match tokio::time::timeout(SILENCE_MAX, self.body.frame()).await {
                Err(_) => return Err(Ended::Broken("the watch went silent".to_owned())),
                Ok(None) => return Err(Ended::TimeUp),
                Ok(Some(Err(error))) => return Err(Ended::Broken(error.to_string())),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn item(&mut self, line: &Bytes) -> Result<Option<Item>, Ended> {
        let Ok(event) = serde_json::from_slice::<RawEvent<'_>>(line) else {
            return if line.is_empty() {
                Ok(None)
            } else {
                Err(Ended::Broken("the watch sent no event".to_owned()))
            };
        };
        if event.kind == "ERROR" {
            let status: ErrorStatus = serde_json::from_str(event.object.get()).unwrap_or_default();
            return Err(if status.code == 410 {
                Ended::Expired
            } else {
                Ended::Broken(format!("the watch said {}", status.code))
            });
        }
        let Ok(stub) = serde_json::from_str::<Stub<'_>>(event.object.get()) else {
            return Ok(None);
        };
        stub.metadata.resource_version.clone_into(&mut self.since);
        let revision = self.since.parse().unwrap_or(0);
        let object = line.slice_ref(event.object.get().as_bytes());
        Ok(match event.kind {
            "ADDED" | "MODIFIED" => Some(Item::There(object)),
            "DELETED" => Some(Item::Gone(object)),
            "BOOKMARK" if event.object.get().contains("k8s.io/initial-events-end") => {
                Some(Item::Listed(revision))
            }
            "BOOKMARK" => Some(Item::Upto(revision)),
            _ => None,
        })
    }
}

fn refused(answer: &Answer, listing: bool) -> Ended {
    match answer.status {
        StatusCode::GONE => Ended::Expired,
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST if listing => {
            Ended::NoStreamingLists
        }
        StatusCode::NOT_FOUND
        | StatusCode::FORBIDDEN
        | StatusCode::UNAUTHORIZED
        | StatusCode::METHOD_NOT_ALLOWED => Ended::Refused(answer.status),
        status => Ended::Broken(format!("the API server answered {status}")),
    }
}

/// The revision that the store stands at now: a watch from a newer one would stay silent until it is reached again.
///
/// # Errors
/// Why it could not be read.
pub async fn revision(api: &ApiServer, collection: &str) -> Result<u64, Ended> {
    let path = format!("{collection}?limit=1&labelSelector={APP_LABEL}");
    let answer = api
        .get(&path, client::METADATA_LIST)
        .await
        .map_err(|error| Ended::Broken(error.to_string()))?;
    if !answer.status.is_success() {
        return Err(refused(&answer, false));
    }
    let page: Page<'_> = serde_json::from_slice(&answer.body)
        .map_err(|_| Ended::Broken("a page is no list".to_owned()))?;
    let version = page.metadata.resource_version.unwrap_or_default();
    version
        .parse()
        .map_err(|_| Ended::Broken("a list without revision".to_owned()))
}

/// The list in pages, each object handed to `each`; the resourceVersion to watch from.
///
/// # Errors
/// Why it could not be read to its end.
pub async fn list(
    api: &ApiServer,
    collection: &str,
    selector: Option<&str>,
    each: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<String, Ended> {
    let (mut token, mut version) = (String::new(), String::new());
    loop {
        let mut path = format!("{collection}?limit={PAGE}");
        if let Some(selector) = selector {
            path.push_str("&labelSelector=");
            path.push_str(selector);
        }
        if !token.is_empty() {
            path.push_str("&continue=");
            path.push_str(&token);
        }
        let answer = api
            .get(&path, client::METADATA_LIST)
            .await
            .map_err(|error: Unanswered| Ended::Broken(error.to_string()))?;
        if !answer.status.is_success() {
            return Err(refused(&answer, false));
        }
        let page: Page<'_> = serde_json::from_slice(&answer.body)
            .map_err(|_| Ended::Broken("a page is no list".to_owned()))?;
        for object in page.items.iter().flatten() {
            each(object.get().as_bytes());
        }
        page.metadata
            .resource_version
            .unwrap_or_default()
            .clone_into(&mut version);
        token = page.metadata.next.unwrap_or_default();
        if token.is_empty() {
            return Ok(version);
        }
    }
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Stub<'a> {
    #[serde(borrow)]
    metadata: StubMeta<'a>,
}

#[derive(Deserialize)]
struct StubMeta<'a> {
    #[serde(rename = "resourceVersion")]
    resource_version: &'a str,
}

#[derive(Default, Deserialize)]
struct ErrorStatus {
    #[serde(default)]
    code: u16,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    metadata: PageMeta<'a>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct PageMeta<'a> {
    #[serde(rename = "resourceVersion", default)]
    resource_version: Option<&'a str>,
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream {
            body: Body::empty(),
            buffer: BytesMut::new(),
            since: String::new(),
        }
    }

    async fn all(text: &str) -> (Vec<String>, Ended, String) {
        let mut stream = stream();
        stream.buffer.extend_from_slice(text.as_bytes());
        let mut out = Vec::new();
        loop {
            match stream.next().await {
                Ok(Item::There(object)) => out.push(format!("there {}", object.len())),
                Ok(Item::Gone(object)) => out.push(format!("gone {}", object.len())),
                Ok(Item::Listed(revision)) => out.push(format!("listed {revision}")),
                Ok(Item::Upto(revision)) => out.push(format!("upto {revision}")),
                Err(ended) => return (out, ended, stream.since),
            }
        }
    }

    #[tokio::test]
    async fn events_bookmarks_and_the_end_of_the_list_are_told_apart() {
        let (items, ended, since) = all(concat!(
            r#"{"type":"ADDED","object":{"metadata":{"resourceVersion":"5"}}}"#, "\n",
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"6","annotations":{"k8s.io/initial-events-end":"true"}}}}"#, "\n",
            r#"{"type":"DELETED","object":{"metadata":{"resourceVersion":"7"}}}"#, "\n",
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#, "\n",
        ))
        .await;
        assert_eq!(items, ["there 36", "listed 6", "gone 36", "upto 9"]);
        assert_eq!((ended, since.as_str()), (Ended::TimeUp, "9"));
    }

    #[tokio::test]
    async fn gone_in_an_event_means_list_again_and_garbage_ends_the_watch() {
        let (_, ended, _) = all("{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n").await;
        assert_eq!(ended, Ended::Expired);
        assert!(matches!(all("nonsense\n").await.1, Ended::Broken(_)));
    }
}
