//! A thief with every key of the hub and of the witness: what no person signed stays out.

use std::{path::Path, process::Command, sync::Arc};

use bytes::Bytes;
use countersign_ledger::{
    commit::{ObjectKind, frame},
    dsse,
    key::{FileKey, Sign},
    statement::{Desired, Source, Statement},
};
use countersign_proto::agent::v1::{Blob, Head};
use countersign_tests::{
    rogue::{Cosigner, Forgery, Rogue, StolenLog, entries, forge},
    witness::Witness,
};
use serde_json::json;

use super::{Begins, Place, ada, file, mallory};
use crate::{
    attacks::{self, blobs, envelopes, heals},
    fixture::config_map,
    log_attacks::the_seen_log,
};

/// What a thief says, and how it must be refused.
struct Theft {
    name: &'static str,
    commit: String,
    objects: Vec<Bytes>,
    refused: &'static str,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_with_all_its_keys_stolen_says_nothing_for_people() {
    let mut place = Place::new(Begins::Authored, 6).await;
    let first = place.stand.world.repo.head().unwrap();
    let good = place.push("2", &ada());
    place.live(&good, "2").await;
    let log = the_seen_log(&place.stand).await;
    place.stand.world.hub.process.kill().unwrap();

    let thefts = thefts(&place, &first, &good);
    let loot = Loot::of(&place);
    for (n, theft) in thefts.into_iter().enumerate() {
        let before = place.mark().await;
        let rogue = loot.show(&place, &log, &theft).await;
        attacks::refused(&place.stand, &rogue, theft.name, &[theft.refused]).await;
        rogue.leave().await;
        let stolen = place.stand.value("default", "loot", "v").await;
        assert_eq!(stolen, None, "{}", theft.name);
        assert_eq!(place.mark().await, before, "{}", theft.name);
        heals(&place.stand, &format!("h{n}")).await;
    }

    // The hub is its owner's again, and people's word goes live.
    place.stand.world.hub.restart().await.unwrap();
    place.stand.world.repo.reset(&good).unwrap();
    let next = place.push("3", &ada());
    place.live(&next, "3").await;
}

/// Commits that lead on from `good`, or back from it, none of which is a person's word for what follows it.
fn thefts(place: &Place, first: &str, good: &str) -> Vec<Theft> {
    let repo = &place.stand.world.repo;
    let mut made = 0;
    let mut onto_good = |sign: Option<&dyn Fn(&str) -> String>| {
        made += 1;
        repo.reset(good).unwrap();
        let text = config_map("a", "v", &format!("stolen {made}"));
        repo.write(&file("a"), text).unwrap();
        match sign {
            None => repo.commit("stolen"),
            Some(sign) => repo.commit_with("stolen", sign),
        }
        .unwrap()
    };
    let unsigned = onto_good(None);
    let strangers = onto_good(Some(&|raw| mallory().sign("git", raw.as_bytes())));
    let moved = onto_good(Some(&|_| ada().sign("git", b"another commit of hers")));
    let of_a_file = onto_good(Some(&|raw| ada().sign("file", raw.as_bytes())));
    let objects = |commit: &str| objects(repo.path(), commit);
    let theft = |name, commit: &str, objects, refused| Theft {
        name,
        commit: commit.to_owned(),
        objects,
        refused,
    };
    vec![
        theft("no objects at all", &unsigned, Vec::new(), "COMMIT_MISSING"),
        theft(
            "a commit of nobody's",
            &unsigned,
            objects(&unsigned),
            "COMMIT_UNSIGNED",
        ),
        theft(
            "a commit of the thief's",
            &strangers,
            objects(&strangers),
            "COMMIT_SIGNER_UNKNOWN",
        ),
        theft(
            "a signature from another commit",
            &moved,
            objects(&moved),
            "COMMIT_SIGNATURE_INVALID",
        ),
        theft(
            "a signature for a file",
            &of_a_file,
            objects(&of_a_file),
            "COMMIT_SIGNATURE_INVALID",
        ),
        theft(
            "what Ada signed before",
            first,
            objects(first),
            "COMMIT_NOT_DESCENDED",
        ),
    ]
}

/// Every commit and tree behind a commit, as they travel.
pub(super) fn objects(repository: &Path, commit: &str) -> Vec<Bytes> {
    let git = |args: &[&str]| {
        let done = Command::new("git")
            .current_dir(repository)
            .args(args)
            .output();
        let done = done.unwrap();
        assert!(done.status.success(), "{args:?}: {done:?}");
        done.stdout
    };
    let list = git(&["rev-list", "--objects", "--no-object-names", commit]);
    let list = String::from_utf8(list).unwrap();
    let mut objects = Vec::new();
    for id in list.lines() {
        let kind = match &git(&["cat-file", "-t", id])[..] {
            b"commit\n" => ObjectKind::Commit,
            b"tree\n" => ObjectKind::Tree,
            _ => continue,
        };
        let name = if kind == ObjectKind::Commit {
            "commit"
        } else {
            "tree"
        };
        objects.push(frame(kind, &git(&["cat-file", name, id])).into());
    }
    objects
}

