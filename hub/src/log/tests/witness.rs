//! Publishing under a witness policy, with witnesses that answer as the spec says, and some that do not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Response};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::note::{self, KeyKind};
use countersign_ledger::tlog::{Checkpoint, Note, cosignature};
use http::StatusCode;

use super::*;

/// How a witness behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Answers with an error.
    Down,
    /// Says that it has cosigned this many entries.
    Ahead(u64),
    /// Signs with another key.
    Liar,
    /// Says that it is at this size although it was told of a larger one before.
    Behind(u64),
    /// Answers with lines that nobody asked for, and no end.
    Endless,
}

/// A witness on loopback. Its time goes on by one with each cosignature.
pub(crate) struct Mock {
    key: FileKey,
    name: String,
    size: Mutex<(u64, Digest)>,
    manner: Mutex<Manner>,
    time: AtomicU64,
    pub(crate) url: String,
}

impl Mock {
    pub(crate) async fn start(seed: u8, manner: Manner) -> Arc<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mock = Arc::new(Self {
            key: FileKey::from_seed(&[seed; 32]).unwrap(),
            name: format!("witness.example/w{seed}"),
            size: Mutex::new((0, Digest::of(b""))),
            manner: Mutex::new(manner),
            time: AtomicU64::new(u64::try_from(jiff::Timestamp::now().as_second()).unwrap()),
            url: format!("http://{}/w", listener.local_addr().unwrap()),
        });
        let router = axum::Router::new()
            .route("/w/add-checkpoint", axum::routing::post(add))
            .with_state(Arc::clone(&mock));
        tokio::spawn(async move { axum::serve(listener, router).await });
        mock
    }

    pub(crate) fn vkey(&self) -> Vkey {
        use countersign_ledger::key::Sign as _;
        Vkey::new(&self.name, KeyKind::Cosignature, self.key.public()).unwrap()
    }

    fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    fn answer(&self, body: &str) -> Result<String, (StatusCode, String)> {
        let manner = *self.manner.lock().unwrap();
        let (head, rest) = body.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let old: u64 = lines
            .next()
            .unwrap()
            .strip_prefix("old ")
            .unwrap()
            .parse()
            .unwrap();
        let proof: Vec<Digest> = lines
            .map(|line| {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD
                    .decode(line)
                    .unwrap();
                Digest::from_bytes(bytes.try_into().unwrap())
            })
            .collect();
        let opened = note::open(rest.as_bytes(), &parts().keys, &RingVerifier).unwrap();
        let checkpoint = Checkpoint::parse(opened.text()).unwrap();
        let mut at = self.size.lock().unwrap();
        match manner {
            Manner::Down => return Err((StatusCode::INTERNAL_SERVER_ERROR, String::new())),
            Manner::Ahead(size) | Manner::Behind(size) => {
                return Err((StatusCode::CONFLICT, format!("{size}\n")));
            }
            Manner::Endless => {
                let line = "\u{2014} witness.example/other AAAAAAAAAAAAAAAA\n";
                return Ok(line.repeat(1 << 16));
            }
            Manner::Honest | Manner::Liar if old != at.0 => {
                return Err((StatusCode::CONFLICT, format!("{}\n", at.0)));
            }
            Manner::Honest | Manner::Liar => {}
        }
        if old > 0 {
            merkle::verify_consistency(old, &at.1, checkpoint.size, &checkpoint.root, &proof)
                .unwrap();
        }
        *at = (checkpoint.size, checkpoint.root);
        let time = self.time.fetch_add(1, Ordering::SeqCst);
        let other = FileKey::from_seed(&[200; 32]).unwrap();
        let key = if manner == Manner::Liar {
            &other
        } else {
            &self.key
        };
        let mut signature = cosignature::sign(&self.name, key, time, opened.text()).unwrap();
        signature.id = self.vkey().id();
        Ok(signature.line())
    }
}

async fn add(Shared(mock): Shared<Arc<Mock>>, body: String) -> Response {
    match mock.answer(&body) {
        Ok(lines) => lines.into_response(),
        Err(refused) => refused.into_response(),
    }
}

