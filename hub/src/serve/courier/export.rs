//! A parcel: what the stream of heads would bring an agent that stands where the person says, the blobs that it would fetch,
//! and the answer to the receipts that came.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use countersign_fleet::api::ParcelRequest;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::PublicKey;
use countersign_ledger::statement::Statement;
use countersign_ledger::tlog::{Checkpoint, Note};
use countersign_proto::agent::v1 as wire;
use countersign_proto::courier::v1 as courier;
use countersign_proto::parcel::{Kind, Pieces};
use futures::stream::{self, Stream, StreamExt as _};
use prost::Message as _;
use tonic::{Code, Status};

use super::{carried, speaking};
use crate::log::{Log, Signed};
use crate::serve::heads::{Ended, Follower, NoCommits, Position, Taken, commit_of, restore};
use crate::serve::limits::{BLOB_READS_AT_ONCE, COVERED_MAX, PARCEL_RECEIPTS_MAX, PARCEL_WAYS_MAX};
use crate::serve::refuse::{fault, refuse};
use crate::serve::state::{Cluster, State};
use crate::serve::{blobs, enrol};

/// The frames of a parcel as bytes; an error ends it before its end, so that it counts for nothing.
pub(super) type Frames = stream::BoxStream<'static, io::Result<Bytes>>;

pub(super) async fn parcel(
    state: &Arc<State>,
    name: &str,
    mut asked: ParcelRequest,
) -> Result<Frames, Status> {
    let cluster = state.cluster(name).ok_or_else(|| unknown(name))?;
    if !state.is_ready() {
        return Err(refuse(
            Code::Unavailable,
            "NOT_READY",
            "the hub is reading what was sealed; ask again",
        ));
    }
    if asked.tree_sizes.len() > PARCEL_WAYS_MAX {
        let text = format!("treeSizes: at most {PARCEL_WAYS_MAX}");
        return Err(Status::invalid_argument(text));
    }
    let carried = carried::sizes(&state.records, name).await;
    let heads = heads(state, name, &cluster, &asked).await?;
    asked
        .tree_sizes
        .extend(carried.map_err(|error| fault(&error))?);
    let blobs = missing(state, name, &cluster, &asked, &heads).await?;
    let first = heads.iter().find(|head| !head.checkpoint.is_empty());
    let ways = match (&state.log, first) {
        (Some(log), Some(first)) => ways(log, &asked.tree_sizes, size(&first.checkpoint)?)?,
        _ => Vec::new(),
    };
    let tree_size = match heads.last() {
        Some(last) if !last.checkpoint.is_empty() => size(&last.checkpoint)?,
        _ => 0,
    };
    let links: usize = heads.iter().map(|head| head.envelopes.len()).sum();
    let header = courier::ParcelHeader {
        fleet: state.fleet.clone(),
        cluster: name.to_owned(),
        from_generation: asked.from_generation,
        generation: asked.from_generation + links as u64,
        tree_size,
    };
    let mut before = vec![(Kind::Parcel, header.encode_to_vec().into())];
    let documents = state.trust().documents.clone();
    before.extend(
        documents
            .into_iter()
            .map(|(_, bytes)| (Kind::TrustRoot, bytes)),
    );
    if !ways.is_empty() {
        let ways = courier::Ways { ways };
        before.push((Kind::Ways, ways.encode_to_vec().into()));
    }
    before.extend(
        heads
            .iter()
            .map(|head| (Kind::Head, head.encode_to_vec().into())),
    );
    let answer = answer(state, name, &asked, tree_size).await?;
    for size in [
        tree_size,
        answer.as_ref().map_or(0, |answer| answer.tree_size),
    ] {
        carried::remember(&state.records, name, size)
            .await
            .map_err(|error| fault(&error))?;
    }
    let after = answer.map(|answer| (Kind::Answer, Bytes::from(answer.encode_to_vec())));
    Ok(frames(Arc::clone(state), before, blobs, after))
}

fn unknown(name: &str) -> Status {
    let text = format!("the trust root lists no cluster {name:?}");
    refuse(Code::NotFound, "NO_SUCH_CLUSTER", text)
}

