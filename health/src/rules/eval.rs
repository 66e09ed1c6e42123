//! Evaluation with a budget: every step is paid for, and what can't be paid ends with `CEL_COST`.
//!
//! Here the walk over an expression; [`functions`], [`compare`] and [`numbers`] do with values what it asks for.

mod compare;
mod functions;
mod numbers;

use std::borrow::Cow;
use std::rc::Rc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators,
};
use serde_json::Value;

use super::expression::{Parsed, SELF};
use super::value::Val;
use crate::limits::COST_MAX;

/// Why an evaluation gives no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EvalError {
    /// The budget is used up.
    #[error("CEL_COST: costs more than {COST_MAX} steps")]
    Cost,
    /// A field, key or element that is not there.
    #[error("there is no {0}")]
    Missing(String),
    /// An operator or function that does not take such values.
    #[error("{0}")]
    Type(String),
    /// Overflow or division by zero.
    #[error("{0}: overflow or division by zero")]
    Arithmetic(&'static str),
}

type Answer<'v> = Result<Val<'v>, EvalError>;

pub(super) fn eval<'v>(expression: &'v Parsed, object: &'v Value) -> Answer<'v> {
    let mut machine = Machine {
        expression,
        scope: vec![(SELF, Val::from(object))],
        left: COST_MAX,
    };
    machine.eval(&expression.root)
}

struct Machine<'v> {
    expression: &'v Parsed,
    scope: Vec<(&'v str, Val<'v>)>,
    left: u64,
}

