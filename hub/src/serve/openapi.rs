//! The OpenAPI 3.1 document of the operators' API, made from the access table and the types themselves.

use countersign_fleet::api::ci::{CiToken, CiTokenRequest};
use countersign_fleet::api::{
    App, AppSummary, Cluster, Drifts, Fleet, JoinToken, JoinTokenRequest, Objects, Overrides,
    ParcelRequest, Permit, PermitRequest, Permits, Problem, ReportTaken, Revocation, RevokeRequest,
    SyncStarted, VerifyAnswer, VerifyAsked,
};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::access::{Endpoint, Surface, TABLE};

/// What the document says of one row beyond the table.
struct Operation {
    id: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str, &'static str)],
    body: Option<Value>,
    status: &'static str,
    answer: Value,
}

/// The document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = SchemaGenerator::new(settings);
    let problem = of::<Problem>(&mut schemas);
    let mut paths = Map::new();
    for row in TABLE.iter().filter(|row| row.surface == Surface::Operators) {
        let Some(operation) = operation(row.endpoint, &mut schemas) else {
            continue;
        };
        let item = paths.entry(row.path).or_insert_with(|| json!({}));
        item[row.method.to_ascii_lowercase()] = described(row.path, operation, &problem);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Countersign hub",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What operators see and ask of a hub. Live status is unsigned: for people to look at, never evidence.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "operatorToken": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "operatorToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Content of operator.token in the hub's data folder. On the Unix socket none is needed.",
                }
            },
            "schemas": schemas.take_definitions(true),
        },
    })
}

fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

