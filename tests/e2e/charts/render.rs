//! The golden renders are what our own renderer makes of the charts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{CHARTS, golden, root, stems};
use crate::renderer;

fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let count = objects.len();
    let named: BTreeMap<String, Value> = objects
        .into_iter()
        .map(|object| {
            let meta = &object["metadata"];
            let name = format!("{} {}/{}", object["kind"], meta["namespace"], meta["name"]);
            (name, object)
        })
        .collect();
    assert_eq!(named.len(), count, "an object stands twice");
    named
}

/// `UPDATE_GOLDEN=1` writes what is rendered; its difference is reviewed like code.
#[tokio::test(flavor = "multi_thread")]
async fn the_golden_renders_are_what_the_charts_render_to() {
    let workers = renderer::workers().await;
    for chart in CHARTS {
        let folder = root().join("manifests").join(chart);
        for case in stems(&folder.join("ci"), "-values.yaml") {
            let objects = renderer::chart(&workers, chart, &case).await;
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                let documents: String = objects
                    .iter()
                    .map(|object| format!("---\n{}", serde_saphyr::to_string(object).unwrap()))
                    .collect();
                std::fs::write(folder.join(format!("golden/{case}.yaml")), documents).unwrap();
            }
            let (rendered, stands) = (by_name(objects), by_name(golden(chart, &case)));
            let names = |all: &BTreeMap<String, Value>| all.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&rendered), names(&stands), "{chart}/{case}");
            for (name, object) in rendered {
                assert_eq!(object, stands[&name], "{chart}/{case}: {name}");
            }
        }
    }
}

/// Values that the schema doesn't know are refused by the renderer, with the field.
#[tokio::test(flavor = "multi_thread")]
async fn a_chart_without_what_it_needs_is_refused() {
    use countersign_fleet::render::{Chart, Code, Helm, How, MemoryFiles, RenderRequest, Values};
    let workers = renderer::workers().await;
    for chart in CHARTS {
        for values in [
            serde_json::json!({}),
            serde_json::json!({"imagee": {}}),
            serde_json::json!({"image": {"repository": "a", "digest": "latest"}}),
        ] {
            let how = How::Helm(Helm {
                chart: Chart::Folder(format!("manifests/{chart}")),
                values: vec![Values::Inline(values.as_object().unwrap().clone())],
                release_name: chart.to_owned(),
                namespace: "countersign".to_owned(),
                dependencies: Vec::new(),
            });
            let request = RenderRequest {
                how,
                kubernetes_version: renderer::KUBERNETES.to_owned(),
                api_versions: Vec::new(),
            };
            let files = MemoryFiles::new(renderer::files(&format!("manifests/{chart}")));
            let failure = workers
                .render(&request, std::sync::Arc::new(files))
                .await
                .unwrap_err();
            assert_eq!(
                failure.code,
                Code::ValuesInvalid,
                "{chart} {values}: {failure}"
            );
        }
    }
}
