//! Reading fields of an object that may have any shape: what is absent or of another type reads as nothing.

use serde_json::Value;

use crate::limits::ITEMS_MAX;

/// The value at a path of keys.
pub(crate) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The text at a path; empty if there is none.
pub(crate) fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at a path.
pub(crate) fn number(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

/// A count at a path; 0 if there is none, never negative.
pub(crate) fn count(value: &Value, path: &[&str]) -> i64 {
    number(value, path).unwrap_or(0).max(0)
}

/// The boolean at a path; false if there is none.
pub(crate) fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The elements of the list at a path, at most [`ITEMS_MAX`].
pub(crate) fn items<'v>(value: &'v Value, path: &[&str]) -> &'v [Value] {
    let all = at(value, path)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    &all[..all.len().min(ITEMS_MAX)]
}

/// Group of an object: `apps` of `apps/v1`, empty for `v1`.
pub(crate) fn group(object: &Value) -> &str {
    text(object, &["apiVersion"])
        .split_once('/')
        .map_or("", |(group, _)| group)
}

/// `reason: message`, or whichever of the two there is.
pub(crate) fn because(reason: &str, message: &str) -> String {
    match (reason.is_empty(), message.is_empty()) {
        (false, false) => format!("{reason}: {message}"),
        (false, true) => reason.to_owned(),
        (true, _) => message.to_owned(),
    }
}

/// `3 replicas`, `1 replica`.
pub(crate) fn counted(number: i64, noun: &str) -> String {
    if number == 1 {
        format!("{number} {noun}")
    } else {
        format!("{number} {noun}s")
    }
}
