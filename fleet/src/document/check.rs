//! Walks a document along its JSON Schema and names every mistake with its line.
//!
//! Pure. Reads the part of JSON Schema that our own types produce: `type`, `properties`, `required`,
//! `additionalProperties`, `items`, `enum`, `const`, `anyOf`, `oneOf`, `$ref`, `minimum`, `maximum`, `maxLength` and
//! `format`, whose words are [`form`]'s.
use serde_json::Value as Json;

use crate::mistake::{Mistake, Names, Problem, nearest};
use crate::path::RepoPath;
use crate::yaml::{Node, Value};

/// All mistakes of a document, in the order of its lines.
pub fn check(schema: &Json, node: &Node, file: &RepoPath) -> Vec<Mistake> {
    let mut walk = Walk {
        root: schema,
        file,
        mistakes: Vec::new(),
    };
    walk.node(schema, node, node.line, String::new());
    walk.mistakes.sort();
    walk.mistakes.dedup();
    walk.mistakes
}

struct Walk<'a> {
    root: &'a Json,
    file: &'a RepoPath,
    mistakes: Vec<Mistake>,
}

impl<'a> Walk<'a> {
    fn wrong(&mut self, line: u32, field: String, problem: Problem) {
        self.mistakes.push(Mistake {
            file: self.file.clone(),
            line,
            field,
            problem,
        });
    }

    /// Follows `$ref`, and out of several possible schemas chooses the one for the value's type.
    fn choose(&self, mut schema: &'a Json, node: &Node) -> &'a Json {
        for _ in 0..16 {
            if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
                let name = name.trim_start_matches("#/$defs/");
                match self.root.get("$defs").and_then(|defs| defs.get(name)) {
                    Some(next) => schema = next,
                    None => return schema,
                }
            } else if let Some(any) = schema.get("anyOf").and_then(Json::as_array) {
                let fits = any
                    .iter()
                    .find(|one| self.takes(self.choose(one, node), node))
                    .or(any.first());
                match fits {
                    Some(next) => schema = next,
                    None => return schema,
                }
            } else {
                return schema;
            }
        }
        schema
    }

    fn takes(&self, schema: &Json, node: &Node) -> bool {
        let types = types(schema);
        types.is_empty() || types.iter().any(|name| is_type(name, node))
    }

