//! The fleet's own health rules: CEL expressions as data, for kinds that the code does not know.
//!
//! Read [`document`] for what a person writes, [`expression`] for what is refused when it is loaded, and `eval` for what
//! an evaluation may cost. The cel crate parses; it has no cost budget, so evaluation is ours. No function reaches
//! anything but its arguments: there is no clock, no network, no file, no environment (see [`FUNCTIONS`]).

mod document;
mod eval;
mod expression;
mod value;

pub use document::{Check, Rule, RulesError, from_json, parse};
pub use expression::{ExpressionMistake, FUNCTIONS};

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use serde_json::Value;

use crate::{
    Health, HealthStatus,
    field::{group, text},
    limits::{CHECKS_MAX, RULES_MAX},
};
use eval::EvalError;
use expression::Expression;
use value::Val;

/// Rules of a fleet, compiled; none by default.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    by_kind: BTreeMap<(String, String), Compiled>,
}

#[derive(Debug, Clone)]
struct Compiled {
    /// As it was written, to tell whether it changed.
    source: Rule,
    checks: Vec<CompiledCheck>,
    otherwise: Option<HealthStatus>,
}

#[derive(Debug, Clone)]
struct CompiledCheck {
    status: HealthStatus,
    when: Expression,
    message: Message,
}

#[derive(Debug, Clone)]
enum Message {
    Text(String),
    Expression(Expression),
}

/// What is wrong with a rule, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {group}/{kind}: {field}: {problem}")]
pub struct RuleMistake {
    /// Group of the rule's kind.
    pub group: String,
    /// The rule's kind.
    pub kind: String,
    /// `checks[1].when`
    pub field: String,
    /// Why it is refused.
    pub problem: RuleProblem,
}

/// Why a rule is refused when it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    /// An expression that does not parse or asks for too much.
    #[error(transparent)]
    Expression(#[from] ExpressionMistake),
    /// Two rules for one kind: which one is meant?
    #[error("there is another rule for this kind; write one")]
    Twice,
    /// A rule without a kind or without checks.
    #[error("must not be empty")]
    Empty,
    /// More than a limit allows.
    #[error("must be at most {max}, is {got}")]
    TooMany {
        /// The limit.
        max: usize,
        /// What was found.
        got: usize,
    },
    /// `message` and `messageExpression` exclude each other.
    #[error("give message or messageExpression, not both")]
    BothMessages,
}

impl Rules {
    /// No rules but the built-in ones.
    pub fn none() -> Self {
        Self::default()
    }

    /// Compiles rules; what is right is kept, and every mistake is told.
    pub fn compile(rules: &[Rule]) -> (Self, Vec<RuleMistake>) {
        let mut compiled = Self::default();
        let mut mistakes = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let mut mistake = |field: String, problem: RuleProblem| {
                mistakes.push(RuleMistake {
                    group: rule.group.clone(),
                    kind: rule.kind.clone(),
                    field,
                    problem,
                });
            };
            if index >= RULES_MAX {
                let got = rules.len();
                mistake(
                    "rules".to_owned(),
                    RuleProblem::TooMany {
                        max: RULES_MAX,
                        got,
                    },
                );
                break;
            }
            let key = (rule.group.clone(), rule.kind.clone());
            match compiled.by_kind.entry(key) {
                _ if rule.kind.is_empty() => mistake("kind".to_owned(), RuleProblem::Empty),
                Entry::Occupied(_) => mistake("kind".to_owned(), RuleProblem::Twice),
                Entry::Vacant(free) => {
                    if let Some(one) = Compiled::compile(rule, &mut mistake) {
                        free.insert(one);
                    }
                }
            }
        }
        (compiled, mistakes)
    }

    /// Must the agent read the whole object, for the built-in rules or for one of these?
    pub fn needs_status(&self, group: &str, kind: &str) -> bool {
        crate::needs_status(group, kind) || self.rule(group, kind).is_some()
    }

    /// Group and kind of each rule that is not the same in both: objects of these must be judged anew.
    pub fn changed(&self, other: &Self) -> BTreeSet<(String, String)> {
        let source = |rules: &Self, of: &(String, String)| {
            let rule = rules.by_kind.get(of);
            rule.map(|rule| rule.source.clone())
        };
        self.by_kind
            .keys()
            .chain(other.by_kind.keys())
            .filter(|of| source(self, of) != source(other, of))
            .cloned()
            .collect()
    }

    /// Number of kinds that have a rule.
    pub fn len(&self) -> usize {
        self.by_kind.len()
    }

    /// There is no rule.
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }

    fn rule(&self, group: &str, kind: &str) -> Option<&Compiled> {
        // The map is small, and mostly empty: no allocation then.
        if self.by_kind.is_empty() {
            return None;
        }
        self.by_kind.get(&(group.to_owned(), kind.to_owned()))
    }

    /// The verdict of the rule for the object's kind, if there is one and it decides.
    pub(crate) fn judge(&self, object: &Value) -> Option<Health> {
        let (group, kind) = (group(object), text(object, &["kind"]));
        self.rule(group, kind)?.judge(object)
    }
}

