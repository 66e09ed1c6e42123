use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::manifest::{Content, ObjectLine, OrphanLine, TombstoneLine};
use crate::statement::Override;
use crate::verify::overrides::tests::at_place;

fn id(kind: &str, n: usize) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: kind.into(),
        namespace: "default".into(),
        name: format!("o{n}"),
    }
}

fn map(n: usize) -> ObjectId {
    id("ConfigMap", n)
}

fn object(app: &str, id: ObjectId) -> Line {
    Line::Object(ObjectLine {
        id,
        app: app.into(),
        commit: "1".repeat(40),
        wave: 0,
        bytes: 1,
        content: Content::Plain {
            sha256: Digest::of(b"x"),
        },
    })
}

fn tombstone(app: &str, commit: &str, id: ObjectId) -> Line {
    Line::Tombstone(TombstoneLine {
        id,
        app: app.into(),
        commit: commit.repeat(40),
    })
}

fn orphan(app: &str, id: ObjectId) -> Line {
    Line::Orphan(OrphanLine {
        id,
        app: app.into(),
        commit: "1".repeat(40),
        reason: "APP_REMOVED".into(),
    })
}

/// Generation 7 with these lines.
struct Before(Vec<Line>);

impl Stood for Before {
    fn generation(&self) -> u64 {
        7
    }

    fn had(&self, id: &ObjectId) -> Option<Had<'_>> {
        let line = self.0.iter().find(|line| line.id() == id)?;
        Some(match line {
            Line::Object(line) => Had::Object(&line.app),
            Line::Orphan(_) => Had::Orphan,
            Line::Tombstone(_) => Had::Tombstone,
        })
    }

    fn objects(&self, app: &str) -> usize {
        let of = |line: &&Line| matches!(line, Line::Object(_)) && line.app() == app;
        self.0.iter().filter(of).count()
    }
}

fn before(objects: usize) -> Before {
    Before((0..objects).map(|n| object("cart", map(n))).collect())
}

fn time(ms: u64) -> Time {
    Time::from_ms(ms).unwrap()
}

/// A word at place 5 for the deletion of these.
fn word(app: &str, ids: &[ObjectId], change: impl FnOnce(&mut Override)) -> VerifiedOverride {
    let mut says = Override {
        fleet: "acme".into(),
        kind: OverrideKind::Deletion,
        cluster: Some("one".into()),
        app: Some(app.into()),
        what: deletion_digest("one", app, ids).to_string(),
        reason: "shop closes".into(),
        by: "ada".into(),
        issued: time(0),
        until: time(1_000),
    };
    change(&mut says);
    at_place(5, says)
}

fn judge(
    before: &Before,
    generation: u64,
    lines: &[Line],
    words: &[VerifiedOverride],
) -> Result<(), Refusal> {
    let new = New {
        cluster: "one",
        generation,
        index: 9,
        lines,
        after: Some(time(500)),
    };
    deletions(before, &new, words)
}

/// The last `count` of the objects of [`before`] are deleted by one commit, the others stand.
fn loses(objects: usize, count: usize) -> Vec<Line> {
    let stand = (0..objects - count).map(|n| object("cart", map(n)));
    let go = (objects - count..objects).map(|n| tombstone("cart", "2", map(n)));
    stand.chain(go).collect()
}

fn lost(objects: usize, count: usize) -> Vec<ObjectId> {
    (objects - count..objects).map(map).collect()
}

#[test]
fn a_word_matters_until_thirty_days_after_its_end() {
    let days = 30 * 24 * 3_600 * 1_000;
    let until = time(1_000);
    for (now, matters_still) in [
        (0, true),
        (1_000, true),
        (999 + days, true),
        (1_000 + days, false),
        (1_001 + days, false),
    ] {
        assert_eq!(matters(until, time(now)), matters_still, "{now}");
    }
}

#[test]
fn within_the_limits_nobody_is_asked() {
    for (objects, count, ok) in [
        (10, 0, true),
        (10, 9, true),
        (20, 19, true),
        (21, 4, true),
        (21, 5, false),
        (1_000, 50, true),
        (1_000, 51, false),
        // An app that is gone may have asked for it, up to the limit.
        (30, 30, true),
        (51, 51, false),
    ] {
        let judged = judge(&before(objects), 8, &loses(objects, count), &[]);
        assert_eq!(judged.is_ok(), ok, "{count} of {objects}");
    }
}

#[test]
fn a_refusal_names_what_a_person_would_have_to_permit() {
    let (before, lines) = (before(100), loses(100, 60));
    let refusal = judge(&before, 8, &lines, &[]).unwrap_err();
    let Refusal::DeletionNotPermitted {
        app,
        objects,
        digest,
    } = &refusal
    else {
        panic!("{refusal}");
    };
    assert_eq!((app.as_str(), *objects), ("cart", 60));
    assert_eq!(refusal.code(), "DELETION_NOT_PERMITTED");
    let permit = word("cart", &lost(100, 60), |_| {});
    assert_eq!(permit.says().what, digest.to_string());
    assert_eq!(judge(&before, 8, &lines, &[permit]), Ok(()));
}