    fn node(&mut self, schema: &'a Json, node: &Node, line: u32, field: String) {
        let schema = self.choose(schema, node);
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| is_type(name, node)) {
            let expected = expected(schema, &types);
            let found = node.kind();
            return self.wrong(line, field, Problem::WrongType { expected, found });
        }
        match &node.value {
            Value::Map(_) => self.map(schema, node, line, &field),
            Value::List(items) => {
                if let Some(item) = schema.get("items") {
                    for (index, node) in items.iter().enumerate() {
                        self.node(item, node, node.line, format!("{field}[{index}]"));
                    }
                }
            }
            Value::Text(text) => self.text(schema, text, line, field),
            Value::Number(number) => {
                let min = schema.get("minimum").and_then(Json::as_i64);
                let max = schema.get("maximum").and_then(Json::as_i64);
                let value = number.as_i64().unwrap_or(i64::MAX);
                let (low, high) = (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
                if value < low || value > high {
                    let found = number.to_string();
                    let problem = Problem::OutOfRange {
                        min: low,
                        max: high,
                        found,
                    };
                    self.wrong(line, field, problem);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn map(&mut self, schema: &'a Json, node: &Node, line: u32, field: &str) {
        let Value::Map(fields) = &node.value else {
            return;
        };
        let below = |name: &str| {
            if field.is_empty() {
                name.to_owned()
            } else {
                format!("{field}.{name}")
            }
        };
        let known = schema.get("properties").and_then(Json::as_object);
        let extra = schema.get("additionalProperties");
        for (key, node) in fields {
            match (known.and_then(|known| known.get(&key.name)), extra) {
                (Some(schema), _) => self.node(schema, node, key.line, below(&key.name)),
                (None, Some(Json::Bool(false))) => {
                    let names = known.into_iter().flatten().map(|(name, _)| name.as_str());
                    let problem = Problem::UnknownField {
                        nearest: nearest(&key.name, names.clone()),
                        known: Names(names.map(str::to_owned).collect()),
                    };
                    self.wrong(key.line, below(&key.name), problem);
                }
                (None, Some(schema @ Json::Object(_))) => {
                    self.node(schema, node, key.line, below(&key.name));
                }
                (None, _) => {}
            }
        }
        let required = schema.get("required").and_then(Json::as_array);
        for name in required.into_iter().flatten().filter_map(Json::as_str) {
            if !fields.iter().any(|(key, _)| key.name == name) {
                self.wrong(line, below(name), Problem::Missing);
            }
        }
    }

    fn text(&mut self, schema: &Json, text: &str, line: u32, field: String) {
        let words = words(schema);
        if !words.is_empty() {
            if !words.iter().any(|word| word == text) {
                let problem = Problem::NotOneOf {
                    known: Names(words),
                    found: text.to_owned(),
                };
                self.wrong(line, field, problem);
            }
            return;
        }
        let format = schema.get("format").and_then(Json::as_str);
        if let Some(Err(why)) = format.map(|format| form(format, text)) {
            let found = text.chars().take(100).collect();
            self.wrong(line, field, Problem::Form { found, why });
        }
    }
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => vec![name.as_str()],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The words of an `enum`, a `const`, or a `oneOf` of them.
fn words(schema: &Json) -> Vec<String> {
    let text = |json: &Json| json.as_str().map(str::to_owned);
    if let Some(words) = schema.get("enum").and_then(Json::as_array) {
        return words.iter().filter_map(text).collect();
    }
    if let Some(word) = schema.get("const") {
        return text(word).into_iter().collect();
    }
    schema
        .get("oneOf")
        .and_then(Json::as_array)
        .map(|any| any.iter().flat_map(words).collect())
        .unwrap_or_default()
}

fn is_type(name: &str, node: &Node) -> bool {
    match (name, &node.value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("string", Value::Text(_))
        | ("array", Value::List(_))
        | ("object", Value::Map(_))
        | ("number", Value::Number(_)) => true,
        ("integer", Value::Number(number)) => !number.is_f64(),
        _ => false,
    }
}

fn expected(schema: &Json, types: &[&str]) -> String {
    let words = words(schema);
    if !words.is_empty() {
        return Names(words).to_string();
    }
    let names = types
        .iter()
        .filter(|name| **name != "null")
        .map(|name| match *name {
            "boolean" => "true or false",
            "string" => "a text",
            "array" => "a list",
            "object" => "a map",
            "integer" => "a whole number",
            other => other,
        })
        .map(str::to_owned)
        .collect();
    Names(names).to_string()
}

/// Whether a text has a form; the error says what it must be.
///
/// # Errors
/// What the text must be, to be read after it.
pub fn form(format: &str, text: &str) -> Result<(), String> {
    let ok = match format {
        "app-name" => label(text, 53),
        "dns-label" => label(text, 63),
        "kind-name" => kind_name(text),
        "duration" => duration(text),
        "repository-path" => {
            return RepoPath::parse(text)
                .map(|_| ())
                .map_err(|problem| problem.to_string());
        }
        "https-url" => url(text, &["https://", "http://localhost", "http://127.0.0.1"]),
        "oci-url" => url(text, &["oci://"]) && !text.trim_start_matches("oci://").contains('@'),
        "git-url" => {
            url(
                text,
                &["https://", "ssh://", "http://localhost", "http://127.0.0.1"],
            ) || scp(text)
        }
        "git-ref" => git_ref(text),
        "chart-name" => label(text, 63) || plain(text, 128),
        "chart-version" | "kubernetes-version" => version(text),
        _ => true,
    };
    if ok {
        Ok(())
    } else {
        Err(wanted(format).to_owned())
    }
}

fn wanted(format: &str) -> &'static str {
    match format {
        "app-name" => {
            "must be small letters, digits and '-', at most 53, with a letter or digit at both ends"
        }
        "dns-label" => {
            "must be small letters, digits and '-', at most 63, with a letter or digit at both ends"
        }
        "kind-name" => "must be a kind with its group, such as ConfigMap or Deployment.apps",
        "duration" => "must be a whole number with s, m, h or d, such as 10m",
        "https-url" => "must be a URL that starts with https://, without user or password",
        "oci-url" => "must be a URL that starts with oci://, without tag, digest, user or password",
        "git-url" => "must be a URL that starts with https:// or ssh://, or user@host:path",
        "git-ref" => "must be the name of a branch or tag",
        "chart-name" => "must be the name of a chart",
        "kubernetes-version" => "must be a version such as v1.35.4",
        "chart-version" => "must be one exact version such as 1.2.3",
        _ => "has the wrong form",
    }
}

fn label(text: &str, max: usize) -> bool {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= max
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn kind_name(text: &str) -> bool {
    let (kind, group) = match text.split_once('.') {
        Some((kind, group)) => (kind, Some(group)),
        None => (text, None),
    };
    kind.len() <= 63
        && kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.chars().all(|c| c.is_ascii_alphanumeric())
        && group
            .is_none_or(|group| group.len() <= 253 && group.split('.').all(|part| label(part, 63)))
}

fn duration(text: &str) -> bool {
    let Some((index, unit)) = text.char_indices().last() else {
        return false;
    };
    let number = text.get(..index).unwrap_or_default();
    matches!(unit, 's' | 'm' | 'h' | 'd')
        && (1..=6).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// Letters that no URL or name of ours needs are out, and so is whatever could be taken for an option or a login.
fn plain(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && !text.starts_with('-')
        && text.chars().all(|c| {
            c.is_ascii_graphic()
                && !matches!(c, '"' | '\'' | '\\' | '`' | '<' | '>' | '$' | ';' | '|')
        })
}

fn url(text: &str, starts: &[&str]) -> bool {
    let Some(start) = starts.iter().find(|start| text.starts_with(**start)) else {
        return false;
    };
    let authority = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
        .unwrap_or_default();
    let login = authority.contains('@') && *start != "ssh://";
    plain(text, 2048) && !authority.is_empty() && !authority.starts_with('-') && !login
}

fn scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    plain(text, 2048)
        && !text.contains("://")
        && label(user, 63)
        && !host.is_empty()
        && host.split('.').all(|part| label(part, 63))
        && !path.is_empty()
        && !path.starts_with('-')
}

fn git_ref(text: &str) -> bool {
    plain(text, 255)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.contains("//")
        && !text.starts_with('/')
        && !text.ends_with(['/', '.'])
        && !text.ends_with(".lock")
        && !text
            .chars()
            .any(|c| matches!(c, '~' | '^' | ':' | '?' | '*' | '['))
}

fn version(text: &str) -> bool {
    let number = text.strip_prefix('v').unwrap_or(text);
    plain(text, 128)
        && number.starts_with(|c: char| c.is_ascii_digit())
        && number
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'))
        && number
            .split(['-', '+'])
            .next()
            .unwrap_or_default()
            .split('.')
            .count()
            == 3
}

#[cfg(test)]
mod tests;
