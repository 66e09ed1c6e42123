use std::path::PathBuf;

use super::*;

fn published(kind: DocumentKind) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../proto/schemas")
        .join(kind.schema_file())
}

fn text(kind: DocumentKind) -> String {
    serde_json::to_string_pretty(&kind.schema()).unwrap() + "\n"
}

/// Set `COUNTERSIGN_WRITE_SCHEMAS=1` to publish what the types say.
#[test]
fn the_published_schemas_are_those_of_the_types() {
    for kind in DocumentKind::ALL {
        let path = published(kind);
        if std::env::var_os("COUNTERSIGN_WRITE_SCHEMAS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text(kind)).unwrap();
        }
        let stands = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(stands, text(kind), "{} is out of date", path.display());
    }
}

#[test]
fn the_published_schemas_agree_with_an_independent_validator() {
    let schema = DocumentKind::App.schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good = serde_json::json!({
        "apiVersion": API_VERSION, "kind": "App", "metadata": {"name": "cart"},
        "spec": {"source": {"path": "x"}, "prune": {"maxObjects": 5}},
    });
    assert!(validator.is_valid(&good));
    for (pointer, value) in [
        ("/kind", serde_json::json!("Cluster")),
        ("/metadata/name", serde_json::json!("Cart")),
        ("/spec/prune/maxObjects", serde_json::json!(51)),
        ("/spec/source/path", serde_json::json!(5)),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!validator.is_valid(&bad), "{pointer}");
    }
}

#[test]
fn a_document_survives_its_json() {
    let json = serde_json::json!({
        "apiVersion": API_VERSION, "kind": "Cluster", "metadata": {"name": "metal-fra"},
        "spec": {"labels": {"env": "production"}, "kubernetes": {"version": "v1.35.4"}},
    });
    let document: ClusterDocument = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(document).unwrap(), json);
}
