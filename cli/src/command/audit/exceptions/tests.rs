use countersign_ledger::statement::receipt::ReceiptKind;
use countersign_ledger::statement::{Override, Statement};
use countersign_ledger::trust::Level;

use super::super::changes;
use super::super::tests::{ask, column, copied};
use super::*;
use crate::audit::judge::time as told;
use crate::audit::tests::fixture::{Fixture, MINUTE, commit, time};

/// The rows of one kind, each with the values of these columns.
fn rows(fixture: &Fixture, kind: &str, columns: &[&str]) -> Vec<Vec<Value>> {
    let folder = copied(fixture);
    let answer = ask(folder.path(), |audit| exceptions(audit, &Which::default()));
    let kinds = column(&answer, "kind");
    let cells: Vec<Vec<Value>> = columns.iter().map(|name| column(&answer, name)).collect();
    kinds
        .iter()
        .enumerate()
        .filter(|(_, had)| *had == kind)
        .map(|(at, _)| cells.iter().map(|cells| cells[at].clone()).collect())
        .collect()
}

/// Olga's word, until a day that has not come.
fn say(fixture: &mut Fixture, kind: OverrideKind, app: &str, what: &str) -> u64 {
    let this = Override {
        fleet: "acme".into(),
        kind,
        cluster: Some("eks-a".into()),
        app: (!app.is_empty()).then(|| app.to_owned()),
        what: what.into(),
        reason: "night shift".into(),
        by: "olga".into(),
        issued: time(fixture.now),
        until: Time::from_ms(253_402_300_799_000).unwrap(),
    };
    fixture.say(&Statement::Override(this), &["olga"])
}

#[test]
fn exceptions_and_unhealed_drift_are_listed() {
    let mut fixture = Fixture::complete(Level::Signed);
    fixture.override_(OverrideKind::Pause, "eks-a", "");
    fixture.drift("eks-a", "cart", false);
    fixture.drift("metal-b", "cart", false);
    fixture.drift("metal-b", "cart", true);
    let folder = copied(&fixture);
    let answer = ask(folder.path(), |audit| exceptions(audit, &Which::default()));
    let mut kinds = column(&answer, "kind");
    kinds.retain(|kind| kind != "CHECKPOINT_STALE");
    assert_eq!(kinds, ["OVERRIDE", "DRIFT_UNHEALED"]);
    let unhealed = ask(folder.path(), |audit| {
        changes::drift(audit, &Which::default(), true)
    });
    assert_eq!(column(&unhealed, "cluster"), ["eks-a"]);
    assert_eq!(column(&unhealed, "managers"), ["kubectl-edit"]);
}

#[test]
fn each_override_says_who_why_until_when_and_how_it_ended() {
    let mut fixture = Fixture::complete(Level::Signed);
    let by_itself = fixture.override_(OverrideKind::Pause, "metal-b", "");
    let until = fixture.now + 60 * MINUTE;
    let paused = say(&mut fixture, OverrideKind::Pause, "cart", "");
    let open = say(&mut fixture, OverrideKind::Pause, "pay", "");
    fixture.now += 5 * MINUTE;
    let (resumed, at) = (
        say(&mut fixture, OverrideKind::Resume, "cart", ""),
        fixture.now,
    );
    let columns = ["index", "what", "app", "by", "reason", "ended", "endIndex"];
    let row = |index, what: &str, app: &str, ended: Value, end: Value| {
        vec![
            json!(index),
            json!(what),
            json!(app),
            json!("olga"),
            json!("night shift"),
            ended,
            end,
        ]
    };
    assert_eq!(
        rows(&fixture, "OVERRIDE", &columns),
        [
            row(by_itself, "pause", "", json!(told(until)), Value::Null),
            row(paused, "pause", "cart", json!(told(at)), json!(resumed)),
            row(open, "pause", "pay", Value::Null, Value::Null),
            row(resumed, "resume", "cart", Value::Null, Value::Null),
        ]
    );
    let untils = rows(&fixture, "OVERRIDE", &["cluster", "until"]);
    assert_eq!(untils[0], [json!("metal-b"), json!(told(until))]);
}