impl Compiled {
    fn compile(rule: &Rule, mistake: &mut impl FnMut(String, RuleProblem)) -> Option<Self> {
        let got = rule.checks.len();
        if got > CHECKS_MAX {
            mistake(
                "checks".to_owned(),
                RuleProblem::TooMany {
                    max: CHECKS_MAX,
                    got,
                },
            );
            return None;
        }
        if got == 0 && rule.otherwise.is_none() {
            mistake("checks".to_owned(), RuleProblem::Empty);
            return None;
        }
        let mut checks = Vec::with_capacity(got);
        let mut right = true;
        for (n, check) in rule.checks.iter().enumerate() {
            let mut expression = |field: &str, text: &str| {
                Expression::parse(text)
                    .map_err(|problem| mistake(format!("checks[{n}].{field}"), problem.into()))
                    .ok()
            };
            let when = expression("when", &check.when);
            let message = match (&check.message, &check.message_expression) {
                (Some(_), Some(_)) => {
                    mistake(format!("checks[{n}].message"), RuleProblem::BothMessages);
                    None
                }
                (Some(text), None) => Some(Message::Text(text.clone())),
                (None, Some(text)) => {
                    expression("messageExpression", text).map(Message::Expression)
                }
                (None, None) => Some(Message::Text(String::new())),
            };
            match (when, message) {
                (Some(when), Some(message)) => checks.push(CompiledCheck {
                    status: check.status,
                    when,
                    message,
                }),
                _ => right = false,
            }
        }
        right.then_some(Self {
            source: rule.clone(),
            checks,
            otherwise: rule.otherwise,
        })
    }

    fn judge(&self, object: &Value) -> Option<Health> {
        for (n, check) in self.checks.iter().enumerate() {
            match check.when.eval(object) {
                Ok(Val::Bool(true)) => {
                    return Some(Health::new(check.status, check.message.of(object)));
                }
                // What is asked about is not there (yet): this check says nothing.
                Ok(Val::Bool(false)) | Err(EvalError::Missing(_)) => {}
                Ok(other) => {
                    return Some(Health::unknown(format!(
                        "health rule, check {n}: gives {}, not a bool",
                        other.type_name()
                    )));
                }
                Err(error @ (EvalError::Cost | EvalError::Type(_) | EvalError::Arithmetic(_))) => {
                    return Some(Health::unknown(format!("health rule, check {n}: {error}")));
                }
            }
        }
        self.otherwise.map(|status| Health::new(status, ""))
    }
}

impl Message {
    /// The text; what an expression can't tell is left out, since the verdict stands without it.
    fn of(&self, object: &Value) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Expression(expression) => match expression.eval(object) {
                Ok(value) => value.as_text().map(str::to_owned).unwrap_or_default(),
                Err(EvalError::Missing(_)) => String::new(),
                Err(error) => format!("messageExpression: {error}"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
