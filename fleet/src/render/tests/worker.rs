//! A render through the whole path: request, questions, objects, trace.
use super::*;

#[tokio::test]
async fn a_plain_render_gives_objects_with_their_place_and_the_trace() {
    let workers = pool(|_| {}).await;
    assert!(
        workers
            .version()
            .starts_with("countersign-renderer 0.1.0 helm v4.")
            && workers.version().contains(" kustomize v0.")
            && workers.version().contains(" kubernetes v0."),
        "{}",
        workers.version()
    );
    let files = memory(&[("a.yaml", CONFIG_MAP), ("b.yaml", "not read")]);
    let rendered = workers
        .render(&plain(&["a.yaml"]), Arc::clone(&files))
        .await
        .unwrap();
    assert_eq!(names(&rendered), ["one"]);
    assert_eq!(rendered.objects[0].file, "a.yaml");
    assert_eq!(rendered.objects[0].line, 1);
    assert_eq!(rendered.trace.len(), 1);
    assert!(rendered.trace.affected_by(["a.yaml"]));
    assert!(!rendered.trace.affected_by(["b.yaml"]));
    assert!(rendered.trace.holds_in(&*files).unwrap());
}

#[tokio::test]
async fn a_kustomize_build_traces_what_it_looked_for_in_vain() {
    let workers = pool(|_| {}).await;
    let files = memory(&[
        ("over/kustomization.yaml", "resources: [../base]\n"),
        ("base/kustomization.yaml", "resources: [a.yaml]\n"),
        ("base/a.yaml", CONFIG_MAP),
        ("elsewhere/x", ""),
    ]);
    let build = request(How::Kustomize {
        folder: "over".to_owned(),
    });
    let rendered = workers.render(&build, files).await.unwrap();
    assert_eq!(names(&rendered), ["one"]);
    assert_eq!(rendered.objects[0].file, "base/a.yaml");
    for path in [
        "base/a.yaml",
        "base/kustomization.yml",
        "over/Kustomization",
    ] {
        assert!(rendered.trace.affected_by([path]), "{path}");
    }
    for path in ["elsewhere/x", "base/other.yaml", "over/README.md"] {
        assert!(!rendered.trace.affected_by([path]), "{path}");
    }
}

#[tokio::test]
async fn a_second_render_runs_in_another_process_and_gives_the_same() {
    let workers = pool(|_| {}).await;
    let files = chart(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {{ .Values.d | toYaml | nindent 2 }}\n",
    );
    let request = helm("c", serde_json::json!({"d": {"b": "1", "a": "2"}}));
    let first = workers.render(&request, Arc::clone(&files)).await.unwrap();
    let again = workers.render_again(&first, &request, files).await.unwrap();
    assert_eq!(names(&first), ["cart"]);
    assert_eq!(first.objects, again.objects);
    assert_eq!(first.trace, again.trace);
    assert_ne!(first.worker, again.worker);
}

#[tokio::test]
async fn a_mistake_names_its_place_and_keeps_the_trace() {
    let workers = pool(|_| {}).await;
    let failure = workers
        .render(&helm("c", serde_json::json!({})), chart("\na: {{ now }}\n"))
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::RenderImpure);
    assert_eq!(failure.file, "c/templates/a.yaml");
    assert_eq!(failure.line, 2);
    assert!(failure.trace.affected_by(["c/templates/a.yaml"]));
    assert!(!failure.code.is_fault());
}

#[tokio::test]
async fn renders_beyond_the_pool_wait_for_their_turn() {
    let workers = pool(|config| config.workers = 2).await;
    let renders = (0..12).map(|_| {
        let workers = workers.clone();
        tokio::spawn(async move {
            workers
                .render(&plain(&["a.yaml"]), memory(&[("a.yaml", CONFIG_MAP)]))
                .await
                .unwrap()
                .worker
        })
    });
    let mut used = std::collections::BTreeSet::new();
    for render in renders.collect::<Vec<_>>() {
        used.insert(render.await.unwrap());
    }
    assert!(used.len() <= 2, "{used:?}");
}

/// A tree that refuses some paths.
struct Refusing(MemoryFiles);

impl Files for Refusing {
    fn stat(&self, path: &str) -> Result<Stat, FilesFault> {
        match path {
            "link.yaml" => Ok(Stat::Refused {
                code: Code::PathEscape,
                reason: "is a link to /proc/self/environ".to_owned(),
            }),
            "large.yaml" => Ok(Stat::File {
                oid: "1".to_owned(),
                bytes: 1 << 30,
            }),
            "broken.yaml" => Err(FilesFault {
                path: path.to_owned(),
                why: "the disk is gone".to_owned(),
            }),
            _ => self.0.stat(path),
        }
    }
    fn read(&self, path: &str) -> Result<bytes::Bytes, FilesFault> {
        self.0.read(path)
    }
    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, FilesFault> {
        self.0.list(path)
    }
}

/// THREATS 1.2: CVE-2022-24348, CVE-2022-24730, CVE-2022-24731, CVE-2022-24904, CVE-2022-31036, CVE-2023-40026.
#[tokio::test]
async fn threat_cve_2022_24348_what_the_tree_refuses_fails_the_render_by_name() {
    let workers = pool(|_| {}).await;
    let files: Arc<dyn Files> = Arc::new(Refusing(MemoryFiles::default()));
    for (path, code) in [
        ("link.yaml", Code::PathEscape),
        ("large.yaml", Code::SizeLimit),
        ("broken.yaml", Code::FilesFault),
        ("../x", Code::PathEscape),
        ("absent.yaml", Code::SpecInvalid),
    ] {
        let failure = workers
            .render(&plain(&[path]), Arc::clone(&files))
            .await
            .unwrap_err();
        assert_eq!(failure.code, code, "{failure}");
    }
    let good = workers
        .render(&plain(&["a.yaml"]), memory(&[("a.yaml", CONFIG_MAP)]))
        .await;
    assert!(good.is_ok());
}
