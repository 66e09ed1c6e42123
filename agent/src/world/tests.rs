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

/// Git says something else about the object.
fn other_bytes(desired: &mut Desired) {
    let mut want = desired.objects.get(&id()).unwrap().clone();
    want.blob = Digest::of(b"other bytes");
    desired.objects.insert(id(), want);
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
    other_bytes(&mut desired);
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
    other_bytes(&mut other);
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

mod plans {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::rails::Rails;
    use crate::plan::{plan, replan};

    /// What may happen to one of a few objects, or to all.
    #[derive(Debug, Clone)]
    enum Op {
        Adopt(Vec<(u8, u8)>),
        Write(u8, Option<u64>),
        Event(u8, u64, bool, bool),
        Absent(u8, u64),
        Tracked(u8),
        KeptOut(u8),
        Gone(u8),
        Distrust,
        Settle,
        Look,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let object = 0u8..6;
        let revision = 0u64..40;
        let op = prop_oneof![
            3 => proptest::collection::vec((object.clone(), 0u8..3), 0..6).prop_map(Op::Adopt),
            6 => (object.clone(), proptest::option::weighted(0.8, revision.clone())).prop_map(|(id, ok)| Op::Write(id, ok)),
            6 => (object.clone(), revision.clone(), any::<bool>(), proptest::bool::weighted(0.1)).prop_map(|(id, at, ours, argo)| Op::Event(id, at, ours, argo)),
            2 => (object.clone(), revision).prop_map(|(id, at)| Op::Absent(id, at)),
            1 => object.clone().prop_map(Op::Tracked),
            1 => object.clone().prop_map(Op::KeptOut),
            1 => object.prop_map(Op::Gone),
            1 => Just(Op::Distrust),
            1 => Just(Op::Settle),
            3 => Just(Op::Look),
        ];
        proptest::collection::vec(op, 0..60)
    }

    /// The last is of a kind that a rail keeps out.
    fn id_of(number: u8) -> Arc<ObjectId> {
        let kind = if number == 5 { "Event" } else { "ConfigMap" };
        Arc::new(ObjectId {
            kind: kind.into(),
            name: format!("x{number}"),
            ..(*id()).clone()
        })
    }

    fn blob_of(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn adopted(generation: u64, objects: &[(u8, u8)]) -> Desired {
        let mut desired = Desired {
            generation,
            ..Desired::default()
        };
        let app = App {
            name: "x".into(),
            commit: "c".into(),
            depends_on: vec![],
            exclusive: false,
        };
        desired.apps.insert("x".into(), app);
        for (number, blob) in objects {
            let want = Want {
                app: "x".into(),
                wave: 0,
                blob: blob_of(*blob),
                bytes: 1,
                commitment: None,
            };
            desired.objects.insert(id_of(*number), want);
        }
        desired
    }

    fn happen(world: &mut World, op: &Op, now: Instant) {
        match op {
            Op::Adopt(objects) => {
                let generation = world.desired().generation + 1;
                world.adopt(Arc::new(adopted(generation, objects)));
            }
            Op::Write(number, answer) => {
                let id = id_of(*number);
                let want = world.desired().objects.get(&id).cloned();
                // A write may be of the state before: its blob is then another.
                let blob = want.map_or_else(|| blob_of(9), |want| want.blob);
                if world.begin_write(&id) {
                    let problem = Problem {
                        code: "INVALID",
                        text: String::new(),
                        retry: Retry::Never,
                    };
                    let result = answer.map(|at| seen(at, Some(1))).ok_or(problem);
                    world.end_write(&id, blob, result, 900, now);
                }
            }
            Op::Event(number, at, ours, argo) => {
                let seen = Seen {
                    argo: *argo,
                    ..seen(*at, Some(if *ours { 1 } else { 2 }))
                };
                world.event(&id_of(*number), Event::There(seen), 900, now);
            }
            Op::Absent(number, at) => {
                world.event(&id_of(*number), Event::Absent(*at), 900, now);
            }
            Op::Tracked(number) => world.argo_tracked(&id_of(*number)),
            Op::KeptOut(number) => {
                let problem = Problem {
                    code: "GUARD_RAIL",
                    text: String::new(),
                    retry: Retry::Never,
                };
                world.kept_out(&id_of(*number), problem);
            }
            Op::Gone(number) => world.gone(&id_of(*number)),
            Op::Distrust => world.distrust(),
            Op::Settle => {
                world.settle(now);
            }
            Op::Look => {
                world.open(&Rails::default());
            }
        }
    }

    proptest! {
        /// Whatever happened, the plan of what may not stand is the plan of everything.
        #[test]
        fn what_may_not_stand_is_known_without_looking_at_everything(ops in ops()) {
            let (mut world, rails, start) = (World::default(), Rails::default(), Instant::now());
            for (step, op) in ops.iter().enumerate() {
                happen(&mut world, op, start + Duration::from_secs(20) * u32::try_from(step).unwrap());
                let desired = Arc::clone(world.desired());
                let open = world.open.iter().cloned().collect();
                let whole = plan(&desired, &|id| world.live(id), &rails);
                prop_assert_eq!(replan(&desired, &open, &|id| world.live(id), &rails), whole.clone());
                if matches!(op, Op::Look) {
                    let open = world.open(&rails);
                    prop_assert_eq!(open.len(), whole.writes() + whole.refused.len());
                }
            }
        }
    }
}