#[test]
fn what_was_allowed_once_has_ended_when_it_was_done() {
    let mut fixture = Fixture::complete(Level::Witnessed);
    fixture.source();
    let state = fixture.desired("eks-a", &[]);
    let digest = fixture.last().to_string();
    let glass = say(&mut fixture, OverrideKind::BreakGlass, "", &digest);
    let mut receipt = fixture.receipt_of("eks-a", ReceiptKind::Sync);
    receipt.checkpoint.time = None;
    let ended = receipt.ended.ms();
    let applied = fixture.countersign(receipt, "receipt-eks-a");
    let columns = [
        "index",
        "generation",
        "commit",
        "ended",
        "endIndex",
        "detail",
    ];
    let of_state = format!("{digest}: used for entry {state}");
    assert_eq!(
        rows(&fixture, "OVERRIDE", &columns),
        [[
            json!(glass),
            json!(4),
            json!(commit(4)),
            json!(told(ended)),
            json!(applied),
            json!(of_state)
        ]]
    );
    let unwitnessed = rows(&fixture, "RECEIPT_UNWITNESSED", &["index", "detail"]);
    let detail =
        format!("generation 4 at level witnessed, as the break-glass of entry {glass} allows");
    assert_eq!(unwitnessed, [[json!(applied), json!(detail)]]);

    // A deletion that a person allowed, and the state that made use of it.
    let manifest = fixture.manifest(&[]);
    let word = say(
        &mut fixture,
        OverrideKind::Deletion,
        "cart",
        &manifest.to_string(),
    );
    let mut desired = fixture.desired_of("eks-a", manifest);
    desired.permits.push(Permit {
        permit: PermitKind::Deletion,
        subject: "cart".into(),
        object: manifest.to_string(),
        by: "olga".into(),
        reason: "cart is gone".into(),
    });
    let until = json!(told(253_402_300_799_000));
    let state = fixture.seal(desired, "sealer-prod");
    assert_eq!(
        rows(
            &fixture,
            "PERMIT",
            &["index", "what", "app", "by", "reason", "until", "endIndex"]
        ),
        [[
            json!(state),
            json!("deletion"),
            json!("cart"),
            json!("olga"),
            json!("cart is gone"),
            until,
            json!(word)
        ]]
    );
    let used = rows(
        &fixture,
        "OVERRIDE",
        &["index", "what", "generation", "endIndex"],
    );
    assert_eq!(
        used[1],
        [json!(word), json!("deletion"), json!(5), json!(state)]
    );
}

#[test]
fn a_second_renderer_s_no_stands_with_both_digests_and_the_apps_that_it_can_be_about() {
    let mut fixture = Fixture::complete(Level::Authored);
    fixture.source();
    fixture.desired("eks-a", &[("cart", "{}")]);
    let no = fixture.reproduction("eks-a", false);
    let columns = ["index", "cluster", "generation", "app", "commit"];
    assert_eq!(
        rows(&fixture, "REPRODUCTION_DISAGREES", &columns),
        [[
            json!(no),
            json!("eks-a"),
            json!(4),
            json!("cart"),
            json!(commit(4))
        ]]
    );
    let detail = rows(&fixture, "REPRODUCTION_DISAGREES", &["detail"]);
    let detail = detail[0][0].as_str().unwrap();
    let theirs = Digest::of(b"render").to_string();
    assert!(detail.contains(&theirs), "{detail}");
    let (_, sealed) = detail.split_once("sealed was ").unwrap();
    assert!(sealed.parse::<Digest>().is_ok() && sealed != theirs);
}

#[test]
fn a_state_that_nobody_rendered_again_is_listed_with_its_commit() {
    let mut fixture = Fixture::complete(Level::Reproduced);
    fixture.source();
    let state = fixture.desired("metal-b", &[("cart", "{}")]);
    assert_eq!(
        rows(
            &fixture,
            "STATE_UNREPRODUCED",
            &["index", "cluster", "generation", "app", "commit"]
        ),
        [[
            json!(state),
            json!("metal-b"),
            json!(4),
            json!("cart"),
            json!(commit(4))
        ]]
    );
}
