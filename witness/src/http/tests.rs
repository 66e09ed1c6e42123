use http::Request;
use http::header::HeaderMap;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::clock::Clock;
use crate::home::Home;
use crate::tests::sample::{History, ORIGIN, key, log_vkey, request};

struct Served {
    router: Router,
    _folder: tempfile::TempDir,
}

fn served() -> Served {
    served_within(REQUEST_MAX)
}

fn served_within(request_max: Duration) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w1");
    Home::make(&path, "witness.example/w1", &key(7)).unwrap();
    let home = Home::open(&path).unwrap();
    let witness = Witness::open(home, &[log_vkey()], Clock::from_fn(|| 1_800_000_000)).unwrap();
    Served {
        router: routes(Arc::new(witness), request_max),
        _folder: folder,
    }
}

impl Served {
    async fn send(&self, request: Request<Body>) -> (u16, HeaderMap, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        (parts.status.as_u16(), parts.headers, body)
    }

    async fn post(&self, body: impl Into<Body>) -> (u16, HeaderMap, String) {
        let request = Request::post("/add-checkpoint").body(body.into()).unwrap();
        self.send(request).await
    }

    async fn get(&self, path: &str) -> (u16, HeaderMap, String) {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }
}

fn main(size: u64) -> History {
    History::new(size, u64::MAX, 0)
}

#[tokio::test]
async fn the_statuses_are_the_protocol_s() {
    let served = served();
    let fork = |size| History::new(size, 5, 1);
    let (status, headers, body) = served.post(request(&main(7), 0).body()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert!(
        body.starts_with("\u{2014} witness.example/w1 ") && body.ends_with('\n'),
        "{body}"
    );
    for (body, want) in [
        (b"old x\n\nnote".to_vec(), 400),
        (b"old 9\n\n".to_vec(), 400),
        (request(&main(7), 7).body(), 200),
        (request(&fork(7), 7).body(), 422),
        (request(&fork(9), 7).body(), 422),
        (request(&main(9), 7).body(), 200),
    ] {
        let (status, _, said) = served.post(body).await;
        assert_eq!(status, want, "{said}");
    }
    let mut shrinks = request(&main(9), 9);
    shrinks.old = 10;
    assert_eq!(served.post(shrinks.body()).await.0, 400);
    let mut unsigned = request(&main(9), 9);
    unsigned.note = crate::tests::sample::checkpoint(ORIGIN, main(9).tree(), &key(3));
    assert_eq!(served.post(unsigned.body()).await.0, 403);
    let mut unknown = request(&main(9), 9);
    unknown.note = crate::tests::sample::checkpoint("example.com/x", main(9).tree(), &key(3));
    assert_eq!(served.post(unknown.body()).await.0, 404);
}

#[tokio::test]
async fn a_conflict_says_the_known_size_and_nothing_else() {
    let served = served();
    let (status, headers, body) = served.post(request(&main(9), 3).body()).await;
    assert_eq!((status, body.as_str()), (409, "0\n"));
    assert_eq!(headers[CONTENT_TYPE], "text/x.tlog.size");
    served.post(request(&main(7), 0).body()).await;
    let (status, _, body) = served.post(request(&main(9), 3).body()).await;
    assert_eq!((status, body.as_str()), (409, "7\n"));
}

#[tokio::test]
async fn monitors_read_the_newest_checkpoint_under_the_hash_of_its_origin() {
    let served = served();
    let address = format!("/{}/checkpoint", Digest::of(ORIGIN.as_bytes()));
    assert_eq!(served.get(&address).await.0, 404);
    let (_, _, line) = served.post(request(&main(7), 0).body()).await;
    let (status, headers, body) = served.get(&address).await;
    assert_eq!(status, 200);
    assert!(
        body.starts_with(&format!("{ORIGIN}\n7\n")) && body.ends_with(&line),
        "{body}"
    );
    assert_eq!(headers[CACHE_CONTROL], "no-cache");
    for other in [
        format!("/{}/checkpoint", Digest::of(b"other")),
        format!("/sha256:{}/checkpoint", Digest::of(ORIGIN.as_bytes())),
        address.to_uppercase().replace("CHECKPOINT", "checkpoint"),
        "/x/checkpoint".to_owned(),
        "/checkpoint".to_owned(),
    ] {
        assert_eq!(served.get(&other).await.0, 404, "{other}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let served = served();
    let (status, ..) = served.post(vec![b'a'; BODY_BYTES_MAX + 1]).await;
    assert_eq!(status, 413);
    let (status, ..) = served.post(vec![b'a'; BODY_BYTES_MAX]).await;
    assert_eq!(status, 400);
    assert_eq!(served.get("/add-checkpoint").await.0, 405);
}

#[tokio::test]
async fn the_front_page_names_key_and_logs() {
    let (status, _, body) = served().get("/").await;
    assert_eq!(status, 200);
    assert!(
        body.contains("witness.example/w1+") && body.contains(ORIGIN),
        "{body}"
    );
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let served = served_within(Duration::from_millis(20));
    let body = Body::from_stream(never());
    assert_eq!(served.post(body).await.0, 408);
}

fn never() -> impl futures::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    futures::stream::pending()
}