/// What the stream of heads brings, up to the newest head.
async fn heads(
    state: &State,
    name: &str,
    cluster: &Cluster,
    asked: &ParcelRequest,
) -> Result<Vec<wire::Head>, Status> {
    let envelope = match asked.from_generation {
        0 => None,
        generation => Some(sealed(state, name, generation).await?),
    };
    let at = Position {
        generation: asked.from_generation,
        envelope: envelope.as_ref().map(|envelope| Digest::of(envelope)),
        tree_size: asked.tree_sizes.first().copied().unwrap_or_default(),
    };
    let mut follower = Follower::new(name, state.sealed.clone(), &cluster.newest, at);
    if let Some(log) = &state.log {
        let proven = follower.proven(log.clone(), taken(state, name)).await;
        follower = proven.map_err(|error| blobs::unread(state, &error))?;
        let came = state.watch_outside();
        follower = follower.overridden(log.clone(), came, state.clock.clone());
        if level(state, name) == "reproduced" {
            follower = follower.reproduced(log.clone());
        }
    }
    if let Some(commits) = state.commits_for(name) {
        let judged = envelope.as_deref().map(commit_of).transpose();
        let judged = judged.map_err(Status::internal)?.unwrap_or_default();
        // Whether that state was judged by its agent, nobody has said: it may also judge as at a first start.
        follower = follower.authored(commits, &judged).or_first();
    }
    let mut heads = Vec::new();
    loop {
        let head = tokio::time::timeout(COVERED_MAX, follower.advance()).await;
        let head = head
            .map_err(|_| {
                let why = state.log.as_ref().and_then(Log::waits).unwrap_or_default();
                let text = format!("no checkpoint covers the newest state yet: {why}");
                refuse(Code::Unavailable, "LOG_NO_QUORUM", text)
            })?
            .map_err(|ended| {
                let code = match &ended {
                    Ended::Commits(NoCommits::Refused { code, .. }) => *code,
                    _ => "NOT_OUR_PAST",
                };
                refuse(Code::FailedPrecondition, code, ended.to_string())
            })?;
        let more = head.more;
        heads.push(head);
        if !more {
            return Ok(heads);
        }
    }
}

async fn sealed(state: &State, name: &str, generation: u64) -> Result<Bytes, Status> {
    let found = state
        .sealed
        .envelopes(name, generation - 1, 1)
        .await
        .map_err(|error| fault(&error))?;
    found.into_iter().next().ok_or_else(|| {
        let text = format!("generation {generation} of {name} was never sealed here");
        refuse(Code::FailedPrecondition, "NO_SUCH_GENERATION", text)
    })
}

fn taken(state: &State, name: &str) -> Taken {
    Taken::at(&level(state, name))
}

/// The name of the cluster's level; empty if the trust root does not list it.
fn level(state: &State, name: &str) -> String {
    let trust = state.trust();
    let member = trust.clusters.get(name);
    member.map_or_else(String::new, |member| member.level.clone())
}

/// Blobs of the newest state that an agent at the beginning of the chain lacks, and that no head brings along.
async fn missing(
    state: &State,
    name: &str,
    cluster: &Cluster,
    asked: &ParcelRequest,
    heads: &[wire::Head],
) -> Result<Vec<Digest>, Status> {
    let Some(last) = heads.iter().rev().find_map(|head| head.envelopes.last()) else {
        return Ok(Vec::new());
    };
    let reread = |error: &crate::serve::SealedFault| blobs::unread(state, error);
    let newest = match cluster.newest.get() {
        Some(newest) if *newest.digest() == Digest::of(last) => newest,
        // Another was sealed in between.
        _ => Arc::new(named(state, last.clone()).await.map_err(|e| reread(&e))?),
    };
    let mut names: BTreeSet<Digest> = newest.names().iter().copied().collect();
    if asked.from_generation > 0 {
        let envelope = sealed(state, name, asked.from_generation).await?;
        let had = named(state, envelope).await.map_err(|e| reread(&e))?;
        for digest in had.names() {
            names.remove(digest);
        }
    }
    for blob in heads.iter().flat_map(|head| &head.attached) {
        names.remove(&Digest::of(&blob.content));
    }
    Ok(names.into_iter().collect())
}

