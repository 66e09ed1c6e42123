//! Answers the worker's questions from a tree and notes them in the trace. May block: runs on the blocking pool.
use countersign_proto::renderer::v1 as pb;

use super::{
    failure::Code,
    files::{Files, FilesFault, Stat},
    trace::{Query, Seen, Trace},
};

/// A file larger than this is refused before it is read; the worker has the same bound. Bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The answer's frame and what the trace shall remember.
pub(super) struct Answer {
    /// For the worker.
    pub(super) wire: pb::FileAnswer,
    seen: Seen,
    links: Vec<String>,
}

impl Answer {
    /// Notes the answer.
    pub(super) fn record(&self, query: Query, path: &str, trace: &mut Trace) {
        trace.record(query, path, self.seen.clone());
        for link in &self.links {
            trace.record_link(link);
        }
    }
}

/// Asks `files`.
pub(super) fn answer(files: &dyn Files, query: Query, path: &str) -> Result<Answer, FilesFault> {
    let links = files.links(path)?;
    let (wire, seen) = match files.stat(path)? {
        Stat::Absent => (of_kind(pb::file_answer::Kind::Absent), Seen::Absent),
        Stat::Refused { code, reason } => (refused(code, reason), Seen::Refused),
        Stat::File { bytes, .. } if bytes > FILE_BYTES_MAX => (
            refused(
                Code::SizeLimit,
                format!("is larger than {FILE_BYTES_MAX} bytes"),
            ),
            Seen::Refused,
        ),
        Stat::File { oid, .. } => {
            let mut wire = of_kind(pb::file_answer::Kind::File);
            if query == Query::Read {
                wire.content = files.read(path)?;
            }
            (wire, Seen::File(oid))
        }
        Stat::Folder { .. } => {
            let mut wire = of_kind(pb::file_answer::Kind::Folder);
            if query == Query::List {
                let entries = files.list(path)?;
                wire.entries = entries
                    .iter()
                    .map(|entry| pb::FolderEntry {
                        name: entry.name.clone(),
                        folder: entry.folder,
                    })
                    .collect();
                (wire, Seen::Names(entries))
            } else {
                (wire, Seen::Folder)
            }
        }
    };
    Ok(Answer { wire, seen, links })
}

fn of_kind(kind: pb::file_answer::Kind) -> pb::FileAnswer {
    pb::FileAnswer {
        kind: kind.into(),
        ..pb::FileAnswer::default()
    }
}

fn refused(code: Code, reason: String) -> pb::FileAnswer {
    pb::FileAnswer {
        kind: pb::file_answer::Kind::Refused.into(),
        reason,
        code: code.as_str().to_owned(),
        ..pb::FileAnswer::default()
    }
}
