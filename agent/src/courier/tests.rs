//! Parcels as they lie in a folder: which one is opened, what is told of those that are not.

use std::sync::Mutex;

use bytes::Bytes;
use countersign_ledger::key::FileKey;
use countersign_ledger::tlog::{Checkpoint, Note};
use countersign_proto::agent::v1 as proto;
use countersign_proto::courier::v1 as courier;
use countersign_proto::parcel::{Kind, write};
use prost::Message as _;

use super::desk::Desk;
use super::parcel::{Parcel, Unusable};
use super::*;

/// A parcel from one generation to another, with the log's sizes that it leads on from.
#[derive(Clone)]
struct Made {
    cluster: &'static str,
    from: u64,
    to: u64,
    ways: Vec<u64>,
    size: u64,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            cluster: "one",
            from: 0,
            to: 3,
            ways: vec![4],
            size: 9,
        }
    }
}

fn note(size: u64) -> Bytes {
    let checkpoint = Checkpoint {
        origin: "example.org/log".to_owned(),
        size,
        root: Digest::of(&size.to_be_bytes()),
    };
    let mut note = Note::new(&checkpoint.text()).unwrap();
    note.sign("example.org/log", &FileKey::from_seed(&[1; 32]).unwrap())
        .unwrap();
    note.bytes().into()
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        let header = courier::ParcelHeader {
            fleet: "acme".into(),
            cluster: self.cluster.into(),
            from_generation: self.from,
            generation: self.to,
            tree_size: self.size,
        };
        let ways = courier::Ways {
            ways: self
                .ways
                .iter()
                .map(|from| courier::Way {
                    from: *from,
                    hashes: vec![Bytes::copy_from_slice(&[7; 32])],
                })
                .collect(),
        };
        let head = proto::Head {
            envelopes: (self.from + 1..=self.to).map(envelope).collect(),
            proofs: (self.from + 1..=self.to)
                .map(|index| proto::LogProof {
                    index,
                    hashes: Vec::new(),
                })
                .collect(),
            checkpoint: note(self.size),
            ..proto::Head::default()
        };
        let mut bytes = Vec::new();
        let frames = [
            (Kind::Parcel, header.encode_to_vec()),
            (Kind::TrustRoot, b"a root".to_vec()),
            (Kind::Ways, ways.encode_to_vec()),
            (Kind::Head, head.encode_to_vec()),
            (Kind::Blob, b"first blob".to_vec()),
            (Kind::Blob, b"second".to_vec()),
        ];
        write(
            &mut bytes,
            frames.iter().map(|(kind, content)| (*kind, &content[..])),
        )
        .unwrap();
        bytes
    }

    fn read(&self) -> Parcel {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), self.bytes()).unwrap();
        Parcel::read(file.path()).unwrap()
    }
}

fn envelope(generation: u64) -> Bytes {
    Bytes::from(format!("envelope {generation}"))
}

