//! Protobuf ⇄ ours. Nothing else in this folder names a generated type's fields.
use bytes::Bytes;
use countersign_proto::renderer::v1 as pb;

use super::{
    failure::{Code, RenderFailure},
    request::{Chart, Helm, How, RenderRequest, RenderedObject, Values},
    trace::Query,
};

/// The request's frame.
pub(super) fn render(request: &RenderRequest) -> pb::ToWorker {
    let how = match &request.how {
        How::Plain { files } => pb::render::How::Plain(pb::Plain {
            files: files.clone(),
        }),
        How::Kustomize { folder } => pb::render::How::Kustomize(pb::Kustomize {
            folder: folder.clone(),
        }),
        How::Helm(chart) => pb::render::How::Helm(helm(chart)),
    };
    to_worker(pb::to_worker::Message::Render(pb::Render {
        how: Some(how),
        kubernetes_version: request.kubernetes_version.clone(),
        api_versions: request.api_versions.clone(),
    }))
}

fn helm(chart: &Helm) -> pb::Helm {
    let (folder, chart_archive) = match &chart.chart {
        Chart::Folder(folder) => (folder.clone(), Bytes::new()),
        Chart::Archive(bytes) => (String::new(), bytes.clone()),
    };
    pb::Helm {
        folder,
        chart_archive,
        values: chart.values.iter().map(values).collect(),
        release_name: chart.release_name.clone(),
        namespace: chart.namespace.clone(),
        dependencies: chart
            .dependencies
            .iter()
            .map(|(name, content)| pb::Archive {
                name: name.clone(),
                content: content.clone(),
            })
            .collect(),
    }
}

fn values(values: &Values) -> pb::Values {
    match values {
        Values::File { path, optional } => pb::Values {
            file: path.clone(),
            json: Bytes::new(),
            optional: *optional,
        },
        Values::Inline(map) => pb::Values {
            file: String::new(),
            json: serde_json::Value::Object(map.clone()).to_string().into(),
            optional: false,
        },
    }
}

/// A frame of one message.
pub(crate) fn to_worker(message: pb::to_worker::Message) -> pb::ToWorker {
    pb::ToWorker {
        message: Some(message),
    }
}

/// A failure as the worker gave it.
pub(crate) fn failure(failure: pb::Failure) -> RenderFailure {
    let code = Code::parse(&failure.code);
    RenderFailure {
        code: code.unwrap_or(Code::RenderProtocol),
        file: failure.file,
        line: failure.line,
        field: failure.field,
        message: match code {
            Some(_) => failure.message,
            None => format!("unknown code {:?}", failure.code),
        },
        trace: super::trace::Trace::default(),
    }
}

/// The objects of a render.
pub(super) fn objects(
    objects: Vec<pb::RenderedObject>,
) -> Result<Vec<RenderedObject>, RenderFailure> {
    objects
        .into_iter()
        .map(|object| {
            let json = serde_json::from_slice(&object.json).map_err(|_| {
                RenderFailure::new(Code::RenderProtocol, "an object is not JSON")
                    .at(object.file.clone(), object.line)
            })?;
            Ok(RenderedObject {
                json,
                file: object.file,
                line: object.line,
            })
        })
        .collect()
}

/// The question, if it is one of this protocol and its path is clean.
pub(super) fn question(query: &pb::FileQuery) -> Option<(Query, &str)> {
    let kind = match query.kind() {
        pb::file_query::Kind::Read => Query::Read,
        pb::file_query::Kind::List => Query::List,
        pb::file_query::Kind::Stat => Query::Stat,
        pb::file_query::Kind::Unspecified => return None,
    };
    let path = query.path.as_str();
    let clean = path.is_empty()
        || path
            .split('/')
            .all(|name| !name.is_empty() && name != "." && name != ".." && !name.contains('\0'));
    clean.then_some((kind, path))
}
