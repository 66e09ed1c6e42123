//! Somebody who would like to be trusted: trust roots that too few signed, served in the hub's place with its keys. None is taken,
//! nothing that stands on one is applied, and what runs is still healed.

use std::time::Duration;

use countersign_ledger::{
    dsse,
    key::{FileKey, Sign},
    statement::Statement,
    trust::{NamedKey, SealerKey, TrustRoot},
};
use countersign_proto::agent::v1::Head;
use countersign_tests::{
    rogue::{Forgery, Rogue, StolenLog, forge},
    until,
    world::FLEET,
};
use ring::rand::SystemRandom;
use serde_json::json;

use crate::{
    attacks::{blobs, envelopes, heals},
    fixture::{Stand, config_map},
};

const LIMIT: Duration = Duration::from_secs(60);

/// The next trust root, in which the thief's key seals, and another of theirs owns the fleet if `owner` is one.
fn next(current: &[u8], thief: &FileKey, owner: Option<&FileKey>, signers: &[&FileKey]) -> Vec<u8> {
    let envelope = dsse::Envelope::parse(current, &dsse::Limits::trust_root()).unwrap();
    let mut root = TrustRoot::parse(envelope.payload()).unwrap();
    root.version += 1;
    let key = thief.public();
    root.sealers.insert("test".into(), vec![SealerKey { key }]);
    if let Some(owner) = owner {
        root.root.keys = vec![NamedKey {
            key: owner.public(),
            name: "owner".into(),
        }];
    }
    let signers: Vec<&dyn Sign> = signers.iter().map(|key| *key as &dyn Sign).collect();
    root.sign(&signers).unwrap().bytes().to_vec()
}

/// The thief's state under the thief's root.
fn state(newest: &[u8], thief: &FileKey) -> Forgery {
    let loot = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loot", "namespace": "default"}, "data": {"v": "stolen"}});
    let Forgery { head, blobs } = forge(newest, &loot, thief).unwrap();
    let envelope = dsse::Envelope::parse(&head.envelopes[0], &dsse::Limits::entry()).unwrap();
    let Statement::Desired(mut desired) = Statement::parse(envelope.payload()).unwrap() else {
        panic!("not a desired state");
    };
    desired.trust_root = 2;
    let signed = dsse::sign(dsse::PAYLOAD_TYPE, &desired.payload().unwrap(), &[thief]).unwrap();
    let envelopes = vec![signed.bytes().to_vec().into()];
    Forgery {
        head: Head { envelopes, ..head },
        blobs,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_root_that_too_few_signed_is_refused_and_nothing_that_stands_on_it_is_applied() {
    let files: Vec<(String, String)> = (0..4)
        .map(|n| format!("h{n}"))
        .chain(["a".to_owned()])
        .map(|name| {
            (
                format!("clusters/one/{name}.yaml"),
                config_map(&name, "v", "1"),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (&**path, &**text))
        .collect();
    let mut stand = Stand::new(&files).await;
    stand.world.hub.process.kill().unwrap();
    let data = stand.world.hub.data();
    let keys = stand.world.trust.hub_keys();
    let current = std::fs::read(stand.world.trust.document()).unwrap();
    let thief = FileKey::generate(&SystemRandom::new()).unwrap();
    let owner = FileKey::generate(&SystemRandom::new()).unwrap();
    let sealer = std::fs::read_to_string(keys.join("sealer-test.key")).unwrap();
    let sealer = FileKey::from_pem(&sealer).unwrap();
    let newest = envelopes(&data).pop().unwrap();
    let before = stand.config_maps("default").get("a").await.unwrap();

    let attacks = [
        ("signed by nobody", next(&current, &thief, None, &[])),
        (
            "signed by the thief",
            next(&current, &thief, None, &[&thief]),
        ),
        (
            "signed by a sealer's key",
            next(&current, &thief, None, &[&sealer]),
        ),
        (
            "that only its own new keys signed",
            next(&current, &thief, Some(&owner), &[&owner]),
        ),
    ];
    for (n, (name, root)) in attacks.into_iter().enumerate() {
        let Forgery { head, blobs: loot } = state(&newest, &thief);
        let mut log = StolenLog::take(FLEET, &data.join("store"), &keys).unwrap();
        log.append(&head.envelopes[0]);
        let from = stand.agent.process.log().len();
        let all = blobs(&data).into_iter().chain(loot).collect();
        let rogue = Rogue::start(stand.world.hub.agents(), &keys, head, all, Some(log))
            .await
            .unwrap();
        rogue.serve_roots([root.to_vec()]);
        until(&format!("a root {name} is refused"), LIMIT, async || {
            let log = stand.agent.process.log()[from..].to_owned();
            let refused = log.contains("TRUST_ROOT_SIGNATURES");
            refused.then_some(()).ok_or(log)
        })
        .await;
        rogue.leave().await;
        assert_eq!(stand.value("default", "loot", "v").await, None, "{name}");
        let after = stand.config_maps("default").get("a").await.unwrap();
        assert_eq!(
            (&after.metadata.uid, &after.metadata.resource_version),
            (&before.metadata.uid, &before.metadata.resource_version),
            "{name}"
        );
        let kept = stand.agent.data().join("trust/2.json");
        assert!(!kept.exists(), "{name}: the root is kept");
        heals(&stand, &format!("h{n}")).await;
    }

    stand.world.hub.restart().await.unwrap();
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("2"));
}
