//! What a plan changes: addresses and actions out of `terraform show -json`, never a value. Pure.
//!
//! Values are passed over while reading: no type here could hold one.

use std::collections::BTreeSet;

use countersign_ledger::json;
use countersign_ledger::statement::infrastructure::AddressCounts;
use serde::Deserialize;
use serde_json::{Value, json};

/// Largest plan, bytes. One with ten thousand resources has some ten million.
pub const PLAN_BYTES_MAX: u64 = 256 << 20;
/// Most resources that a plan may change.
const RESOURCES_MAX: usize = 20_000;
/// Longest address, bytes.
const ADDRESS_BYTES_MAX: usize = 1_024;
/// Largest list, bytes: what the hub takes.
const LIST_BYTES_MAX: usize = 1 << 20;
/// What the list says that it is.
const FORMAT: &str = "https://countersign.dev/resources/v1";

/// What a plan changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// How many resources how.
    pub counts: AddressCounts,
    /// The list of addresses and actions, canonical JSON.
    pub list: Vec<u8>,
}

/// Why a plan can't be attested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanMistake {
    /// Not what `terraform show -json` prints.
    #[error("is not what `terraform show -json PLAN` prints (line {line}, column {column})")]
    Form {
        /// Where reading stopped.
        line: usize,
        /// Where in it.
        column: usize,
    },
    /// A version of the format that is not known.
    #[error("has format_version {0:?}; 1.x is read")]
    Version(String),
    /// The plan itself failed.
    #[error("is of a plan that failed")]
    Errored,
    /// Too much.
    #[error("changes more than {RESOURCES_MAX} resources")]
    TooMany,
    /// No address.
    #[error(
        "resource {0}: its address is empty, longer than {ADDRESS_BYTES_MAX} bytes, or has control characters"
    )]
    Address(usize),
    /// An action that is not known.
    #[error("resource {0}: its actions are not known")]
    Actions(usize),
    /// The list is too large for the log.
    #[error("its list of addresses has more than {LIST_BYTES_MAX} bytes")]
    Large,
}

#[derive(Deserialize)]
struct Plan {
    format_version: String,
    #[serde(default)]
    errored: bool,
    #[serde(default)]
    resource_changes: Vec<ResourceChange>,
}

#[derive(Deserialize)]
struct ResourceChange {
    address: String,
    change: Change,
}

#[derive(Deserialize)]
struct Change {
    actions: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Create,
    Update,
    Delete,
    Replace,
    /// Out of Terraform's hands, and left as it is.
    Forget,
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Replace => "replace",
            Self::Forget => "forget",
        }
    }
}

/// Reads a plan.
pub fn read(bytes: &[u8]) -> Result<Changes, PlanMistake> {
    // The error's own text may quote what stood there: it is not passed on.
    let plan: Plan = serde_json::from_slice(bytes).map_err(|error| PlanMistake::Form {
        line: error.line(),
        column: error.column(),
    })?;
    if plan.format_version != "1" && !plan.format_version.starts_with("1.") {
        let shown = plan.format_version.chars().take(20).collect();
        return Err(PlanMistake::Version(shown));
    }
    if plan.errored {
        return Err(PlanMistake::Errored);
    }
    let mut counts = AddressCounts::default();
    let mut changed = BTreeSet::new();
    for (at, resource) in plan.resource_changes.iter().enumerate() {
        let Some(action) = action(&resource.change.actions).ok_or(PlanMistake::Actions(at))? else {
            continue;
        };
        let address = resource.address.as_str();
        let fits = (1..=ADDRESS_BYTES_MAX).contains(&address.len());
        if !fits || address.chars().any(char::is_control) {
            return Err(PlanMistake::Address(at));
        }
        match action {
            Action::Create => counts.create += 1,
            Action::Update => counts.update += 1,
            Action::Delete => counts.delete += 1,
            Action::Replace => counts.replace += 1,
            Action::Forget => {}
        }
        changed.insert((address, action));
        if changed.len() > RESOURCES_MAX {
            return Err(PlanMistake::TooMany);
        }
    }
    Ok(Changes {
        counts,
        list: list(&changed)?,
    })
}

