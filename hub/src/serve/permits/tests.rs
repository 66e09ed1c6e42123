use super::*;

/// The oldest permit that allows exactly this.
fn find(permits: &Permits, wanted: &PermitKind) -> Option<Arc<Permit>> {
    let mut standing = permits.standing().into_iter();
    standing.find(|permit| permit.permit == *wanted)
}

fn deletion(manifest: &str) -> PermitRequest {
    PermitRequest {
        permit: PermitKind::Deletion {
            app: "cart".into(),
            manifest: manifest.into(),
        },
        reason: " shop closes ".into(),
    }
}

#[test]
fn what_can_not_be_meant_is_refused() {
    let digest = "ab".repeat(32);
    let good = parse(deletion(&format!("sha256:{digest}"))).unwrap();
    assert_eq!(
        good,
        PermitRequest {
            reason: "shop closes".into(),
            ..deletion(&digest)
        }
    );
    assert!(matches!(
        parse(deletion("ab")),
        Err(BadPermit::BadManifest { .. })
    ));
    assert!(matches!(
        parse(deletion(&"AB".repeat(32))),
        Err(BadPermit::BadManifest { .. })
    ));
    assert_eq!(
        parse(PermitRequest {
            reason: " ".into(),
            ..deletion(&digest)
        }),
        Err(BadPermit::NoReason)
    );
    for (reference, commit, ok) in [
        ("refs/heads/main", "ab".repeat(20), true),
        ("refs/heads/main", "ab".repeat(32), true),
        ("main", "ab".repeat(20), false),
        ("refs/heads/ma\nin", "ab".repeat(20), false),
        ("refs/heads/main", "HEAD".to_owned(), false),
    ] {
        let request = PermitRequest {
            permit: PermitKind::Rewrite {
                reference: reference.into(),
                commit: commit.clone(),
            },
            reason: "history cleaned".into(),
        };
        assert_eq!(parse(request).is_ok(), ok, "{reference} {commit}");
    }
}

#[tokio::test]
async fn a_permit_survives_a_restart_and_allows_exactly_what_it_names() {
    let store = Records::new(Arc::new(object_store::memory::InMemory::new()));
    let permits = Permits::load("acme", store.clone()).await.unwrap();
    let mut watch = permits.watch();
    watch.mark_unchanged();
    let digest = "ab".repeat(32);
    let given = permits
        .give(
            parse(deletion(&digest)).unwrap(),
            "uid 1000",
            Timestamp::UNIX_EPOCH,
        )
        .await
        .unwrap();
    assert!(watch.has_changed().unwrap());
    let again = Permits::load("acme", store.clone()).await.unwrap();
    assert_eq!(again.all(), std::slice::from_ref(&given));
    assert_eq!(find(&again, &given.permit), Some(given));
    assert_eq!(find(&again, &deletion(&"cd".repeat(32)).permit), None);
    let other_fleet = Permits::load("other", store).await.unwrap();
    assert!(other_fleet.all().is_empty());
}

#[tokio::test]
async fn a_permit_of_a_rewrite_is_used_once_and_that_survives_a_restart() {
    let store = Records::new(Arc::new(object_store::memory::InMemory::new()));
    let permits = Permits::load("acme", store.clone()).await.unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let rewrite = |commit: &str| PermitRequest {
        permit: PermitKind::Rewrite {
            reference: "refs/heads/main".into(),
            commit: commit.repeat(40),
        },
        reason: "history cleaned".into(),
    };
    for (request, by) in [
        (rewrite("1"), "a"),
        (rewrite("1"), "b"),
        (rewrite("2"), "a"),
    ] {
        permits.give(request, by, now).await.unwrap();
    }
    permits
        .used_by("refs/heads/main", &"1".repeat(40), now)
        .await
        .unwrap();
    permits
        .used_by("refs/heads/other", &"2".repeat(40), now)
        .await
        .unwrap();
    for permits in [permits, Permits::load("acme", store).await.unwrap()] {
        assert_eq!(find(&permits, &rewrite("1").permit), None);
        assert!(find(&permits, &rewrite("2").permit).is_some());
        let used: Vec<bool> = permits.all().iter().map(|permit| permit.used).collect();
        assert_eq!(used.iter().filter(|used| **used).count(), 2, "{used:?}");
    }
}

#[tokio::test]
async fn a_record_changed_in_the_store_allows_nothing() {
    let store = Records::new(Arc::new(object_store::memory::InMemory::new()));
    let permits = Permits::load("acme", store.clone()).await.unwrap();
    let given = permits
        .give(
            parse(deletion(&"ab".repeat(32))).unwrap(),
            "x",
            Timestamp::UNIX_EPOCH,
        )
        .await
        .unwrap();
    let path = format!("permits/{}.json", given.id);
    let bytes = store.read_bytes(&path).await.unwrap().unwrap();
    store.remove(&path).await.unwrap();
    let forged = String::from_utf8(bytes.to_vec())
        .unwrap()
        .replace("abab", "cdcd");
    store.create_bytes(&path, forged.into()).await.unwrap();
    assert!(Permits::load("acme", store).await.unwrap().all().is_empty());
}

/// A permit that stands in the log.
fn signed(id: &str, manifest: &str) -> Permit {
    Permit {
        id: id.into(),
        permit: deletion(manifest).permit,
        reason: "shop closes".into(),
        by: "ada".into(),
        time: Timestamp::UNIX_EPOCH,
        used: false,
        until: Timestamp::from_second(60).ok(),
        entry: Some(7),
    }
}

#[tokio::test]
async fn where_people_sign_nothing_else_counts_and_each_word_counts_once() {
    let store = Records::new(Arc::new(object_store::memory::InMemory::new()));
    let permits = Permits::load("acme", store.clone()).await.unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let digest = "ab".repeat(32);
    let request = parse(deletion(&digest)).unwrap();
    permits
        .give(request.clone(), "uid 1000", now)
        .await
        .unwrap();
    assert_eq!(permits.unsigned_refused(), None);
    assert_eq!(permits.standing().len(), 1);
    permits.ask_signatures(true);
    assert!(permits.unsigned_refused().is_some());
    assert!(permits.standing().is_empty(), "it was given before");

    permits.heard(vec![signed("one", &digest)]);
    assert_eq!(find(&permits, &request.permit).unwrap().by, "ada");
    let ids = BTreeSet::from(["one".to_owned()]);
    permits.spend(&ids, &"1".repeat(40), now).await.unwrap();
    assert!(permits.standing().is_empty());
    assert_eq!(permits.all().len(), 2, "both are listed");

    // After a restart it is read from the log again, and is used all the same.
    let again = Permits::load("acme", store).await.unwrap();
    again.ask_signatures(true);
    again.heard(vec![signed("one", &digest), signed("two", &digest)]);
    let standing = again.standing();
    assert_eq!(standing.len(), 1);
    assert_eq!(standing[0].id, "two");
}
