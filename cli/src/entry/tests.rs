use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::http::send_after;
use super::*;

/// A server that gives these answers, one a connection, and counts who asked.
fn server(answers: Vec<String>) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url.parse().unwrap(), asked)
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn ask(answers: Vec<String>) -> (Result<Vec<u8>, Failure>, usize) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (url, asked) = server(answers);
    let request = Client::new().post(url.clone()).body("entry");
    let got = send_after(Duration::ZERO, &url, &request);
    (got, asked.load(Ordering::SeqCst))
}

#[test]
fn a_hub_that_is_busy_is_asked_again_and_one_that_says_no_is_not() {
    let busy = answer("503 Service Unavailable", "");
    let fine = answer("200 OK", "proof");
    let (got, asked) = ask(vec![busy.clone(), busy.clone(), fine]);
    assert_eq!((got.unwrap(), asked), (b"proof".to_vec(), 3));

    let (got, asked) = ask(vec![busy; 5]);
    assert!(matches!(got, Err(Failure::Fault(_))), "{got:?}");
    assert_eq!(asked, 4);

    let no = r#"{"code":"NOT_LISTED","message":"nobody knows this key"}"#;
    let (got, asked) = ask(vec![answer("403 Forbidden", no)]);
    let Err(Failure::Negative(text)) = got else {
        panic!("{got:?}");
    };
    assert_eq!(text, "nobody knows this key (NOT_LISTED)");
    assert_eq!(asked, 1);
}

#[test]
fn an_answer_that_is_too_long_is_refused_and_not_cut_off() {
    let long = answer("200 OK", &"x".repeat((1 << 20) + 1));
    let (got, asked) = ask(vec![long]);
    let Err(Failure::Negative(text)) = got else {
        panic!("{:?}", got.map(|bytes| bytes.len()));
    };
    assert!(text.contains("too long"), "{text}");
    assert_eq!(asked, 1);
}

#[test]
fn nothing_is_sent_but_over_tls_and_below_the_hub_s_address() {
    let hub = |text: &str| text.parse::<Url>().unwrap();
    assert!(matches!(
        client(&hub("http://hub.example"), None),
        Err(Failure::Mistake(_))
    ));
    for (base, want) in [
        (
            "https://hub.example:8443",
            "https://hub.example:8443/log/entries",
        ),
        (
            "https://hub.example/base",
            "https://hub.example/base/log/entries",
        ),
        (
            "https://hub.example/base/",
            "https://hub.example/base/log/entries",
        ),
    ] {
        assert_eq!(below(&hub(base), "log/entries").unwrap().as_str(), want);
    }
}