type Told = Arc<Mutex<Vec<(&'static str, String)>>>;

fn desk() -> (Desk, Told) {
    let told = Told::default();
    let tell = {
        let told = Arc::clone(&told);
        move |code, file: &str, _: &str| told.lock().unwrap().push((code, file.to_owned()))
    };
    (Desk::new("acme", "one", Box::new(tell)), told)
}

#[test]
fn blobs_are_read_where_they_lie() {
    let parcel = Made::default().read();
    for content in [&b"first blob"[..], b"second"] {
        assert_eq!(parcel.blob(&Digest::of(content)).as_deref(), Some(content));
    }
    assert_eq!(parcel.blob(&Digest::of(b"third")), None);
}

#[test]
fn heads_begin_where_the_agent_stands_and_lead_on_from_what_it_saw() {
    let parcel = Made::default().read();
    let heads = parcel.heads(0, 0).unwrap();
    assert_eq!(heads[0].envelopes, [envelope(1), envelope(2), envelope(3)]);
    assert!(heads[0].consistency.is_empty());

    let heads = parcel.heads(2, 4).unwrap();
    assert_eq!(heads[0].envelopes, [envelope(3)]);
    assert_eq!(heads[0].proofs[0].index, 3);
    assert_eq!(heads[0].consistency.len(), 1);

    assert!(parcel.heads(2, 9).is_some(), "the same checkpoint");
    assert!(parcel.heads(2, 5).is_none(), "no way from there");
    assert!(parcel.heads(2, 10).is_none(), "the agent has seen more");
    assert!(parcel.heads(4, 4).is_none(), "the agent is ahead");
    let later = Made {
        from: 2,
        ..Made::default()
    };
    assert!(later.read().heads(1, 4).is_none(), "it begins later");
}

#[test]
fn of_several_parcels_the_newest_that_fits_is_opened() {
    let (desk, told) = desk();
    let made = |from, to, size| Made {
        from,
        to,
        size,
        ..Made::default()
    };
    desk.put("a.parcel".into(), Ok(made(0, 2, 6).read()));
    desk.put("b.parcel".into(), Ok(made(0, 3, 9).read()));
    desk.put("c.parcel".into(), Ok(made(7, 9, 20).read()));
    let heads = desk.open(0, 0).unwrap();
    assert_eq!(heads[0].envelopes.len(), 3);
    assert_eq!(*told.lock().unwrap(), []);

    // Nothing more fits: the one that begins too late is told of.
    assert!(desk.open(3, 9).is_none());
    assert_eq!(
        *told.lock().unwrap(),
        [("PARCEL_DOES_NOT_FIT", "c.parcel".to_owned())]
    );
}

#[test]
fn a_parcel_that_is_refused_again_and_again_is_set_aside_for_an_older_one() {
    let (desk, _) = desk();
    let old = Made {
        to: 2,
        size: 6,
        ..Made::default()
    };
    desk.put("new.parcel".into(), Ok(Made::default().read()));
    desk.put("old.parcel".into(), Ok(old.read()));
    let mut opened = Vec::new();
    for _ in 0..5 {
        desk.trust_roots();
        opened.push(desk.open(0, 0).map(|heads| heads[0].envelopes.len()));
    }
    assert_eq!(opened[0], Some(3));
    assert!(opened.contains(&Some(2)), "{opened:?}");
    // The old one brought the agent further: the new one is tried again.
    assert_eq!(desk.open(2, 6), None, "it does not lead on from 6 entries");
    assert!(desk.open(2, 4).is_some());
}

#[test]
fn what_is_no_parcel_of_this_cluster_is_told_of_and_not_opened() {
    let (desk, told) = desk();
    let other = Made {
        cluster: "two",
        ..Made::default()
    };
    desk.put("two.parcel".into(), Ok(other.read()));
    desk.put("odd.parcel".into(), Err(Unusable::Message));
    assert!(desk.open(0, 0).is_none());
    assert_eq!(
        *told.lock().unwrap(),
        [
            ("PARCEL_OF_ANOTHER", "two.parcel".to_owned()),
            ("PARCEL_UNUSABLE", "odd.parcel".to_owned())
        ]
    );
}

#[test]
fn a_file_that_is_cut_off_or_flipped_anywhere_is_read_without_harm() {
    let whole = Made::default().bytes();
    let file = tempfile::NamedTempFile::new().unwrap();
    for at in 0..whole.len() {
        std::fs::write(file.path(), &whole[..at]).unwrap();
        assert!(Parcel::read(file.path()).is_err(), "{at}");
        let mut flipped = whole.clone();
        flipped[at] ^= 0x41;
        std::fs::write(file.path(), &flipped).unwrap();
        if let Ok(parcel) = Parcel::read(file.path()) {
            let _ = parcel.heads(0, 0);
        }
    }
}

#[tokio::test]
async fn parcels_are_seen_as_they_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, _) = desk();
    let desk = Arc::new(desk);
    let mut changes = desk.changes();
    let _watcher = folder::watch(folder.path(), Arc::clone(&desk)).unwrap();
    let whole = Made::default().bytes();
    let path = folder.path().join("a.parcel");
    std::fs::write(&path, &whole[..20]).unwrap();
    std::fs::write(folder.path().join("a.part"), &whole).unwrap();
    std::fs::rename(folder.path().join("a.part"), &path).unwrap();
    let came = tokio::time::timeout(Duration::from_secs(20), changes.changed());
    came.await.unwrap().unwrap();
    assert!(desk.open(0, 0).is_some());
    std::fs::remove_file(&path).unwrap();
    let gone = async {
        while desk.open(0, 0).is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .unwrap();
}