pub(crate) fn policy(mocks: &[Arc<Mock>], threshold: usize) -> String {
    let mut text = format!("log {}\n", parts().keys[0]);
    let mut names = String::new();
    for (n, mock) in mocks.iter().enumerate() {
        text.push_str(&format!("witness w{n} {} {}\n", mock.vkey(), mock.url));
        names.push_str(&format!(" w{n}"));
    }
    text.push_str(&format!("group g {threshold}{names}\nquorum g\n"));
    text
}

type Alarms = Arc<Mutex<Vec<(&'static str, String)>>>;

fn witnessed(mocks: &[Arc<Mock>], threshold: usize, cosign_every: Duration) -> (Parts, Alarms) {
    let policy = Policy::parse(policy(mocks, threshold).as_bytes()).unwrap();
    let alarms = Alarms::default();
    let raised = Arc::clone(&alarms);
    let parts = Parts {
        policy: Some(Arc::new(policy)),
        timing: Timing {
            round_max: Duration::from_millis(300),
            cosign_every,
            ..parts().timing
        },
        alarm: Arc::new(move |code, text| raised.lock().unwrap().push((code, text))),
        ..parts()
    };
    (parts, alarms)
}

const NEVER: Duration = Duration::from_secs(3_600);

fn cosigners(signed: &Signed, parts: &Parts) -> usize {
    let policy = parts.policy.as_ref().unwrap();
    let mut keys = policy.vkeys();
    keys.extend(parts.keys.clone());
    let opened = note::open(&signed.note, &keys, &RingVerifier).unwrap();
    let cosigned = policy.cosigned(&opened);
    assert!(policy.satisfied(&cosigned.keys().copied().collect()));
    cosigned.len()
}

#[tokio::test]
async fn a_quorum_publishes_though_a_witness_is_down_and_another_lies() {
    let mocks = [
        Mock::start(1, Manner::Honest).await,
        Mock::start(2, Manner::Down).await,
        Mock::start(3, Manner::Honest).await,
        Mock::start(4, Manner::Liar).await,
    ];
    let (parts, _) = witnessed(&mocks, 2, NEVER);
    let store = Store::in_memory();
    let log = Log::open(store.clone(), index(), parts.clone())
        .await
        .unwrap();
    for n in 0..4 {
        log.append(vec![entry(n)]).await.unwrap();
        let published = published_of(&log, n + 1).await;
        assert_eq!(cosigners(&published, &parts), 2);
        assert_eq!(
            store.get(CHECKPOINT).await.unwrap(),
            Some(published.note.clone())
        );
    }
    assert_eq!(log.waits(), None);
}

#[tokio::test]
async fn without_a_quorum_the_log_goes_on_and_publishing_waits_and_says_so() {
    let mocks = [
        Mock::start(1, Manner::Honest).await,
        Mock::start(2, Manner::Down).await,
    ];
    let (parts, alarms) = witnessed(&mocks, 2, NEVER);
    let log = Log::open(Store::in_memory(), index(), parts.clone())
        .await
        .unwrap();
    for n in 0..3 {
        log.append(vec![entry(n)]).await.unwrap();
    }
    let mut waits = log.waits.clone();
    let why = waits
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(why.contains("w1: WITNESS_REFUSED"), "{why}");
    assert!(log.published().borrow().is_none());
    assert_eq!(alarms.lock().unwrap()[0].0, "LOG_NO_QUORUM");
    mocks[1].set(Manner::Honest);
    let published = published_of(&log, 3).await;
    assert_eq!(cosigners(&published, &parts), 2);
    assert_eq!(log.waits(), None);
    assert_eq!(alarms.lock().unwrap().len(), 1, "one outage is one alarm");
}

#[tokio::test]
async fn a_witness_that_is_elsewhere_than_we_think_says_where_it_is() {
    let mocks = [Mock::start(1, Manner::Honest).await];
    let (parts, _) = witnessed(&mocks, 1, NEVER);
    let store = Store::in_memory();
    let (kept, stop) = (index(), parts.stop.clone());
    let log = Log::open(store.clone(), Arc::clone(&kept), parts)
        .await
        .unwrap();
    log.append(vec![entry(0)]).await.unwrap();
    published_of(&log, 1).await;
    assert_eq!(kept.witness_size(&mocks[0].vkey().to_string()).unwrap(), 1);
    stop.cancel();
    log.ended().await;
    let (parts, _) = witnessed(&mocks, 1, NEVER);
    let log = Log::open(store, index(), parts).await.unwrap();
    log.append(vec![entry(1)]).await.unwrap();
    published_of(&log, 2).await;
}

#[tokio::test]
async fn a_checkpoint_is_cosigned_anew_though_nothing_was_added() {
    let mocks = [Mock::start(1, Manner::Honest).await];
    let (parts, _) = witnessed(&mocks, 1, Duration::from_millis(20));
    let log = Log::open(Store::in_memory(), index(), parts).await.unwrap();
    log.append(vec![entry(0)]).await.unwrap();
    let first = published_of(&log, 1).await;
    let mut published = log.published();
    let newer = |signed: &Option<Arc<Signed>>| {
        signed
            .as_ref()
            .is_some_and(|signed| signed.note != first.note)
    };
    let second = published.wait_for(newer).await.unwrap().clone().unwrap();
    assert_eq!((second.size, second.root), (first.size, first.root));
}

#[tokio::test]
async fn a_witness_that_has_seen_more_than_we_have_is_an_alarm() {
    let mocks = [Mock::start(1, Manner::Ahead(1_000)).await];
    let (parts, alarms) = witnessed(&mocks, 1, NEVER);
    let log = Log::open(Store::in_memory(), index(), parts).await.unwrap();
    log.append(vec![entry(0)]).await.unwrap();
    log.waits.clone().wait_for(Option::is_some).await.unwrap();
    let raised = alarms.lock().unwrap().clone();
    assert!(
        raised.iter().any(|(code, _)| *code == "WITNESS_AHEAD"),
        "{raised:?}"
    );
}

#[tokio::test]
async fn after_a_restart_what_is_published_is_cosigned_anew() {
    let mocks = [Mock::start(1, Manner::Honest).await];
    let store = Store::in_memory();
    let mut notes = Vec::new();
    for _ in 0..2 {
        let (parts, _) = witnessed(&mocks, 1, NEVER);
        let stop = parts.stop.clone();
        let log = Log::open(store.clone(), index(), parts).await.unwrap();
        log.append(vec![entry(0)]).await.unwrap();
        let mut published = log.published();
        let newer = |signed: &Option<Arc<Signed>>| {
            signed
                .as_ref()
                .is_some_and(|signed| !notes.contains(&signed.note))
        };
        let note = published
            .wait_for(newer)
            .await
            .unwrap()
            .clone()
            .unwrap()
            .note
            .clone();
        Note::parse(&note).unwrap();
        notes.push(note);
        stop.cancel();
        log.ended().await;
    }
}

/// Whatever a witness of another kind answers, it alone is out, and no size that it claims is believed.
#[tokio::test]
async fn threat_tessera_1189_an_odd_witness_is_out_and_the_others_count() {
    for odd in [
        Manner::Ahead((1 << 63) - 1),
        Manner::Ahead(u64::MAX),
        Manner::Behind(0),
        Manner::Endless,
    ] {
        let mocks = [
            Mock::start(1, Manner::Honest).await,
            Mock::start(2, odd).await,
            Mock::start(3, Manner::Honest).await,
        ];
        let (parts, _) = witnessed(&mocks, 2, NEVER);
        let log = Log::open(Store::in_memory(), index(), parts.clone())
            .await
            .unwrap();
        for n in 0..3 {
            log.append(vec![entry(n)]).await.unwrap();
            let published = published_of(&log, n + 1).await;
            assert_eq!(cosigners(&published, &parts), 2, "{odd:?}");
        }
    }
}
