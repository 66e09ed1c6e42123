//! Admission: the ValidatingAdmissionPolicy files that a cluster enforces, evaluated before anything is signed.
//!
//! The worker evaluates them with Kubernetes' own library on the final objects. What it can't decide without the
//! cluster is [`Decision::Undecidable`], never "no match".
use bytes::Bytes;
use countersign_proto::renderer::v1 as pb;

use crate::render::{Code, RenderFailure, Trace, Workers, wire, workers::Lease};

/// A set of policy files, named by the digest of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet {
    /// `(path, content)` of each file, sorted by path.
    pub files: Vec<(String, Bytes)>,
    /// The version whose CEL library decides what an expression may use, `"v1.35.4"`.
    pub kubernetes_version: String,
}

/// One object to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The final object, as it will be applied.
    pub json: serde_json::Value,
    /// Whether its kind lives in namespaces.
    pub namespaced: bool,
    /// Plural resource name; empty to have it guessed from the kind.
    pub resource: String,
}

/// What a policy says about an object. An object on which all agree has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Index of the candidate.
    pub object: usize,
    /// Name of the policy.
    pub policy: String,
    /// Name of the binding that brought it.
    pub binding: String,
    /// What follows.
    pub decision: Decision,
    /// The policy's message, or what is missing to decide.
    pub message: String,
}

/// What follows from a policy's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// The API server would refuse the object.
    Denied,
    /// It would warn.
    Warned,
    /// It would only write to its audit log.
    Audited,
    /// It needs what the hub doesn't have; the app is not signed.
    Undecidable,
}

impl Decision {
    /// Whether the object must not be signed.
    pub fn blocks(self) -> bool {
        matches!(self, Self::Denied | Self::Undecidable)
    }
}

impl PolicySet {
    /// Digest of the version and all files: what the worker and the signed statement name the set by.
    pub fn digest(&self) -> [u8; 32] {
        use sha2::{Digest as _, Sha256};
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        add(self.kubernetes_version.as_bytes());
        for (path, content) in &self.files {
            add(path.as_bytes());
            add(content);
        }
        hash.finalize().into()
    }
}

/// Objects of one frame: keeps it far below the frame's limit. Bytes.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Compiles the set and gives the names of its policies.
///
/// # Errors
/// All mistakes of the set at once, each with file, line and field; or the one fault of the worker.
pub async fn check(workers: &Workers, set: &PolicySet) -> Result<Vec<String>, Vec<RenderFailure>> {
    let mut lease = workers.lease(None).await.map_err(|fault| vec![fault])?;
    let loaded = load(workers, &mut lease, set).await;
    match loaded {
        Ok(names) => {
            workers.give_back(lease);
            Ok(names)
        }
        Err(Unloaded::Mistakes(mistakes)) => {
            workers.give_back(lease);
            Err(mistakes)
        }
        Err(Unloaded::Fault(fault)) => {
            workers.replace(lease);
            Err(vec![fault])
        }
    }
}

/// Judges objects by a set. The verdicts come in the order of the objects, then of the policies' names.
///
/// # Errors
/// [`RenderFailure`]: of the set, or of the worker; then nothing is known of any object.
pub async fn admit(
    workers: &Workers,
    set: &PolicySet,
    objects: &[Candidate],
) -> Result<Vec<Verdict>, RenderFailure> {
    let mut lease = workers.lease(None).await?;
    match judge(workers, &mut lease, set, objects).await {
        Ok(verdicts) => {
            workers.give_back(lease);
            Ok(verdicts)
        }
        Err(failure) if answered(failure.code) => {
            workers.give_back(lease);
            Err(failure)
        }
        Err(failure) => {
            workers.replace(lease);
            Err(failure)
        }
    }
}

/// Whether the worker itself gave this answer, so that it lives on.
fn answered(code: Code) -> bool {
    matches!(
        code,
        Code::PolicyInvalid | Code::YamlInvalid | Code::YamlLimit | Code::SpecInvalid
    )
}

enum Unloaded {
    Mistakes(Vec<RenderFailure>),
    Fault(RenderFailure),
}