/// What the thief has: the hub's keys, its newest state, the witness.
pub(super) struct Loot {
    newest: Vec<u8>,
    genuine: Vec<Blob>,
    sealer: FileKey,
    witness: Arc<FileKey>,
    name: String,
}

impl Loot {
    pub(super) fn of(place: &Place) -> Self {
        let data = place.stand.world.hub.data();
        Self {
            newest: envelopes(&data).pop().unwrap(),
            genuine: blobs(&data),
            sealer: sealer(&place.stand.world.trust.hub_keys()),
            witness: Arc::new(place.witness.key().unwrap()),
            name: name(&place.witness),
        }
    }

    /// Takes the hub's place with a state that was made from the theft's commit, in a log that the witness cosigned.
    async fn show(&self, place: &Place, log: &StolenLog, theft: &Theft) -> Rogue {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loot", "namespace": "default"}, "data": {"v": "stolen"}});
        let Forgery { head, blobs } = forge(&self.newest, &object, &self.sealer).unwrap();
        let data = place.stand.world.hub.data();
        let source = signed(
            &Source {
                new: theft.commit.clone(),
                ..last_source(&data)
            }
            .payload()
            .unwrap(),
            &self.sealer,
        );
        let forged = Desired {
            commit: theft.commit.clone(),
            source: source.leaf_hash(),
            ..desired(&head.envelopes[0])
        };
        let forged = signed(&forged.payload().unwrap(), &self.sealer);
        let mut log = log.clone();
        log.append(source.bytes());
        log.append(forged.bytes());
        let head = Head {
            envelopes: vec![Bytes::copy_from_slice(forged.bytes())],
            git_objects: theft.objects.clone(),
            ..head
        };
        self.rogue(place, head, blobs, log).await
    }

    /// Takes the hub's place with this head and a log that the witness cosigned a moment ago.
    pub(super) async fn rogue(
        &self,
        place: &Place,
        head: Head,
        smuggled: Vec<Blob>,
        log: StolenLog,
    ) -> Rogue {
        let now = jiff::Timestamp::now().as_second();
        let cosigner = Cosigner {
            name: self.name.clone(),
            key: Arc::clone(&self.witness),
            time: u64::try_from(now).unwrap(),
        };
        let keys = place.stand.world.trust.hub_keys();
        let blobs = self.genuine.iter().cloned().chain(smuggled).collect();
        let log = log.cosigned_by(&[cosigner]);
        Rogue::start(
            place.stand.world.hub.agents(),
            &keys,
            head,
            blobs,
            Some(log),
        )
        .await
        .unwrap()
    }

    /// The newest state of the hub that was robbed.
    pub(super) fn newest(&self) -> &[u8] {
        &self.newest
    }
}

pub(super) fn sealer(keys: &Path) -> FileKey {
    FileKey::from_pem(&std::fs::read_to_string(keys.join("sealer-test.key")).unwrap()).unwrap()
}

fn name(witness: &Witness) -> String {
    witness.vkey().name().to_owned()
}

fn signed(payload: &[u8], key: &FileKey) -> dsse::Envelope {
    let signers: [&dyn Sign; 1] = [key];
    dsse::sign(dsse::PAYLOAD_TYPE, payload, &signers).unwrap()
}

fn desired(envelope: &[u8]) -> Desired {
    let envelope = dsse::Envelope::parse(envelope, &dsse::Limits::entry()).unwrap();
    match Statement::parse(envelope.payload()).unwrap() {
        Statement::Desired(desired) => desired,
        other => panic!("{other:?}"),
    }
}

/// A genuine source entry of the hub's store.
fn last_source(data: &Path) -> Source {
    let mut found = None;
    for staged in std::fs::read_dir(data.join("store/staging")).unwrap() {
        let path = staged.unwrap().path();
        if !path.is_file() {
            continue;
        }
        for entry in entries(&std::fs::read(path).unwrap()) {
            let envelope = dsse::Envelope::parse(entry, &dsse::Limits::entry()).unwrap();
            if let Statement::Source(source) = Statement::parse(envelope.payload()).unwrap() {
                found = Some(source);
            }
        }
    }
    found.unwrap()
}
