//! A renderer and sources in this process.
use super::*;

/// Stands in for the worker: reads plain files, lets a "kustomization" list its files, and a "chart" be one file with
/// the values written into it.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) moody: bool,
    pub(super) asked: Mutex<Vec<How>>,
}

pub(super) struct Traced<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) trace: Trace,
}

impl Traced<'_> {
    fn read(&mut self, path: &str) -> Result<Option<Bytes>, RenderFailure> {
        let fault = |why: String| RenderFailure::new(Code::FilesFault, why);
        match self.files.stat(path).map_err(|e| fault(e.to_string()))? {
            Stat::File { oid, .. } => {
                self.trace.record(Query::Read, path, Seen::File(oid));
                Ok(Some(
                    self.files.read(path).map_err(|e| fault(e.to_string()))?,
                ))
            }
            _ => {
                self.trace.record(Query::Read, path, Seen::Absent);
                Ok(None)
            }
        }
    }

    fn fail(self, code: Code, message: &str) -> RenderFailure {
        let mut failure = RenderFailure::new(code, message);
        failure.trace = self.trace;
        failure
    }
}

pub(super) fn objects(path: &str, content: &[u8]) -> Vec<RenderedObject> {
    yaml::parse(std::str::from_utf8(content).unwrap())
        .unwrap()
        .iter()
        .map(|node| RenderedObject {
            json: node.json(),
            file: path.to_owned(),
            line: node.line,
        })
        .collect()
}

impl Renderer for Fake {
    fn version(&self) -> String {
        "fake 1".to_owned()
    }

    async fn render(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
    ) -> Result<Fresh, RenderFailure> {
        self.asked.lock().unwrap().push(request.how.clone());
        let mut traced = Traced {
            files: files.as_ref(),
            trace: Trace::default(),
        };
        let mut out = Vec::new();
        match &request.how {
            How::Plain { files } => {
                for path in files {
                    let content = traced.read(path)?.unwrap();
                    out.extend(objects(path, &content));
                }
            }
            How::Kustomize { folder } => {
                let list = traced
                    .read(&format!("{folder}/kustomization.yaml"))?
                    .unwrap();
                for name in String::from_utf8(list.to_vec()).unwrap().lines() {
                    let path = format!("{folder}/{name}");
                    match traced.read(&path)? {
                        Some(content) => out.extend(objects(&path, &content)),
                        None => return Err(traced.fail(Code::KustomizeFailed, "no such file")),
                    }
                }
            }
            How::Helm(helm) => {
                let mut values = serde_json::Map::new();
                for source in &helm.values {
                    match source {
                        Values::Inline(map) => values.extend(map.clone()),
                        Values::File { path, optional } => match traced.read(path)? {
                            Some(content) => values.extend(
                                objects(path, &content)[0].json.as_object().unwrap().clone(),
                            ),
                            None if *optional => {}
                            None => return Err(traced.fail(Code::ValuesInvalid, "no such values")),
                        },
                    }
                }
                let things = request
                    .api_versions
                    .iter()
                    .any(|api| api == "example.org/v1/Thing");
                out.push(RenderedObject {
                    json: json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": helm.release_name},
                                 "stringData": {"values": serde_json::to_string(&values).unwrap(), "things": things.to_string()}}),
                    file: "templates/a.yaml".to_owned(),
                    line: 1,
                });
            }
        }
        Ok(Fresh {
            objects: out,
            trace: traced.trace,
            ..Fresh::default()
        })
    }

    async fn render_again(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
        _: Option<WorkerId>,
    ) -> Result<Fresh, RenderFailure> {
        let mut fresh = self.render(files, request).await?;
        if self.moody {
            fresh.objects[0].json["metadata"]["labels"] = json!({"second": "time"});
        }
        Ok(fresh)
    }
}

pub(super) static DOCUMENTS: std::sync::LazyLock<DocumentCache> =
    std::sync::LazyLock::new(DocumentCache::default);

/// Nothing comes from elsewhere.
pub(super) struct Nowhere;

impl Sources for Nowhere {
    async fn chart(&self, _: &LockedChart) -> Result<Bytes, AppFailure> {
        Err(AppFailure::new("SOURCE_FAULT", "no network"))
    }
    async fn artifact(&self, _: &LockedArtifact) -> Result<Bytes, AppFailure> {
        Err(AppFailure::new("SOURCE_FAULT", "no network"))
    }
    async fn repository(&self, _: &LockedRepository) -> Result<SharedTree, AppFailure> {
        Err(AppFailure::new("SOURCE_FAULT", "no network"))
    }
}

pub(super) fn desired() -> Desired<Fake, Nowhere> {
    Desired {
        renderer: Fake::default(),
        sources: Nowhere,
        cache: RenderCache::default(),
        secrets: EncryptedSecrets::Shown,
    }
}
