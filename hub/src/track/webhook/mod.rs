//! Push webhooks of GitHub, GitLab and Gitea. They only wake the tracker: nothing that a payload says is believed.
//!
//! Order, for every request: a secret is configured or there is no route; the body is small; the signature or token is
//! right, over the raw bytes, in constant time; only then is anything parsed. Repository and ref are compared as values.
//! The HTTP route calls [`Hook::receive`] and answers with [`Answer::status`].

pub mod deliveries;
pub mod signature;

use std::sync::Mutex;
use std::sync::PoisonError;

use http::HeaderMap;
use secrecy::SecretString;
use serde::Deserialize;

use crate::track::limits::WEBHOOK_BODY_BYTES_MAX;
use crate::track::refname::RefName;
use crate::track::tracker::TrackHandle;
use deliveries::Deliveries;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forge {
    /// `POST /webhooks/github`
    Github,
    /// `POST /webhooks/gitlab`
    Gitlab,
    /// `POST /webhooks/gitea`
    Gitea,
}

impl Forge {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Github, Self::Gitlab, Self::Gitea];

    /// Last part of the route.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
        }
    }

    const fn headers(self) -> Headers {
        match self {
            Self::Github => Headers {
                proof: "x-hub-signature-256",
                event: "x-github-event",
                delivery: "x-github-delivery",
            },
            Self::Gitlab => Headers {
                proof: "x-gitlab-token",
                event: "x-gitlab-event",
                delivery: "x-gitlab-event-uuid",
            },
            Self::Gitea => Headers {
                proof: "x-gitea-signature",
                event: "x-gitea-event",
                delivery: "x-gitea-delivery",
            },
        }
    }

    fn event(self, name: &str) -> Event {
        match (self, name) {
            (Self::Github | Self::Gitea, "push")
            | (Self::Gitlab, "Push Hook" | "Tag Push Hook") => Event::Push,
            (Self::Github, "ping") => Event::Ping,
            (Self::Github | Self::Gitlab | Self::Gitea, _) => Event::Other,
        }
    }
}

struct Headers {
    proof: &'static str,
    event: &'static str,
    delivery: &'static str,
}

enum Event {
    Push,
    Ping,
    Other,
}

/// One forge's hook with its secret.
pub struct Hook {
    forge: Forge,
    secret: SecretString,
    repository: String,
    name: RefName,
    deliveries: Mutex<Deliveries>,
    tracker: TrackHandle,
}

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The tracker looks now.
    Woken,
    /// Genuine and of no interest.
    Ignored(Ignored),
    /// Not accepted.
    Refused(Refused),
}

/// Genuine requests that wake nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// The forge tries the hook.
    Ping,
    /// Another branch or tag was pushed.
    OtherRef,
}

/// Why a request is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No secret is configured for this forge.
    #[error("there is no such route")]
    NoRoute,
    /// The body is above the limit.
    #[error("the body is larger than 1 MiB")]
    TooLarge,
    /// No signature or token.
    #[error("the signature or token is missing")]
    ProofMissing,
    /// A wrong signature or token.
    #[error("the signature or token is wrong")]
    ProofWrong,
    /// Not what this forge sends.
    #[error("the request is malformed")]
    Malformed,
    /// An event other than a push.
    #[error("only push events are taken")]
    OtherEvent,
    /// This delivery was taken before.
    #[error("this delivery was taken before")]
    Replayed,
    /// A push to another repository.
    #[error("another repository is tracked")]
    OtherRepository,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Woken => f.write_str("looking now"),
            Self::Ignored(Ignored::Ping) => f.write_str("hello"),
            Self::Ignored(Ignored::OtherRef) => f.write_str("another branch or tag is tracked"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl Answer {
    /// HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Woken => 202,
            Self::Ignored(_) => 200,
            Self::Refused(refused) => match refused {
                Refused::NoRoute => 404,
                Refused::TooLarge => 413,
                Refused::ProofMissing | Refused::ProofWrong => 401,
                Refused::Malformed => 400,
                Refused::OtherEvent | Refused::OtherRepository => 422,
                Refused::Replayed => 409,
            },
        }
    }
}

/// The few fields that are read; all others are skipped.
#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    name: String,
    repository: Option<Repository>,
    project: Option<Project>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: Option<String>,
}

#[derive(Deserialize)]
struct Project {
    path_with_namespace: Option<String>,
}

impl Hook {
    /// `repository` is `owner/name` as the forge calls it; compared without regard to case.
    #[must_use]
    pub fn new(
        forge: Forge,
        secret: SecretString,
        repository: &str,
        name: RefName,
        tracker: TrackHandle,
    ) -> Self {
        let repository = repository.to_lowercase();
        Self {
            forge,
            secret,
            repository,
            name,
            deliveries: Mutex::default(),
            tracker,
        }
    }

    /// Who calls it.
    #[must_use]
    pub const fn forge(&self) -> Forge {
        self.forge
    }

    /// Takes one request; wakes the tracker if it is a genuine, new push to the tracked ref.
    #[must_use]
    pub fn receive(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        match self.judge(headers, body) {
            Ok(None) => {
                self.tracker.wake();
                Answer::Woken
            }
            Ok(Some(ignored)) => Answer::Ignored(ignored),
            Err(refused) => Answer::Refused(refused),
        }
    }

    fn judge(&self, headers: &HeaderMap, body: &[u8]) -> Result<Option<Ignored>, Refused> {
        if body.len() > WEBHOOK_BODY_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let names = self.forge.headers();
        let proof = single(headers, names.proof).ok_or(Refused::ProofMissing)?;
        if !signature::genuine(self.forge, &self.secret, proof, body) {
            return Err(Refused::ProofWrong);
        }
        let event = single(headers, names.event)
            .and_then(|value| std::str::from_utf8(value).ok())
            .ok_or(Refused::Malformed)?;
        let delivery = single(headers, names.delivery).ok_or(Refused::Malformed)?;
        match self.forge.event(event) {
            Event::Push => {}
            Event::Ping => return Ok(Some(Ignored::Ping)),
            Event::Other => return Err(Refused::OtherEvent),
        }
        let push: Push = serde_json::from_slice(body).map_err(|_| Refused::Malformed)?;
        let repository = match self.forge {
            Forge::Github | Forge::Gitea => {
                push.repository.and_then(|repository| repository.full_name)
            }
            Forge::Gitlab => push.project.and_then(|project| project.path_with_namespace),
        };
        let repository = repository.ok_or(Refused::Malformed)?;
        let name = full_name(&push.name).ok_or(Refused::Malformed)?;
        if !self
            .deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .first_time(delivery)
        {
            return Err(Refused::Replayed);
        }
        if repository.to_lowercase() != self.repository {
            return Err(Refused::OtherRepository);
        }
        Ok((name != self.name).then_some(Ignored::OtherRef))
    }
}

/// Payloads name refs in full.
fn full_name(text: &str) -> Option<RefName> {
    text.starts_with("refs/")
        .then(|| RefName::parse(text).ok())
        .flatten()
}

/// A header that is there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        (None | Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests;
