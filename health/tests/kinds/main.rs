//! Each kind in the states that an operator meets, judged. A row: what it shows, the object, the verdict.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use countersign_health::{
    Health, HealthStatus, Rules, judge, judge_with_pods, needs_status, selects,
};
use serde_json::Value;

use HealthStatus::{Degraded, Healthy, Missing, Progressing, Suspended, Unknown};

/// Objects are written in YAML, as people meet them.
fn object(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn check(rows: &[(&str, &str, HealthStatus, &str)]) {
    for (name, yaml, status, message) in rows {
        assert_eq!(
            judge(&object(yaml), &Rules::none()),
            Health::new(*status, message),
            "{name}"
        );
    }
}

/// A Deployment of three replicas whose status is the given fields.
macro_rules! deployment {
    ($spec:literal, $status:literal) => {
        concat!(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: cart, generation: 2}, spec: {replicas: 3",
            $spec,
            "}, status: {observedGeneration: 2",
            $status,
            "}}"
        )
    };
}

/// A StatefulSet of three replicas.
macro_rules! stateful {
    ($spec:literal, $status:literal) => {
        concat!(
            "{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 2}, spec: {replicas: 3",
            $spec,
            "}, status: {observedGeneration: 2",
            $status,
            "}}"
        )
    };
}

/// A pod with the given status.
macro_rules! pod {
    ($status:literal) => {
        concat!(
            "{apiVersion: v1, kind: Pod, metadata: {name: cart-1}, spec: {restartPolicy: Always}, status: {",
            $status,
            "}}"
        )
    };
}

/// A custom resource with the given status.
macro_rules! custom {
    ($status:literal) => {
        concat!(
            "{apiVersion: example.com/v1, kind: Thing, metadata: {name: a, generation: 2}, status: {",
            $status,
            "}}"
        )
    };
}

mod cluster;
mod conventions;
mod pods;
mod workloads;