/// A sealed head with the names of its blobs.
async fn named(
    state: &State,
    envelope: Bytes,
) -> Result<crate::serve::Head, crate::serve::SealedFault> {
    let unreadable = |problem: String| crate::serve::SealedFault::Unreadable(problem);
    let read = Envelope::parse(&envelope, &Limits::entry());
    let read = read.map_err(|error| unreadable(error.to_string()))?;
    match Statement::parse(read.payload()).map_err(|error| unreadable(error.to_string()))? {
        Statement::Desired(desired) => {
            restore(
                &*state.sealed,
                desired.generation,
                envelope,
                desired.manifest,
            )
            .await
        }
        _ => Err(unreadable(
            "an envelope of a chain is no desired state".into(),
        )),
    }
}

fn size(note: &[u8]) -> Result<u64, Status> {
    let odd = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
    let note = Note::parse(note).map_err(|e| odd(&e))?;
    Ok(Checkpoint::parse(note.text()).map_err(|e| odd(&e))?.size)
}

fn ways(log: &Log, from: &[u64], to: u64) -> Result<Vec<courier::Way>, Status> {
    let from: BTreeSet<u64> = from
        .iter()
        .copied()
        .filter(|from| (1..to).contains(from))
        .collect();
    from.into_iter()
        .map(|from| {
            let hashes = log.consistency(from, to).map_err(|error| fault(&error))?;
            Ok(courier::Way {
                from,
                hashes: wired(&hashes),
            })
        })
        .collect()
}

fn wired(hashes: &[Digest]) -> Vec<Bytes> {
    hashes
        .iter()
        .map(|hash| Bytes::copy_from_slice(hash.as_bytes()))
        .collect()
}

/// Where the cluster's receipts stand, under the newest checkpoint that it takes. None without a log or a registration.
async fn answer(
    state: &Arc<State>,
    name: &str,
    asked: &ParcelRequest,
    heads: u64,
) -> Result<Option<courier::Answer>, Status> {
    let (Some(log), Some(registered)) = (&state.log, state.registration(name)) else {
        return Ok(None);
    };
    let speaker = PublicKey(registered.key).id().to_string();
    let newest = log.newest_spoken(&speaker).map_err(|error| fault(&error))?;
    let last = newest.as_ref().map_or(0, |newest| newest.seq);
    let first = asked
        .from_seq
        .max(1)
        .max((last + 1).saturating_sub(PARCEL_RECEIPTS_MAX));
    let mut places = BTreeMap::new();
    for seq in first..=last {
        let said = log.spoken(&speaker, seq).map_err(|error| fault(&error))?;
        let Some(said) = said else { continue };
        let index = log.find(&said.leaf).map_err(|error| fault(&error))?;
        if let Some(index) = index {
            places.insert(seq, (said.leaf, index));
        }
    }
    let (enrols, offer, enrolment) = enrolment(state, name, registered.key).await?;
    let entry = match &enrolment {
        Some(entry) => log.find(&leaf_hash(entry)).map_err(|error| fault(&error))?,
        None => None,
    };
    let indexes = places.values().map(|(_, index)| *index).chain(entry);
    let least = indexes.max().map(|index| index + 1);
    let Some(signed) = covering(state, name, log, least.unwrap_or(0).max(heads)).await else {
        return Ok(None);
    };
    let mut proven = Vec::with_capacity(places.len());
    for (leaf, index) in places.into_values() {
        proven.push(courier::Proven {
            leaf: Bytes::copy_from_slice(leaf.as_bytes()),
            proof: Some(inclusion(log, index, signed.size)?),
        });
    }
    let enrolment = match (enrolment, entry) {
        (Some(envelope), Some(index)) => Some(wire::LogEntry {
            envelope,
            proof: Some(inclusion(log, index, signed.size)?),
        }),
        _ => None,
    };
    let mut from = asked.tree_sizes.clone();
    from.push(heads);
    let nonce = state.nonces.give(name, state.now());
    let envelope = match &newest {
        Some(newest) => log.entry_of(&newest.leaf).await,
        None => Ok(None),
    };
    Ok(Some(courier::Answer {
        checkpoint: signed.note.clone(),
        tree_size: signed.size,
        ways: ways(log, &from, signed.size)?,
        proven,
        nonce: Bytes::copy_from_slice(nonce.as_bytes()),
        next_seq: last + 1,
        newest: envelope.map_err(|error| fault(&error))?.unwrap_or_default(),
        enrols,
        offer,
        enrolment,
    }))
}