/// What a list of actions comes to; `Some(None)` if it changes nothing.
fn action(actions: &[String]) -> Option<Option<Action>> {
    let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    match actions.as_slice() {
        ["no-op" | "read"] => Some(None),
        ["create"] => Some(Some(Action::Create)),
        ["update"] => Some(Some(Action::Update)),
        ["delete"] => Some(Some(Action::Delete)),
        ["delete", "create"] | ["create", "delete"] => Some(Some(Action::Replace)),
        ["forget"] | ["create", "forget"] | ["forget", "create"] => Some(Some(Action::Forget)),
        _ => None,
    }
}

fn list(changed: &BTreeSet<(&str, Action)>) -> Result<Vec<u8>, PlanMistake> {
    let one = |&(address, action): &(&str, Action)| json!({ "address": address, "action": action.name() });
    let value = json!({
        "format": FORMAT,
        "resources": changed.iter().map(one).collect::<Vec<Value>>(),
    });
    let bytes = json::canonical(&value).map_err(|_| PlanMistake::Large)?;
    if bytes.len() > LIST_BYTES_MAX {
        return Err(PlanMistake::Large);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In the form that HashiCorp documents for format version 1.2; its values are secrets.
    const PLAN: &[u8] = include_bytes!("testdata/plan.json");

    #[test]
    fn a_plan_gives_addresses_and_actions_and_no_value() {
        let changes = read(PLAN).unwrap();
        assert_eq!(
            changes.counts,
            AddressCounts {
                create: 2,
                update: 1,
                delete: 1,
                replace: 1
            }
        );
        let text = String::from_utf8(changes.list).unwrap();
        assert_eq!(
            text,
            "{\"format\":\"https://countersign.dev/resources/v1\",\"resources\":[\
             {\"action\":\"replace\",\"address\":\"aws_db_instance.ledger\"},\
             {\"action\":\"update\",\"address\":\"aws_eks_cluster.prod\"},\
             {\"action\":\"delete\",\"address\":\"aws_iam_user.old\"},\
             {\"action\":\"create\",\"address\":\"module.vault.aws_kms_key.unseal[\\\"eu-central-1\\\"]\"},\
             {\"action\":\"create\",\"address\":\"vault_generic_secret.db\"}]}"
        );
        for secret in ["hunter2", "s3cr3t", "AKIA", "BEGIN"] {
            assert!(std::str::from_utf8(PLAN).unwrap().contains(secret));
            assert!(!text.contains(secret));
        }
    }

    #[test]
    fn what_is_no_plan_is_said_without_quoting_it() {
        let wrong = |text: &str| read(text.as_bytes()).unwrap_err();
        let secret = wrong("{\"format_version\": \"1.2\", \"errored\": \"hunter2\"}");
        assert!(!format!("{secret} {secret:?}").contains("hunter2"));
        assert_eq!(
            wrong("{\"format_version\":\"2.0\"}"),
            PlanMistake::Version("2.0".into())
        );
        assert_eq!(
            wrong("{\"format_version\":\"1.2\",\"errored\":true}"),
            PlanMistake::Errored
        );
        let change = |address: &str, actions: &str| {
            format!(
                "{{\"format_version\":\"1.2\",\"resource_changes\":[{{\"address\":\"{address}\",\"change\":{{\"actions\":{actions}}}}}]}}"
            )
        };
        assert_eq!(
            wrong(&change("a.b", "[\"explode\"]")),
            PlanMistake::Actions(0)
        );
        assert_eq!(
            wrong(&change("a\\u0007", "[\"create\"]")),
            PlanMistake::Address(0)
        );
        assert_eq!(wrong(&change("", "[\"create\"]")), PlanMistake::Address(0));
    }

    proptest! {
        /// Whatever stands where values stand, nothing of it comes out.
        #[test]
        fn nothing_of_a_value_comes_out(secret in "Zz[a-z0-9]{12,40}zZ", key in "[a-z]{1,8}") {
            let value = json!({ key.clone(): { "deep": [secret.clone(), { "er": secret }] } });
            let plan = json!({
                "format_version": "1.2",
                "variables": { "password": { "value": secret } },
                "planned_values": value,
                "prior_state": value,
                "output_changes": { "token": { "after": secret } },
                "resource_changes": [{
                    "address": "a.b",
                    "type": "a",
                    "index": 1,
                    "change": { "actions": ["update"], "before": value, "after": value, "after_sensitive": value },
                }],
            });
            let changes = read(&serde_json::to_vec(&plan).unwrap()).unwrap();
            let text = String::from_utf8(changes.list).unwrap();
            prop_assert!(!text.contains(&secret));
            prop_assert_eq!(changes.counts.update, 1);
        }
    }
}
