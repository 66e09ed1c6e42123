//! What operators see of the tracker and of a commit's mistakes, as the API's types. Pure.

use countersign_fleet::api;
use countersign_fleet::mistake::Mistake;
use jiff::Timestamp;

use crate::track::follow::Moved;
use crate::track::tracker::TrackState;
use crate::track::trouble::Trouble;

/// The repository and how following it goes. `done` is the last commit that went through all stages.
#[must_use]
pub fn source(
    track: &TrackState,
    newest: Option<&Moved>,
    done: Option<(&str, Timestamp)>,
) -> api::Source {
    let processed = done.map(|(_, at)| at);
    let (state, code, message) = match &track.trouble {
        Some((trouble, _)) => (
            state_of(trouble),
            trouble.code().to_owned(),
            trouble.to_string(),
        ),
        None => {
            let state = match (newest, done) {
                (Some(moved), Some((commit, _))) if moved.commit.to_string() == commit => {
                    api::SourceState::UpToDate
                }
                (Some(_), _) => api::SourceState::Working,
                (None, _) => api::SourceState::Starting,
            };
            (state, String::new(), String::new())
        }
    };
    let checked = match (&track.trouble, track.checked_at) {
        (Some((_, since)), Some(at)) => Some(at.max(*since)),
        (Some((_, since)), None) => Some(*since),
        (None, at) => at,
    };
    let commit = newest.map(|moved| api::Commit {
        id: moved.commit.to_string(),
        author: moved.author.clone(),
        subject: moved.subject.clone(),
        time: Timestamp::from_second(moved.time).ok(),
    });
    api::Source {
        repository: track.source.clone(),
        reference: track.name.to_string(),
        commit,
        state,
        code,
        message,
        checked,
        processed,
    }
}

const fn state_of(trouble: &Trouble) -> api::SourceState {
    match trouble {
        Trouble::Unreachable { .. }
        | Trouble::AccessDenied { .. }
        | Trouble::ProtocolBroken { .. }
        | Trouble::MirrorFault { .. } => api::SourceState::Unreachable,
        Trouble::SourceInvalid { .. }
        | Trouble::HostUntrusted { .. }
        | Trouble::CredentialScope { .. }
        | Trouble::FetchLimit { .. }
        | Trouble::PackBroken { .. }
        | Trouble::RefGone { .. }
        | Trouble::NotACommit { .. }
        | Trouble::ForcePush { .. }
        | Trouble::CommitMalformed { .. }
        | Trouble::TreeUnsafe { .. } => api::SourceState::Refused,
    }
}

/// A mistake in a file.
#[must_use]
pub fn mistake(mistake: &Mistake, app: &str, cluster: &str) -> api::Mistake {
    api::Mistake {
        code: "SPEC_INVALID".into(),
        file: mistake.file.to_string(),
        line: mistake.line,
        field: mistake.field.clone(),
        message: mistake.problem.to_string(),
        app: app.to_owned(),
        cluster: cluster.to_owned(),
    }
}

/// What in the tree can't be rendered.
#[must_use]
pub fn notices(track: &TrackState) -> Vec<api::Mistake> {
    let of = |notice: &crate::track::treecheck::Notice| api::Mistake {
        code: notice.what.code().into(),
        file: notice.path.clone(),
        line: 0,
        field: String::new(),
        message: notice.what.explanation().into(),
        app: String::new(),
        cluster: String::new(),
    };
    track.notices.iter().map(of).collect()
}