impl<'v> Machine<'v> {
    fn pay(&mut self, steps: usize) -> Result<(), EvalError> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(steps).ok_or(EvalError::Cost)?;
        Ok(())
    }

    fn pay_bytes(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.pay(bytes / 16 + 1)
    }

    fn eval(&mut self, node: &'v IdedExpr) -> Answer<'v> {
        self.pay(1)?;
        match &node.expr {
            Expr::Literal(literal) => Ok(literal_value(literal)),
            Expr::Ident(name) => self
                .scope
                .iter()
                .rev()
                .find(|(bound, _)| bound == name)
                .map(|(_, value)| value.clone())
                .ok_or_else(|| EvalError::Type(format!("there is no variable {name}"))),
            Expr::Select(select) => {
                let operand = self.eval(&select.operand)?;
                let found = self.member(&operand, &Val::Text(Cow::Borrowed(&select.field)))?;
                match (select.test, found) {
                    (true, found) => Ok(Val::Bool(found.is_some())),
                    (false, Some(found)) => Ok(found),
                    (false, None) => Err(EvalError::Missing(format!("field {}", select.field))),
                }
            }
            Expr::List(list) => {
                let mut values = Vec::with_capacity(list.elements.len());
                for element in &list.elements {
                    values.push(self.eval(element)?);
                }
                Ok(Val::List(Rc::new(values)))
            }
            Expr::Map(map) => {
                let mut entries: Vec<(Val<'v>, Val<'v>)> = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        let key = self.eval(&entry.key)?;
                        let value = self.eval(&entry.value)?;
                        entries.push((key, value));
                    }
                }
                Ok(Val::Map(Rc::new(entries)))
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) | Expr::Unspecified => Err(EvalError::Type("not offered".to_owned())),
        }
    }

    fn comprehension(&mut self, loop_: &'v ComprehensionExpr) -> Answer<'v> {
        let range = self.eval(&loop_.iter_range)?;
        let (length, is_map) = match (range.list_len(), range.map_len()) {
            (Some(length), _) => (length, false),
            (None, Some(length)) => (length, true),
            (None, None) => {
                return Err(EvalError::Type(format!(
                    "{} can't be walked through",
                    range.type_name()
                )));
            }
        };
        let bound = self.scope.len();
        let start = self.eval(&loop_.accu_init)?;
        self.scope.push((&loop_.accu_var, start));
        let answer = self.iterate(loop_, &range, length, is_map, bound);
        self.scope.truncate(bound);
        answer
    }

    fn iterate(
        &mut self,
        loop_: &'v ComprehensionExpr,
        range: &Val<'v>,
        length: usize,
        is_map: bool,
        bound: usize,
    ) -> Answer<'v> {
        for index in 0..length {
            // Reaching the n-th entry of a map walks over those before it.
            self.pay(if is_map { index / 8 + 1 } else { 1 })?;
            let item = if is_map {
                range.entry(index).map(|(key, _)| key)
            } else {
                range.element(index)
            };
            let Some(item) = item else { break };
            self.scope.truncate(bound + 1);
            self.scope.push((&loop_.iter_var, item));
            if !matches!(self.eval(&loop_.loop_cond)?, Val::Bool(true)) {
                break;
            }
            // An error of one element does not end `exists` and `all`: the operators in the step decide.
            let next = self.eval(&loop_.loop_step)?;
            if let Some((_, accumulated)) = self.scope.get_mut(bound) {
                *accumulated = next;
            }
        }
        self.scope.truncate(bound + 1);
        self.eval(&loop_.result)
    }

    fn call(&mut self, call: &'v CallExpr) -> Answer<'v> {
        let name = call.func_name.as_str();
        let arguments: Vec<&'v IdedExpr> = call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect();
        match (name, arguments.as_slice()) {
            (operators::CONDITIONAL, [condition, yes, no]) => match self.eval(condition)? {
                Val::Bool(true) => self.eval(yes),
                Val::Bool(false) => self.eval(no),
                other => Err(EvalError::Type(format!(
                    "?: asks {}, not a bool",
                    other.type_name()
                ))),
            },
            (operators::LOGICAL_AND, arguments) => self.logic(arguments, false, "&&"),
            (operators::LOGICAL_OR, arguments) => self.logic(arguments, true, "||"),
            (operators::NOT_STRICTLY_FALSE, [argument]) => match self.eval(argument) {
                Err(EvalError::Cost) => Err(EvalError::Cost),
                answer => Ok(Val::Bool(!matches!(answer, Ok(Val::Bool(false))))),
            },
            (operators::ADD, [left, right]) => {
                let had = self
                    .take_accumulated(left)
                    .map_or_else(|| self.eval(left), Ok)?;
                let more = self.eval(right)?;
                self.add(had, more)
            }
            (name, [one]) => {
                let one = self.eval(one)?;
                self.unary(name, &one)
            }
            (name, [left, right]) => {
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                self.binary(name, &left, &right)
            }
            _ => Err(EvalError::Type(format!("there is no function {name}"))),
        }
    }

    /// `map` and `filter` grow one list; taking it out of its variable lets it grow in place. Only the macros can name
    /// that variable, and their right side never reads it.
    fn take_accumulated(&mut self, node: &IdedExpr) -> Option<Val<'v>> {
        let Expr::Ident(name) = &node.expr else {
            return None;
        };
        if !name.starts_with('@') {
            return None;
        }
        self.scope
            .iter_mut()
            .rev()
            .find(|(bound, _)| bound == name)
            .map(|(_, value)| std::mem::replace(value, Val::Null))
    }

    /// `&&` (`ends` is false) and `||` (`ends` is true): one side that ends it outweighs an error of the other.
    fn logic(&mut self, arguments: &[&'v IdedExpr], ends: bool, sign: &str) -> Answer<'v> {
        let mut failed = None;
        for argument in arguments {
            match self.eval(argument) {
                Ok(Val::Bool(value)) if value == ends => return Ok(Val::Bool(ends)),
                Ok(Val::Bool(_)) => {}
                Ok(other) => {
                    failed.get_or_insert(EvalError::Type(format!(
                        "{sign} takes bool, not {}",
                        other.type_name()
                    )));
                }
                Err(EvalError::Cost) => return Err(EvalError::Cost),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(Val::Bool(!ends)), Err)
    }
}

fn literal_value<'v>(literal: &'v LiteralValue) -> Val<'v> {
    match literal {
        LiteralValue::Boolean(value) => Val::Bool(*value.inner()),
        LiteralValue::Int(value) => Val::Int(*value.inner()),
        LiteralValue::UInt(value) => Val::UInt(*value.inner()),
        LiteralValue::Double(value) => Val::Double(*value.inner()),
        LiteralValue::String(text) => Val::Text(Cow::Borrowed(text.inner())),
        LiteralValue::Null | LiteralValue::Bytes(_) => Val::Null,
    }
}

fn no_overload(name: &str, arguments: &[&Val<'_>]) -> EvalError {
    let types: Vec<&str> = arguments
        .iter()
        .map(|argument| argument.type_name())
        .collect();
    EvalError::Type(format!(
        "{} does not take ({})",
        name.trim_matches('_'),
        types.join(", ")
    ))
}