fn inclusion(log: &Log, index: u64, size: u64) -> Result<wire::LogProof, Status> {
    let hashes = log.inclusion(index, size).map_err(|error| fault(&error))?;
    Ok(wire::LogProof {
        index,
        hashes: wired(&hashes),
    })
}

/// Whether keys are enrolled here; what waits for the cluster's signature; its entry.
async fn enrolment(
    state: &Arc<State>,
    name: &str,
    key: [u8; 32],
) -> Result<(bool, Bytes, Option<Bytes>), Status> {
    let cluster = state.cluster(name).ok_or_else(|| unknown(name))?;
    let asked = wire::EnrolRequest::default();
    match enrol::enrol(Arc::clone(state), speaking(name, key), cluster, asked).await {
        Ok(answer) => Ok((
            true,
            answer.payload,
            answer.entry.map(|entry| entry.envelope),
        )),
        Err(status) if status.code() == Code::Unimplemented => Ok((false, Bytes::new(), None)),
        Err(status) => Err(status),
    }
}

async fn covering(state: &State, name: &str, log: &Log, size: u64) -> Option<Arc<Signed>> {
    let mut checkpoints = match taken(state, name) {
        Taken::Claimed => log.claimed(),
        Taken::Published => log.published(),
    };
    let covers =
        |signed: &Option<Arc<Signed>>| signed.as_ref().is_some_and(|signed| signed.size >= size);
    let found = tokio::time::timeout(COVERED_MAX, checkpoints.wait_for(covers)).await;
    found.ok()?.ok()?.clone()
}

/// The bytes: what stands before the blobs, the blobs one by one as they are read, what comes after, the end.
fn frames(
    state: Arc<State>,
    before: Vec<(Kind, Bytes)>,
    names: Vec<Digest>,
    after: Option<(Kind, Bytes)>,
) -> Frames {
    let begin = stream::iter(before).map(Ok);
    let blobs = stream::iter(names)
        .map(move |name| {
            let state = Arc::clone(&state);
            async move {
                let blob = blobs::read(&state, name).await;
                blob.map(|blob| (Kind::Blob, blob.content))
                    .map_err(|status| io::Error::other(status.message().to_owned()))
            }
        })
        .buffered(BLOB_READS_AT_ONCE);
    let rest = stream::iter(after).map(Ok);
    let all = begin.chain(blobs).chain(rest);
    let line = stream::once(async { Ok(Bytes::from_static(Pieces::first())) });
    line.chain(framed(all)).boxed()
}

fn framed(
    frames: impl Stream<Item = io::Result<(Kind, Bytes)>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let begin = Some((Box::pin(frames), Pieces::default()));
    stream::unfold(begin, async |state| {
        let (mut frames, mut pieces) = state?;
        match frames.next().await {
            None => Some((Ok(Bytes::copy_from_slice(&pieces.end())), None)),
            Some(Err(error)) => Some((Err(error), None)),
            Some(Ok((kind, content))) => match pieces.head(kind, content.len()) {
                None => Some((Err(io::Error::other("a frame is too large")), None)),
                Some(head) => {
                    let mut bytes = BytesMut::with_capacity(head.len() + content.len());
                    bytes.put_slice(&head);
                    bytes.put_slice(&content);
                    Some((Ok(bytes.freeze()), Some((frames, pieces))))
                }
            },
        }
    })
}
