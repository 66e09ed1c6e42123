use super::*;
use futures::FutureExt as _;
use std::sync::Mutex;

/// Envelopes of one cluster, by generation from 1.
#[derive(Default)]
struct Past(Mutex<Vec<Bytes>>);

impl Sealed for Past {
    fn envelopes<'a>(
        &'a self,
        _: &'a str,
        above: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, SealedFault>> {
        let all = self.0.lock().unwrap();
        let from = usize::try_from(above).unwrap();
        let found = all.iter().skip(from).take(limit).cloned().collect();
        async move { Ok(found) }.boxed()
    }

    fn blob<'a>(&'a self, _: &'a Digest) -> BoxFuture<'a, Result<Option<Bytes>, SealedFault>> {
        async { Ok(None) }.boxed()
    }
}

struct World {
    past: Arc<Past>,
    newest: Newest,
}

fn envelope(generation: u64) -> Bytes {
    Bytes::from(format!("envelope {generation}"))
}

impl World {
    fn new(generations: u64) -> Self {
        let world = Self {
            past: Arc::default(),
            newest: Newest::default(),
        };
        for generation in 1..=generations {
            world.seal(generation);
        }
        world
    }

    fn seal(&self, generation: u64) {
        self.past.0.lock().unwrap().push(envelope(generation));
        self.newest.publish(head(generation));
    }

    fn follow(&self, generation: u64) -> Follower {
        let at = Position {
            generation,
            envelope: (generation > 0).then(|| Digest::of(&envelope(generation))),
            tree_size: 0,
        };
        Follower::new("a", self.past.clone(), &self.newest, at)
    }
}

fn head(generation: u64) -> Head {
    let blob = Bytes::from(format!("blob {generation}"));
    Head::new(
        generation,
        envelope(generation),
        Digest::of(format!("manifest {generation}").as_bytes()),
        [(Digest::of(&blob), blob.clone())],
        vec![Digest::of(&blob)],
    )
}

fn generations(message: &wire::Head) -> Vec<Bytes> {
    message.envelopes.clone()
}

#[tokio::test]
async fn an_agent_at_the_head_is_greeted_with_nothing_and_then_waits() {
    let world = World::new(3);
    let mut follower = world.follow(3);
    let first = follower.advance().await.unwrap();
    assert!(first.envelopes.is_empty() && !first.more && first.attached.is_empty());
    assert!(follower.advance().now_or_never().is_none());
    world.seal(4);
    let next = follower.advance().await.unwrap();
    assert_eq!(generations(&next), [envelope(4)]);
    assert_eq!(next.attached.len(), 1);
}

#[tokio::test]
async fn an_agent_of_a_hub_without_any_state_is_greeted_and_waits() {
    let world = World::new(0);
    let mut follower = world.follow(0);
    assert!(follower.advance().await.unwrap().envelopes.is_empty());
    world.seal(1);
    assert_eq!(
        generations(&follower.advance().await.unwrap()),
        [envelope(1)]
    );
}

#[tokio::test]
async fn a_chain_comes_in_batches_of_256_and_only_the_last_says_that_it_is_the_last() {
    let world = World::new(600);
    let mut follower = world.follow(0);
    let mut seen = Vec::new();
    let mut shape = Vec::new();
    loop {
        let message = follower.advance().await.unwrap();
        shape.push((
            message.envelopes.len(),
            message.more,
            message.attached.len(),
        ));
        seen.extend(message.envelopes);
        if !message.more {
            break;
        }
    }
    assert_eq!(shape, [(256, true, 0), (256, true, 0), (88, false, 1)]);
    assert_eq!(seen, (1..=600).map(envelope).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_reader_gets_one_message_to_the_newest_head_never_a_backlog() {
    let world = World::new(1);
    let mut follower = world.follow(1);
    follower.advance().await.unwrap();
    for generation in 2..=50 {
        world.seal(generation);
    }
    let message = follower.advance().await.unwrap();
    assert_eq!(message.envelopes.len(), 49);
    assert!(!message.more);
    assert!(follower.advance().now_or_never().is_none());
}

#[tokio::test]
async fn an_agent_ahead_of_this_hub_or_of_another_history_is_told_apart() {
    let world = World::new(3);
    assert!(matches!(
        world.follow(9).advance().await,
        Err(Ended::Apart(Apart::AgentIsAhead { agent: 9, ours: 3 }))
    ));
    for generation in [2, 3] {
        let at = Position {
            generation,
            envelope: Some(Digest::of(b"another")),
            tree_size: 0,
        };
        let mut forked = Follower::new("a", world.past.clone(), &world.newest, at);
        assert!(matches!(
            forked.advance().await,
            Err(Ended::Apart(Apart::Forked { generation: found })) if found == generation
        ));
    }
}

#[test]
fn a_head_that_is_not_newer_changes_nothing() {
    let world = World::new(3);
    assert!(!world.newest.publish(head(3)));
    assert!(!world.newest.publish(head(2)));
    assert_eq!(world.newest.get().unwrap().generation(), 3);
}

#[test]
fn only_blobs_of_the_newest_heads_may_be_read() {
    let world = World::new(HEADS_READABLE as u64 + 2);
    assert!(!world.newest.may_read(&Digest::of(b"blob 1")));
    assert!(!world.newest.may_read(&Digest::of(b"blob 2")));
    assert!(world.newest.may_read(&Digest::of(b"blob 3")));
    assert!(world.newest.may_read(&Digest::of(b"blob 6")));
    assert!(world.newest.may_read(&Digest::of(b"manifest 6")));
    assert!(
        !world
            .newest
            .may_read(&Digest::of(b"blob of another cluster"))
    );
}

#[test]
fn what_does_not_fit_is_left_to_be_fetched() {
    let large = Bytes::from(vec![0; ATTACHED_BLOB_BYTES_MAX + 1]);
    let most = Bytes::from(vec![1; ATTACHED_BLOB_BYTES_MAX]);
    let many = std::iter::once((Digest::of(&large), large.clone()))
        .chain((0..64u8).map(|n| (Digest::of(&[n]), most.clone())));
    let head = Head::new(1, envelope(1), Digest::default(), many, vec![]);
    assert_eq!(
        head.attached.len(),
        ATTACHED_BYTES_MAX / ATTACHED_BLOB_BYTES_MAX
    );
    assert!(
        head.attached
            .iter()
            .all(|(name, _)| *name != Digest::of(&large))
    );
}
