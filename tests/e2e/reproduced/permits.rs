//! Deletions beyond the limits: a second renderer takes a state's word for a person's permit only if that person signed it.

use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::{
    Digest, dsse,
    key::FileKey,
    statement::{Desired, Permit, PermitKind, Statement},
};
use countersign_tests::{
    rogue::{Forgery, StolenLog},
    until,
    world::FLEET,
};

use super::{Looker, copy, forged};
use crate::{
    fixture::ONE,
    overrides::stand,
    permits::{empty, fill, gone, permit},
};

const LIMIT: Duration = Duration::from_secs(60);

/// The forgery, saying that ada permitted this deletion, signed by the sealer once more.
fn saying_so(forged: Forgery, digest: &str, sealer: &FileKey) -> Forgery {
    let envelope = dsse::Envelope::parse(&forged.head.envelopes[0], &dsse::Limits::entry());
    let envelope = envelope.unwrap();
    let Statement::Desired(state) = Statement::parse(envelope.payload()).unwrap() else {
        panic!("not a desired state");
    };
    let says = Permit {
        permit: PermitKind::Deletion,
        subject: ONE.into(),
        object: digest.into(),
        by: "ada".into(),
        reason: "the shop closes".into(),
    };
    let state = Desired {
        permits: vec![says],
        ..state
    };
    let signed = dsse::sign(dsse::PAYLOAD_TYPE, &state.payload().unwrap(), &[sealer]).unwrap();
    let mut head = forged.head;
    head.envelopes = vec![Bytes::copy_from_slice(signed.bytes())];
    Forgery { head, ..forged }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_a_person_signed_is_agreed_to_and_one_that_a_state_only_says_is_not() {
    let (mut stand, ada) = stand().await;
    fill(&stand).await;
    let (digest, commit) = empty(&stand).await;
    let given = permit(&stand, &ada, &digest).await;
    assert_eq!(given.code, Some(0), "{given:?}");
    gone(&stand, &commit).await;
    let looker = Looker::of(&stand).await;
    let store = stand.world.hub.data().join("store");
    until(
        "all states are published and agreed to",
        LIMIT,
        async || {
            let honest = looker.looks(&store, &[]);
            let newest = format!(
                "generation {} ",
                stand
                    .world
                    .operator
                    .cluster(ONE)
                    .await?
                    .summary
                    .generation_sealed
            );
            anyhow::ensure!(
                honest.code == Some(0) && honest.stdout.contains(&newest),
                "{honest:?}"
            );
            Ok(())
        },
    )
    .await;
    stand.world.hub.stop().await.unwrap();

    let keys = stand.world.trust.hub_keys();
    let pem = std::fs::read_to_string(keys.join("sealer-test.key")).unwrap();
    let sealer = FileKey::from_pem(&pem).unwrap();
    for (name, digest) in [
        ("what was used already", digest),
        ("what nobody permitted", Digest::of(b"others").to_string()),
    ] {
        let forged = saying_so(forged(&stand), &digest, &sealer);
        let copied = tempfile::tempdir().unwrap();
        copy(&store, &forged, copied.path());
        let mut log = StolenLog::take(FLEET, &store, &keys).unwrap();
        log.append(&forged.head.envelopes[0]);
        log.write(copied.path()).unwrap();
        let found = looker.looks(copied.path(), &[]);
        assert_eq!(found.code, Some(1), "{name}: {found:?}");
        let told = "app one: it says that a deletion was permitted, and nobody signed that";
        assert!(found.stdout.contains(told), "{name}: {found:?}");
    }
}