async fn load(
    workers: &Workers,
    lease: &mut Lease,
    set: &PolicySet,
) -> Result<Vec<String>, Unloaded> {
    let request = wire::to_worker(pb::to_worker::Message::Policies(pb::Policies {
        digest: Bytes::copy_from_slice(&set.digest()),
        files: set
            .files
            .iter()
            .map(|(path, content)| pb::PolicyFile {
                path: path.clone(),
                content: content.clone(),
            })
            .collect(),
        kubernetes_version: set.kubernetes_version.clone(),
    }));
    let answer = workers
        .ask(lease, &request, None, &mut Trace::default())
        .await
        .map_err(Unloaded::Fault)?;
    match answer {
        pb::from_worker::Message::Policies(loaded) if loaded.failures.is_empty() => {
            lease.remember(Bytes::copy_from_slice(&set.digest()));
            Ok(loaded.names)
        }
        pb::from_worker::Message::Policies(loaded) => Err(Unloaded::Mistakes(
            loaded.failures.into_iter().map(wire::failure).collect(),
        )),
        _ => Err(Unloaded::Fault(other_answer())),
    }
}

async fn judge(
    workers: &Workers,
    lease: &mut Lease,
    set: &PolicySet,
    objects: &[Candidate],
) -> Result<Vec<Verdict>, RenderFailure> {
    let digest = Bytes::copy_from_slice(&set.digest());
    if !lease.remembers(&digest) {
        load(workers, lease, set)
            .await
            .map_err(|unloaded| match unloaded {
                Unloaded::Fault(fault) => fault,
                Unloaded::Mistakes(mistakes) => mistakes
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| RenderFailure::new(Code::PolicyInvalid, "not loaded")),
            })?;
    }
    let mut verdicts = Vec::new();
    let mut rest = objects;
    while !rest.is_empty() {
        let start = objects.len() - rest.len();
        let (batch, taken) = batch(rest);
        let request = wire::to_worker(pb::to_worker::Message::Admit(pb::Admit {
            policies: digest.clone(),
            objects: batch,
        }));
        let answer = workers
            .ask(lease, &request, None, &mut Trace::default())
            .await?;
        let pb::from_worker::Message::Admitted(admitted) = answer else {
            return Err(other_answer());
        };
        if let Some(failure) = admitted.failure {
            return Err(wire::failure(failure));
        }
        for wire in admitted.verdicts {
            verdicts.push(verdict(wire, start, objects.len())?);
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(verdicts)
}

/// As many objects as fit into a frame, at least one.
fn batch(objects: &[Candidate]) -> (Vec<pb::AdmitObject>, usize) {
    let mut bytes = 0;
    let mut batch = Vec::new();
    for object in objects {
        let json = Bytes::from(object.json.to_string());
        bytes += json.len();
        if bytes > BATCH_BYTES_MAX && !batch.is_empty() {
            break;
        }
        batch.push(pb::AdmitObject {
            json,
            namespaced: object.namespaced,
            resource: object.resource.clone(),
        });
    }
    let taken = batch.len();
    (batch, taken)
}

fn verdict(wire: pb::Verdict, start: usize, objects: usize) -> Result<Verdict, RenderFailure> {
    let decision = match wire.decision() {
        pb::verdict::Decision::Denied => Decision::Denied,
        pb::verdict::Decision::Warned => Decision::Warned,
        pb::verdict::Decision::Audited => Decision::Audited,
        pb::verdict::Decision::Undecidable => Decision::Undecidable,
        pb::verdict::Decision::Unspecified => return Err(other_answer()),
    };
    let object = usize::try_from(wire.object)
        .ok()
        .map(|index| start + index)
        .filter(|index| *index < objects)
        .ok_or_else(other_answer)?;
    Ok(Verdict {
        object,
        policy: wire.policy,
        binding: wire.binding,
        decision,
        message: wire.message,
    })
}

fn other_answer() -> RenderFailure {
    RenderFailure::new(
        Code::RenderProtocol,
        "the worker gave another answer than asked for",
    )
}

#[cfg(test)]
mod tests;
