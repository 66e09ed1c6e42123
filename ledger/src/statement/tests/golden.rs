//! The bytes of each statement, and that its published schema takes them. `UPDATE_GOLDEN=1` writes the files anew.

use std::path::PathBuf;

use super::super::*;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn statements_have_their_golden_bytes_and_schemas() {
    for statement in samples::all() {
        let payload = statement.payload().unwrap();
        let name = statement
            .predicate_type()
            .trim_start_matches("https://countersign.dev/")
            .trim_end_matches("/v1");
        let path = root().join(format!("tests/golden/{name}.statement.json"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &payload).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&golden),
            String::from_utf8_lossy(&payload),
            "{name} differs; UPDATE_GOLDEN=1 writes it anew"
        );

        // The document format has the name of the entry that says that it is in effect.
        let file = if name == "trust" { "trust-entry" } else { name };
        let path = root().join(format!("../proto/schemas/{file}.schema.json"));
        let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let value: Value = serde_json::from_slice(&payload).unwrap();
        let mistakes: Vec<String> = validator
            .iter_errors(&value)
            .map(|mistake| mistake.to_string())
            .collect();
        assert!(mistakes.is_empty(), "{file}: {mistakes:?} in {value}");
        // Every field of the predicate that must be there is asked for; those that may be left out are known.
        let optional = ["cluster", "app"];
        for field in value["predicate"].as_object().unwrap().keys() {
            let mut lacking = value.clone();
            lacking["predicate"].as_object_mut().unwrap().remove(field);
            let may = match statement {
                Statement::Override(_) | Statement::Revocation(_) => {
                    optional.contains(&field.as_str())
                }
                _ => false,
            };
            assert_eq!(validator.is_valid(&lacking), may, "{file} without {field}");
            let bytes = json::canonical(&lacking).unwrap();
            // A receipt without an attack may leave the field out.
            if !may && field != "attack" {
                assert!(Statement::parse(&bytes).is_err(), "{file} without {field}");
            }
        }
    }
}