#[test]
fn a_word_counts_for_exactly_what_it_names_where_and_until_it_says() {
    let (before, lines, ids) = (before(100), loses(100, 60), lost(100, 60));
    let allowed = |word| judge(&before, 8, &lines, &[word]).is_ok();
    assert!(allowed(word("cart", &ids, |_| {})));
    assert!(!allowed(word("cart", &ids[1..], |_| {})));
    assert!(!allowed(word("blog", &ids, |_| {})));
    let kinds = [OverrideKind::Policies, OverrideKind::BreakGlass];
    for kind in kinds {
        assert!(!allowed(word("cart", &ids, |it| it.kind = kind)));
    }
    assert!(!allowed(
        word("cart", &ids, |it| it.cluster = Some("two".into()))
    ));
    assert!(!allowed(word("cart", &ids, |it| it.cluster = None)));
    assert!(!allowed(
        word("cart", &ids, |it| it.app = Some("blog".into()))
    ));
    // It had ended before the state can have been sealed.
    assert!(!allowed(word("cart", &ids, |it| it.until = time(500))));
    assert!(allowed(word("cart", &ids, |it| it.until = time(501))));
    let late = word("cart", &ids, |_| {});
    let late = at_place(9, late.says().clone());
    assert!(!allowed(late), "it stands behind the state");
}

#[test]
fn what_takes_more_along_than_itself_is_never_deleted_without_a_word() {
    for kind in ["Namespace", "PersistentVolumeClaim", "PersistentVolume"] {
        let mut stood = before(10);
        stood.0.push(object("cart", id(kind, 99)));
        let mut lines = loses(10, 0);
        lines.push(tombstone("cart", "2", id(kind, 99)));
        for generation in [8, 80] {
            assert!(judge(&stood, generation, &lines, &[]).is_err(), "{kind}");
        }
        let permit = word("cart", &[id(kind, 99)], |_| {});
        assert_eq!(judge(&stood, 8, &lines, &[permit]), Ok(()));
    }
}

#[test]
fn what_was_left_behind_is_deleted_by_a_word_alone() {
    let mut stood = before(3);
    stood.0.push(orphan("shop", map(50)));
    let mut lines = loses(3, 0);
    lines.push(tombstone("shop", "2", map(50)));
    assert!(judge(&stood, 8, &lines, &[]).is_err());
    let permit = word("shop", &[map(50)], |_| {});
    assert_eq!(judge(&stood, 8, &lines, &[permit]), Ok(()));
    // With generations in between it may have been taken up again and given up.
    assert_eq!(judge(&stood, 9, &lines, &[]), Ok(()));
}

#[test]
fn what_was_never_there_is_deleted_by_nobody_s_word() {
    let mut lines = loses(3, 0);
    lines.push(tombstone("shop", "2", map(50)));
    assert!(judge(&before(3), 8, &lines, &[]).is_err());
    // With generations in between it may have come and gone.
    assert_eq!(judge(&before(3), 9, &lines, &[]), Ok(()));
}

#[test]
fn one_commit_may_remove_some_and_delete_what_was_left_behind_by_a_word() {
    let mut stood = before(30);
    stood.0.extend((100..160).map(|n| orphan("cart", map(n))));
    let mut lines = loses(30, 2);
    lines.extend((100..160).map(|n| tombstone("cart", "2", map(n))));
    let ids: Vec<ObjectId> = (100..160).map(map).collect();
    assert_eq!(
        judge(&stood, 8, &lines, &[word("cart", &ids, |_| {})]),
        Ok(())
    );
    assert!(judge(&stood, 8, &lines, &[]).is_err());
}

#[test]
fn a_thief_can_not_hide_many_deletions_behind_other_names() {
    let stood = before(200);
    let spread = |by: fn(usize) -> (String, String)| {
        let lines: Vec<Line> = (0..200)
            .map(|n| match n {
                0..100 => {
                    let (app, commit) = by(n);
                    tombstone(&app, &commit, map(n))
                }
                _ => object("cart", map(n)),
            })
            .collect();
        judge(&stood, 8, &lines, &[])
    };
    assert!(spread(|n| (format!("app{n}"), "2".into())).is_err());
    assert!(spread(|n| ("cart".into(), (n % 10).to_string())).is_err());
}

#[test]
fn what_was_deleted_before_is_not_asked_about_again() {
    let stood = Before((0..200).map(|n| tombstone("cart", "1", map(n))).collect());
    let lines = stood.0.clone();
    assert_eq!(judge(&stood, 8, &lines, &[]), Ok(()));
}

proptest! {
    /// What an honest hub seals in steps, each within the limits, is taken by an agent that sees only the last.
    #[test]
    fn many_steps_within_the_limits_are_never_refused(
        objects in 1..300usize,
        steps in prop::collection::vec(0..=50usize, 1..8),
    ) {
        let stood = before(objects);
        let (mut left, mut go) = (objects, Vec::new());
        let mut generation = 7;
        for (step, count) in steps.into_iter().enumerate() {
            let most = if left > PERCENT_FROM { left * 20 / 100 } else { left - 1 };
            let count = count.min(most);
            go.extend((left - count..left).map(|n| tombstone("cart", &step.to_string(), map(n))));
            left -= count;
            generation += 1;
        }
        let lines: Vec<Line> = (0..left).map(|n| object("cart", map(n))).chain(go).collect();
        prop_assert_eq!(judge(&stood, generation, &lines, &[]), Ok(()));
    }

    /// More than the limit is refused, whatever it is called.
    #[test]
    fn more_than_the_limit_is_refused_whatever_it_is_called(
        over in 51..200usize,
        names in prop::collection::vec(("[a-c]", "[1-3]"), 200),
    ) {
        let stood = before(over + 60);
        let lines: Vec<Line> = (0..over + 60)
            .map(|n| match names.get(n).filter(|_| n < over) {
                Some((app, commit)) => tombstone(app, commit, map(n)),
                None => object("cart", map(n)),
            })
            .collect();
        prop_assert!(judge(&stood, 8, &lines, &[]).is_err());
    }
}
