//! YAML of our own documents: every value with its line, within limits.
//!
//! Only for documents of `countersign.dev/*` and the lock file. What a cluster applies is read by the renderer, in the
//! way that Kubernetes' own clients read it.
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};
use serde_saphyr::Spanned;

/// Most nesting; our own documents need about ten.
const DEPTH_MAX: usize = 40;
/// Most values in one file, aliases expanded.
const NODES_MAX: usize = 250_000;
/// Most aliases in one file.
const ALIASES_MAX: usize = 1_000;
/// Most parts of a file that repeat an alias.
const REPLAYED_MAX: usize = 100_000;

/// A value and the line that it stands in.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// From 1.
    pub line: u32,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Fields in the order in which they were written.
    Map(Vec<(Key, Node)>),
}

/// A field's name and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// From 1.
    pub line: u32,
    /// The name.
    pub name: String,
}

/// Why a file is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// From 1; 0 if unknown.
    pub line: u32,
    /// Without the file's content.
    pub message: String,
}

/// All documents of a file. Empty ones are left out.
///
/// # Errors
/// [`SyntaxError`] at the first place that is no YAML, has a key twice, or exceeds a limit.
pub fn parse(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let mut options = serde_saphyr::Options::default();
    options.legacy_octal_numbers = true;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    if let Some(budget) = options.budget.as_mut() {
        budget.max_depth = DEPTH_MAX;
        budget.max_nodes = NODES_MAX;
        budget.max_aliases = ALIASES_MAX;
    }
    options.alias_limits.max_total_replayed_events = REPLAYED_MAX;
    serde_saphyr::from_multiple_with_options::<Node>(text, options).map_err(|error| {
        let line = error.location().map_or(0, |at| line_of(at.line()));
        let message = error.without_snippet().to_string();
        SyntaxError {
            line,
            message: message.lines().next().unwrap_or_default().to_owned(),
        }
    })
}

fn line_of(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

impl Node {
    /// The field of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(fields) => fields
                .iter()
                .find(|(key, _)| key.name == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// The value at a path of names.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Line of the value at a field path like `spec.rollout.rings[0]`; of the nearest value around it else.
    pub fn line_of(&self, field: &str) -> u32 {
        let mut node = self;
        let mut line = self.line;
        for part in field.split(['.', '[']) {
            let part = part.trim_end_matches(']');
            let next = match &node.value {
                Value::Map(fields) => fields
                    .iter()
                    .find(|(key, _)| key.name == part)
                    .map(|(key, node)| (key.line, node)),
                Value::List(items) => part
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|node| (node.line, node)),
                _ => None,
            };
            let Some((at, next)) = next else { break };
            line = at;
            node = next;
        }
        line
    }

    /// As JSON, without the lines.
    pub fn json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Node::json).collect()),
            Value::Map(fields) => Json::Object(
                fields
                    .iter()
                    .map(|(key, node)| (key.name.clone(), node.json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(number) if number.is_f64() => "a fraction",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            line: line_of(spanned.referenced.line()),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        Number::from_i128(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        Number::from_u128(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields: Vec<(Key, Node)> = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            if fields.iter().any(|(known, _)| known.name == key.value) {
                return Err(A::Error::custom(format!("the key {:?} twice", key.value)));
            }
            let key = Key {
                line: line_of(key.referenced.line()),
                name: key.value,
            };
            fields.push((key, access.next_value()?));
        }
        Ok(Value::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let nodes = parse("a: 1\nb:\n  - x\n  - c: true\n---\nd: ~\n").unwrap();
        assert_eq!(nodes.len(), 2);
        let first = &nodes[0];
        assert_eq!(first.json(), json!({"a": 1, "b": ["x", {"c": true}]}));
        assert_eq!(first.line_of("b"), 2);
        assert_eq!(first.line_of("b[1].c"), 4);
        assert_eq!(first.line_of("b[1].nothing"), 4);
        assert_eq!(nodes[1].line_of("d"), 6);
        assert_eq!(nodes[1].json(), json!({"d": null}));
    }

    #[test]
    fn what_is_no_yaml_names_its_line() {
        assert_eq!(parse("a: 1\na: 2\n").unwrap_err().line, 2);
        assert!(parse("a: [1\nb: 2").is_err());
        assert!(parse("a: !!python/object x").is_err() || parse("a: !foo x").is_err());
    }

    #[test]
    fn bombs_are_refused_at_once() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let below = format!("*a{}", level - 1);
            let items = [below.as_str(); 9].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(parse(&bomb).is_err());
    }

    #[test]
    fn depth_is_refused_before_it_costs_stack() {
        assert!(parse(&"[".repeat(10_000)).is_err());
        assert!(parse(&"[".repeat(DEPTH_MAX - 1)).is_err());
        assert!(parse(&format!("{}x", "- ".repeat(10_000))).is_err());
        assert!(
            parse(&format!(
                "{}x{}",
                "[".repeat(DEPTH_MAX / 2),
                "]".repeat(DEPTH_MAX / 2)
            ))
            .is_ok()
        );
    }

    #[test]
    fn kubernetes_spellings_of_numbers_and_booleans_mean_the_same_here() {
        let node = &parse("a: yes\nb: 0644\nc: '1'\nd: 1_000\n").unwrap()[0];
        assert_eq!(
            node.json(),
            json!({"a": true, "b": 420, "c": "1", "d": 1000})
        );
    }

    proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "[-:\\[\\]{}&*!|>'\"#%@a-z0-9 \n\t]{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_unicode_gives_an_answer(text in "\\PC{0,100}") {
            let _ = parse(&text);
        }
    }
}
