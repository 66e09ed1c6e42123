//! Who may register, and who no more.

use super::*;

fn candidate(cluster: &str, key: u8, uid: &str) -> Candidate {
    Candidate {
        cluster: cluster.into(),
        key: [key; 32],
        recipient: format!("age1{key}"),
        cluster_uid: uid.into(),
        ca_fingerprint: String::new(),
        kubernetes: "v1.35.4".into(),
        token: "t".into(),
        method: Method::Token,
        replace: false,
    }
}

fn store() -> Records {
    Records::new(Arc::new(object_store::memory::InMemory::new()))
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

#[tokio::test]
async fn the_first_key_of_a_cluster_stays_and_a_second_is_refused_until_a_person_replaces_it() {
    let records = store();
    let registry = Registry::load(records.clone()).await.unwrap();
    let first = registry
        .register(&candidate("a", 1, "u1"), now())
        .await
        .unwrap();
    assert_eq!(
        registry
            .register(&candidate("a", 1, "u1"), now())
            .await
            .unwrap(),
        first,
        "asked again"
    );
    assert!(matches!(
        registry.register(&candidate("a", 2, "u1"), now()).await,
        Err(RegisterError::Refused(NotRegistered::SecondKey { .. }))
    ));
    let mut second = candidate("a", 2, "u1");
    second.replace = true;
    assert_eq!(registry.register(&second, now()).await.unwrap().number, 2);
    let restarted = Registry::load(records).await.unwrap();
    assert_eq!(restarted.get("a").unwrap().key, [2; 32]);
}

#[tokio::test]
async fn one_kubernetes_cluster_has_one_name_and_one_key_speaks_for_one_cluster() {
    let registry = Registry::load(store()).await.unwrap();
    registry
        .register(&candidate("a", 1, "u1"), now())
        .await
        .unwrap();
    assert!(matches!(
        registry.register(&candidate("b", 2, "u1"), now()).await,
        Err(RegisterError::Refused(NotRegistered::SecondName { .. }))
    ));
    assert!(matches!(
        registry.register(&candidate("b", 1, "u2"), now()).await,
        Err(RegisterError::Refused(NotRegistered::SharedKey { .. }))
    ));
}

#[tokio::test]
async fn of_two_replicas_one_registers_and_the_other_sees_it() {
    let records = store();
    let one = Registry::load(records.clone()).await.unwrap();
    let two = Registry::load(records).await.unwrap();
    one.register(&candidate("a", 1, "u1"), now()).await.unwrap();
    assert!(matches!(
        two.register(&candidate("a", 2, "u1"), now()).await,
        Err(RegisterError::Refused(NotRegistered::SecondKey { .. }))
    ));
    assert_eq!(two.get("a").unwrap().key, [1; 32]);
}

#[test]
fn a_new_encryption_key_of_the_same_agent_is_taken() {
    let known = Registration {
        cluster: "a".into(),
        number: 4,
        key: [1; 32],
        recipient: "age1old".into(),
        cluster_uid: "u1".into(),
        ca_fingerprint: String::new(),
        kubernetes: String::new(),
        token: String::new(),
        method: Method::Token,
        time: now(),
    };
    let newest = BTreeMap::from([("a".to_owned(), Arc::new(known))]);
    assert_eq!(
        decide(&newest, &BTreeMap::new(), &candidate("a", 1, "u1")),
        Ok(Decision::Write { number: 5 })
    );
}

#[tokio::test]
async fn a_revoked_key_speaks_no_more_and_is_never_registered_again() {
    let records = store();
    let registry = Registry::load(records.clone()).await.unwrap();
    let first = candidate("a", 1, "u1");
    registry.register(&first, now()).await.unwrap();
    let revoked = registry
        .revoke("a", "stolen", "uid 0", now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((revoked.key, revoked.number), ([1; 32], 1));
    let again = registry
        .revoke("a", "another reason", "uid 1", now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, revoked, "asked again");
    assert!(
        registry
            .revoke("b", "nobody", "uid 0", now())
            .await
            .unwrap()
            .is_none()
    );

    let restarted = Registry::load(records).await.unwrap();
    assert_eq!(restarted.revoked(&[1; 32]), Some(revoked));
    for replace in [false, true] {
        let same = Candidate {
            replace,
            ..first.clone()
        };
        assert!(matches!(
            restarted.register(&same, now()).await,
            Err(RegisterError::Refused(NotRegistered::KeyRevoked { .. }))
        ));
    }
    let mut second = candidate("a", 2, "u1");
    assert!(matches!(
        restarted.register(&second, now()).await,
        Err(RegisterError::Refused(NotRegistered::SecondKey { .. }))
    ));
    second.replace = true;
    assert_eq!(restarted.register(&second, now()).await.unwrap().number, 2);
    assert_eq!(restarted.revoked(&[2; 32]), None);
}
