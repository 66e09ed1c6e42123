use super::*;
use crate::apply::outcome::Retry;
use crate::plan::{App, Want};
use crate::watch::drift::What;
use crate::watch::ownership::Mark;
use crate::watch::ownership::Seen;
use countersign_ledger::digest::Digest;
use std::time::Duration;

fn id() -> Arc<ObjectId> {
    Arc::new(ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "n".into(),
        name: "a".into(),
    })
}

fn seen(revision: u64, mark: Option<u8>) -> Seen {
    Seen {
        uid: "u".into(),
        revision,
        generation: 0,
        mark: mark.map(|byte| Mark([byte; 16])),
        written: 0,
        words: 0,
        others: 0,
        deleting: false,
        argo: false,
        labelled: true,
    }
}

fn blob() -> Digest {
    Digest::of(b"1")
}

/// A world in which one object was applied at revision 10 with mark 1.
fn world() -> World {
    let mut world = World::default();
    let mut desired = Desired {
        generation: 1,
        ..Desired::default()
    };
    desired.apps.insert(
        "x".into(),
        App {
            name: "x".into(),
            commit: "c".into(),
            depends_on: vec![],
            exclusive: false,
        },
    );
    desired.objects.insert(
        id(),
        Want {
            app: "x".into(),
            wave: 0,
            blob: blob(),
            bytes: 1,
            commitment: None,
        },
    );
    world.adopt(Arc::new(desired));
    assert!(world.begin_write(&id()));
    assert_eq!(
        world.end_write(&id(), blob(), Ok(seen(10, Some(1))), 900, Instant::now()),
        Effect::Nothing
    );
    world
}

#[test]
fn an_event_of_a_write_under_way_is_judged_after_its_answer() {
    let (mut world, now) = (world(), Instant::now());
    assert!(world.begin_write(&id()));
    // Somebody's change before our write, then our own: neither is drift.
    assert_eq!(
        world.event(&id(), Event::There(seen(11, Some(2))), 900, now),
        Effect::Nothing
    );
    assert_eq!(
        world.event(&id(), Event::There(seen(12, Some(1))), 900, now),
        Effect::Nothing
    );
    assert_eq!(
        world.end_write(&id(), blob(), Ok(seen(12, Some(1))), 900, now),
        Effect::Nothing
    );
    // One after it is.
    assert!(world.begin_write(&id()));
    assert_eq!(
        world.event(&id(), Event::There(seen(14, Some(2))), 900, now),
        Effect::Nothing
    );
    assert_eq!(
        world.end_write(&id(), blob(), Ok(seen(13, Some(1))), 900, now),
        Effect::Heal(What::Changed)
    );
}

#[test]
fn a_second_write_of_one_object_does_not_start() {
    let mut world = world();
    assert!(world.begin_write(&id()));
    assert!(!world.begin_write(&id()));
    world.abandon_write(&id());
    assert!(world.begin_write(&id()));
}

#[test]
fn a_deletion_and_an_absence_are_healed_unless_our_write_is_newer() {
    let (mut world, now) = (world(), Instant::now());
    assert_eq!(
        world.event(&id(), Event::Absent(9), 900, now),
        Effect::Nothing
    );
    assert_eq!(
        world.event(&id(), Event::Gone(seen(9, Some(1))), 900, now),
        Effect::Nothing
    );
    assert_eq!(
        world.event(&id(), Event::Gone(seen(11, Some(1))), 900, now),
        Effect::Heal(What::Deleted)
    );
    assert_eq!(world.get(&id()).unwrap().sync, Sync::Drifted);
}

#[test]
fn a_stranger_with_our_label_is_ignored() {
    let stranger = ObjectId {
        name: "stranger".into(),
        ..(*id()).clone()
    };
    assert_eq!(
        world().event(&stranger, Event::There(seen(11, None)), 900, Instant::now()),
        Effect::Nothing
    );
}

#[test]
fn what_argo_cd_takes_over_is_left_alone_and_reported() {
    let (mut world, now) = (world(), Instant::now());
    world.take_dirty();
    let tracked = Seen {
        argo: true,
        ..seen(11, Some(2))
    };
    assert_eq!(
        world.event(&id(), Event::There(tracked), 900, now),
        Effect::Nothing
    );
    assert_eq!(world.get(&id()).unwrap().sync, Sync::ArgoTracked);
    assert!(world.take_dirty().contains(&id()));
    assert!(world.live(&id()).argo);
}

#[test]
fn a_fight_is_yielded_and_shown() {
    let (mut world, start) = (world(), Instant::now());
    let mut revision = 10;
    let mut last = Effect::Nothing;
    for round in 0..6 {
        let now = start + Duration::from_millis(round * 100);
        revision += 1;
        last = world.event(&id(), Event::There(seen(revision, Some(2))), 900, now);
        if let Effect::Heal(_) = last {
            assert!(world.begin_write(&id()));
            revision += 1;
            world.end_write(&id(), blob(), Ok(seen(revision, Some(1))), 900, now);
        }
    }
    assert_eq!(world.get(&id()).unwrap().sync, Sync::Contested);
    assert!(
        matches!(last, Effect::HealAt(..) | Effect::Nothing),
        "{last:?}"
    );

    // Git says something else about it: a person has looked, so it is written at once again.
    let mut desired = (**world.desired()).clone();
    desired.generation += 1;
    if let Some(want) = desired.objects.get_mut(&id()) {
        want.blob = Digest::of(b"other bytes");
    }
    world.adopt(Arc::new(desired));
    assert_eq!(world.get(&id()).unwrap().sync, Sync::Pending);
}

#[test]
fn a_failed_object_stands_as_failed_until_its_bytes_change() {
    let mut world = world();
    assert!(world.begin_write(&id()));
    let problem = Problem {
        code: "INVALID",
        text: String::new(),
        retry: Retry::Never,
    };
    world.end_write(&id(), blob(), Err(problem), 900, Instant::now());
    assert_eq!(world.live(&id()).applied, None);
    let same = Arc::clone(world.desired());
    world.adopt(Arc::clone(&same));
    assert!(matches!(world.get(&id()).unwrap().sync, Sync::Failed(_)));
    let mut other = (*same).clone();
    other
        .objects
        .values_mut()
        .for_each(|want| want.blob = Digest::of(b"2"));
    world.adopt(Arc::new(other));
    assert_eq!(world.get(&id()).unwrap().sync, Sync::Pending);
}

#[test]
fn the_inventory_shrinks_only_when_it_is_gone() {
    let mut world = world();
    let mut desired = Desired {
        generation: 2,
        ..Desired::default()
    };
    desired.tombstones.insert(id(), "x".into());
    assert_eq!(world.adopt(Arc::new(desired)), vec![id()]);
    assert!(world.live(&id()).uid.is_some());
    world.gone(&id());
    assert!(world.live(&id()).uid.is_none());
}

#[test]
fn after_the_revision_went_back_everything_is_written_again_and_uids_stay() {
    let mut world = world();
    world.distrust();
    let live = world.live(&id());
    assert_eq!((live.applied, live.uid.as_deref()), (None, Some("u")));
}