fn operation(endpoint: Endpoint, schemas: &mut SchemaGenerator) -> Option<Operation> {
    let read = |id, summary, query, answer| Operation {
        id,
        summary,
        query,
        body: None,
        status: "200",
        answer,
    };
    match endpoint {
        Endpoint::OpenApi => Some(read(
            "openapi",
            "This document",
            &[],
            json!({ "type": "object" }),
        )),
        Endpoint::Fleet => Some(read(
            "fleet",
            "The fleet at a glance",
            &[],
            of::<Fleet>(schemas),
        )),
        Endpoint::Cluster => Some(read("cluster", "One cluster", &[], of::<Cluster>(schemas))),
        Endpoint::Objects => Some(read(
            "objects",
            "Objects of a cluster as its agent reported them, in the order of their names",
            &[
                ("app", "string", "of this app only"),
                ("sync", "string", "in this state only"),
                ("health", "string", "in this state only"),
                (
                    "after",
                    "string",
                    "those after this one: `next` of the page before",
                ),
                ("limit", "integer", "at most this many, 1 to 1000"),
            ],
            of::<Objects>(schemas),
        )),
        Endpoint::Apps => Some(read(
            "apps",
            "All apps",
            &[],
            of::<Vec<AppSummary>>(schemas),
        )),
        Endpoint::App => Some(read(
            "app",
            "One app on all its clusters",
            &[],
            of::<App>(schemas),
        )),
        Endpoint::Drifts => Some(read(
            "drifts",
            "Changes made behind Git's back, newest first",
            &[
                ("cluster", "string", "of this cluster only"),
                ("app", "string", "of this app only"),
                ("limit", "integer", "at most this many, 100 if not said"),
            ],
            of::<Drifts>(schemas),
        )),
        Endpoint::Permits => Some(read(
            "permits",
            "All permits that were given",
            &[],
            of::<Permits>(schemas),
        )),
        Endpoint::Sync => Some(Operation {
            id: "sync",
            summary: "Look at the repository now",
            query: &[],
            body: None,
            status: "202",
            answer: of::<SyncStarted>(schemas),
        }),
        Endpoint::JoinToken => Some(Operation {
            id: "joinToken",
            summary: "A single-use token with which an agent registers for a cluster",
            query: &[],
            body: Some(of::<JoinTokenRequest>(schemas)),
            status: "201",
            answer: of::<JoinToken>(schemas),
        }),
        Endpoint::Parcel => Some(Operation {
            id: "parcel",
            summary: "A cluster's newest state as a file, for an agent that no network reaches (octet stream)",
            query: &[],
            body: Some(of::<ParcelRequest>(schemas)),
            status: "200",
            answer: json!({ "type": "string", "format": "binary" }),
        }),
        Endpoint::ReportFile => Some(Operation {
            id: "report",
            summary: "Take in the file that such an agent wrote (octet stream)",
            query: &[(
                "admit",
                "string",
                "SHA-256 of the receipt key that is admitted, hex",
            )],
            body: Some(json!({ "type": "string", "format": "binary" })),
            status: "200",
            answer: of::<ReportTaken>(schemas),
        }),
        Endpoint::Revoke => Some(Operation {
            id: "revoke",
            summary: "A cluster's agent speaks no more: at once, and in the log",
            query: &[],
            body: Some(of::<RevokeRequest>(schemas)),
            status: "200",
            answer: of::<Revocation>(schemas),
        }),
        Endpoint::Overrides => Some(read(
            "overrides",
            "What people with override keys said, in the order of the log, each with its proof",
            &[],
            of::<Overrides>(schemas),
        )),
        Endpoint::VerifyAsk => Some(Operation {
            id: "verifyAsk",
            summary: "Ask a cluster for a receipt now, with a fresh nonce",
            query: &[],
            body: None,
            status: "202",
            answer: of::<VerifyAsked>(schemas),
        }),
        Endpoint::VerifyAnswer => Some(read(
            "verifyAnswer",
            "The receipt with that nonce, once it is in the log, and what proves it",
            &[],
            of::<VerifyAnswer>(schemas),
        )),
        Endpoint::CiToken => Some(Operation {
            id: "ciToken",
            summary: "A token with which one workspace's CI has the hub sign for it",
            query: &[],
            body: Some(of::<CiTokenRequest>(schemas)),
            status: "201",
            answer: of::<CiToken>(schemas),
        }),
        Endpoint::Permit => Some(Operation {
            id: "permit",
            summary: "Allow a change that needs a person's word",
            query: &[],
            body: Some(of::<PermitRequest>(schemas)),
            status: "201",
            answer: of::<Permit>(schemas),
        }),
        Endpoint::Healthz
        | Endpoint::Readyz
        | Endpoint::Metrics
        | Endpoint::WebhookGithub
        | Endpoint::WebhookGitlab
        | Endpoint::WebhookGitea
        | Endpoint::Log
        | Endpoint::LogEntries
        | Endpoint::LogInfrastructure
        | Endpoint::LogTrust
        | Endpoint::LogSalts
        | Endpoint::LogNewest
        | Endpoint::Grpc => None,
    }
}

fn described(path: &str, operation: Operation, problem: &Value) -> Value {
    let named = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let asked = operation.query.iter().map(|(name, kind, about)| {
        json!({ "name": name, "in": "query", "required": false, "description": about, "schema": { "type": kind } })
    });
    let parameters: Vec<Value> = named.chain(asked).collect();
    let content = |schema: &Value| json!({ "application/json": { "schema": schema } });
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            operation.status: { "description": operation.summary, "content": content(&operation.answer) },
            "default": { "description": "Not a success", "content": content(problem) },
        },
    });
    if let Some(body) = operation.body {
        described["requestBody"] = json!({ "required": true, "content": content(&body) });
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match (key.as_str(), value) {
                        ("$ref", Value::String(target)) => found.push(target.clone()),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_operators_row_is_described_and_nothing_else() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let mut described = 0;
        for row in TABLE.iter().filter(|row| row.surface == Surface::Operators) {
            let operation = &paths[row.path][row.method.to_ascii_lowercase()];
            assert!(
                operation["operationId"].is_string(),
                "{} {}",
                row.method,
                row.path
            );
            described += 1;
        }
        let all: usize = paths
            .values()
            .map(|item| item.as_object().unwrap().len())
            .sum();
        assert_eq!(all, described);
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }

    #[test]
    fn operation_ids_are_unique() {
        let document = document();
        let mut ids: Vec<String> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
            .collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
