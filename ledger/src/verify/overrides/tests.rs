use proptest::prelude::*;

use super::*;

/// What somebody said, as if it had been judged.
pub(in crate::verify) fn at_place(index: u64, says: Override) -> VerifiedOverride {
    VerifiedOverride {
        index,
        payload: Digest::of(&index.to_be_bytes()),
        says,
    }
}

fn at(ms: u64) -> Time {
    Time::from_ms(ms).unwrap()
}

/// A word at a place, until a time.
fn word(index: u64, kind: OverrideKind, app: Option<&str>, until: u64) -> VerifiedOverride {
    VerifiedOverride {
        index,
        payload: Digest::of(&index.to_be_bytes()),
        says: Override {
            fleet: "acme".into(),
            kind,
            cluster: Some("metal-fra".into()),
            app: app.map(str::to_owned),
            what: String::new(),
            reason: "a storm".into(),
            by: "ada".into(),
            issued: at(0),
            until: at(until),
        },
    }
}

fn of_fleet(mut word: VerifiedOverride) -> VerifiedOverride {
    word.says.cluster = None;
    word
}

use OverrideKind::{BreakGlass, Pause as Paused, Resume};

#[test]
fn a_pause_holds_until_its_end() {
    let words = [word(3, Paused, None, 100)];
    assert_eq!(in_force(&words, at(99)).pause.unwrap().until, at(100));
    assert_eq!(in_force(&words, at(99)).next_end(), Some(at(100)));
    assert_eq!(in_force(&words, at(100)), InForce::default());
}

#[test]
fn of_two_pauses_the_longer_holds() {
    let holds = |first, second| {
        let words = [word(3, Paused, None, first), word(4, Paused, None, second)];
        in_force(&words, at(1)).pause.unwrap().index
    };
    assert_eq!(holds(100, 50), 3);
    assert_eq!(holds(50, 100), 4);
    assert_eq!(holds(100, 100), 3, "of two that end together, the first");
}

#[test]
fn a_resume_ends_the_pauses_before_it_that_it_covers() {
    let pause = word(3, Paused, None, 100);
    let shop = word(4, Paused, Some("shop"), 100);
    let both = [pause.clone(), shop.clone()];
    let with = |resume: VerifiedOverride| {
        let mut words = both.to_vec();
        words.push(resume);
        let found = in_force(&words, at(1));
        (found.pause.is_some(), found.apps.contains_key("shop"))
    };
    assert_eq!(with(word(9, Resume, None, 2)), (false, false));
    assert_eq!(with(of_fleet(word(9, Resume, None, 2))), (false, false));
    assert_eq!(with(word(9, Resume, Some("shop"), 2)), (true, false));
    assert_eq!(with(word(9, Resume, Some("blog"), 2)), (true, true));
    assert_eq!(
        with(word(1, Resume, None, 2)),
        (true, true),
        "it came before"
    );
    // One of this cluster does not end what holds for the whole fleet.
    let words = [of_fleet(pause), word(9, Resume, None, 2)];
    assert!(in_force(&words, at(1)).pause.is_some());
}

#[test]
fn an_ended_resume_still_ends_what_it_ended() {
    let words = [word(3, Paused, None, 100), word(4, Resume, None, 10)];
    assert_eq!(in_force(&words, at(50)).pause, None);
}

#[test]
fn the_same_word_twice_counts_at_its_first_place() {
    let pause = word(3, Paused, None, 100);
    let again = VerifiedOverride {
        index: 7,
        ..pause.clone()
    };
    let words = [again, word(5, Resume, None, 100), pause];
    assert_eq!(in_force(&words, at(1)).pause, None);
}

#[test]
fn what_became_of_each_word_can_be_told() {
    let pause = word(3, Paused, None, 100);
    let words = [
        pause.clone(),
        VerifiedOverride { index: 4, ..pause },
        word(5, Paused, Some("shop"), 100),
        word(6, BreakGlass, None, 20),
        word(7, Resume, Some("shop"), 10),
        word(8, Paused, Some("shop"), 30),
    ];
    let at = |ms| {
        let found = standing(&words, at(ms));
        let pairs = found
            .into_iter()
            .map(|(index, (_, standing))| (index, standing));
        pairs.collect::<Vec<_>>()
    };
    use Standing::{Ended, Holds, Resumed};
    assert_eq!(
        at(19),
        [
            (3, Holds),
            (5, Resumed(7)),
            (6, Holds),
            (7, Holds),
            (8, Holds)
        ]
    );
    assert_eq!(
        at(100),
        [
            (3, Ended),
            (5, Resumed(7)),
            (6, Ended),
            (7, Holds),
            (8, Ended)
        ]
    );
}

fn words() -> impl Strategy<Value = Vec<VerifiedOverride>> {
    let kind = prop_oneof![Just(Paused), Just(Resume)];
    let app = prop_oneof![Just(None), Just(Some("shop")), Just(Some("blog"))];
    let one = (0..20_u64, kind, app, any::<bool>(), 1..100_u64);
    let one = one.prop_map(|(index, kind, app, fleet, until)| {
        let word = word(index, kind, app, until);
        if fleet { of_fleet(word) } else { word }
    });
    proptest::collection::vec(one, 0..12).prop_map(|mut words| {
        words.sort_by_key(VerifiedOverride::index);
        words.dedup_by_key(|word| word.index);
        words
    })
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_of_what_came_matters(words in words(), now in 0..100_u64) {
        let mut other: Vec<_> = words.iter().rev().cloned().collect();
        other.extend(words.clone());
        prop_assert_eq!(in_force(&words, at(now)), in_force(&other, at(now)));
    }

    #[test]
    fn time_alone_ends_pauses_and_begins_none(words in words(), now in 0..100_u64, later in 0..100_u64) {
        let (before, after) = (in_force(&words, at(now)), in_force(&words, at(now + later)));
        prop_assert!(after.pause.is_none() || before.pause.is_some());
        prop_assert!(after.apps.keys().all(|app| before.apps.contains_key(app)));
        prop_assert_eq!(in_force(&words, at(100)), InForce::default());
    }

    #[test]
    fn a_resume_of_all_at_the_end_leaves_no_pause(words in words(), now in 0..100_u64) {
        let mut words = words;
        words.push(of_fleet(word(99, Resume, None, 1)));
        prop_assert_eq!(in_force(&words, at(now)), InForce::default());
    }
}
