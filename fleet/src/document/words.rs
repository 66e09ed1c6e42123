//! Small types that the documents share: each can only hold what is allowed.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::check::form;

/// A text of one form, checked when it is read.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $format:literal, $pattern:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text if it has the form.
            ///
            /// # Errors
            /// What the text must be, to be read after it.
            pub fn new(text: impl Into<String>) -> Result<Self, String> {
                let text = text.into();
                form($format, &text)?;
                Ok(Self(text))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "format": $format,
                    "pattern": $pattern,
                    "maxLength": $max
                })
            }
        }
    };
}

word!(
    /// Name of an app: also its Helm release's, hence at most 53 letters.
    AppName,
    "app-name",
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    53
);
word!(
    /// Name of a cluster: the folder's.
    ClusterName,
    "dns-label",
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    63
);
word!(
    /// A namespace, a ring or another name of that form.
    Word,
    "dns-label",
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    63
);
word!(
    /// A kind with its group: `Deployment.apps`, `ConfigMap`.
    KindName,
    "kind-name",
    "^[A-Z][A-Za-z0-9]*(\\.[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$",
    316
);
word!(
    /// A length of time: `90s`, `10m`, `2h`, `1d`.
    Duration,
    "duration",
    "^[0-9]{1,6}(s|m|h|d)$",
    7
);

impl Word {
    /// The namespace of what names none.
    pub fn default_namespace() -> Self {
        Self("default".to_owned())
    }
}

impl Duration {
    /// In seconds.
    pub fn seconds(&self) -> u64 {
        let (number, unit) = self.0.split_at(self.0.len().saturating_sub(1));
        let scale = match unit {
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => 1,
        };
        number.parse::<u64>().unwrap_or(0) * scale
    }
}

impl KindName {
    /// From its two parts; the core group is `""`.
    pub fn of(group: &str, kind: &str) -> String {
        if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        }
    }
}

/// Chooses clusters by their labels; all conditions must hold. An empty one chooses every cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Labels that a cluster must have with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The label; `name` is every cluster's own name.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; none for Exists and DoesNotExist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Operator {
    /// It has one of the values.
    In,
    /// It has none of the values, or the label is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Selector {
    /// Whether a cluster with these labels is chosen.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self
            .match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value));
        equal
            && self.match_expressions.iter().all(|requirement| {
                let value = labels.get(&requirement.key);
                let among = value.is_some_and(|value| requirement.values.contains(value));
                match requirement.operator {
                    Operator::In => among,
                    Operator::NotIn => !among,
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_as_in_kubernetes() {
        let labels: BTreeMap<String, String> = [("env", "production"), ("runtime", "metal")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let choose = |json: serde_json::Value| {
            serde_json::from_value::<Selector>(json)
                .unwrap()
                .matches(&labels)
        };
        use serde_json::json;
        assert!(choose(json!({})));
        assert!(choose(json!({"matchLabels": {"env": "production"}})));
        assert!(!choose(json!({"matchLabels": {"env": "staging"}})));
        let one = |op: &str, key: &str, values: &[&str]| {
            choose(json!({"matchExpressions": [{"key": key, "operator": op, "values": values}]}))
        };
        assert!(one("In", "env", &["staging", "production"]));
        assert!(!one("In", "zone", &["a"]));
        assert!(one("NotIn", "env", &["staging"]));
        assert!(one("NotIn", "zone", &["a"]));
        assert!(one("Exists", "env", &[]));
        assert!(!one("Exists", "zone", &[]));
        assert!(one("DoesNotExist", "zone", &[]));
    }

    #[test]
    fn durations_are_short_and_plain() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7_200), ("1d", 86_400)] {
            assert_eq!(Duration::new(text).unwrap().seconds(), seconds);
        }
        for text in ["1e999h", "-1s", "NaN", "10", "s", "1.5h", "9999999s"] {
            assert!(Duration::new(text).is_err(), "{text}");
        }
    }
}
