//! Evaluation with a budget: every step is paid for, and what can't be paid ends with `CEL_COST`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators,
};
use serde_json::Value;

use super::expression::{Parsed, SELF};
use super::value::Val;
use crate::limits::{COST_MAX, VALUE_DEPTH_MAX};

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

    fn add(&mut self, left: Val<'v>, right: Val<'v>) -> Answer<'v> {
        match (left, right) {
            (Val::Text(left), Val::Text(right)) => {
                self.pay_bytes(left.len().saturating_add(right.len()))?;
                let mut text = left.into_owned();
                text.push_str(&right);
                Ok(Val::Text(Cow::Owned(text)))
            }
            (left, right) => match (left.list_len(), right.list_len()) {
                (Some(_), Some(_)) => self.append(left, &right),
                _ => self.binary(operators::ADD, &left, &right),
            },
        }
    }

    fn append(&mut self, left: Val<'v>, right: &Val<'v>) -> Answer<'v> {
        let more = right.list_len().unwrap_or(0);
        let mut list = match left {
            Val::List(list) => match Rc::try_unwrap(list) {
                Ok(own) => own,
                Err(shared) => {
                    self.pay(shared.len())?;
                    shared.as_ref().clone()
                }
            },
            other => {
                self.pay(other.list_len().unwrap_or(0))?;
                (0..other.list_len().unwrap_or(0))
                    .filter_map(|index| other.element(index))
                    .collect()
            }
        };
        self.pay(more)?;
        list.extend((0..more).filter_map(|index| right.element(index)));
        Ok(Val::List(Rc::new(list)))
    }

    fn unary(&mut self, name: &str, one: &Val<'v>) -> Answer<'v> {
        match (name, one) {
            (operators::LOGICAL_NOT, Val::Bool(value)) => Ok(Val::Bool(!value)),
            (operators::NEGATE, Val::Int(value)) => value
                .checked_neg()
                .map(Val::Int)
                .ok_or(EvalError::Arithmetic("-")),
            (operators::NEGATE, Val::Double(value)) => Ok(Val::Double(-value)),
            ("size", Val::Text(text)) => {
                self.pay_bytes(text.len())?;
                Ok(Val::Int(
                    i64::try_from(text.chars().count()).unwrap_or(i64::MAX),
                ))
            }
            ("size", other) => match other.list_len().or(other.map_len()) {
                Some(length) => Ok(Val::Int(i64::try_from(length).unwrap_or(i64::MAX))),
                None => Err(no_overload(name, &[other])),
            },
            ("lowerAscii", Val::Text(text)) => {
                self.pay_bytes(text.len())?;
                Ok(Val::Text(Cow::Owned(text.to_ascii_lowercase())))
            }
            ("string", Val::Text(_)) => Ok(one.clone()),
            ("string", Val::Int(value)) => Ok(Val::Text(Cow::Owned(value.to_string()))),
            ("string", Val::UInt(value)) => Ok(Val::Text(Cow::Owned(value.to_string()))),
            ("string", Val::Double(value)) => Ok(Val::Text(Cow::Owned(value.to_string()))),
            ("string", Val::Bool(value)) => Ok(Val::Text(Cow::Owned(value.to_string()))),
            ("int", Val::Int(_)) | ("double", Val::Double(_)) => Ok(one.clone()),
            ("int", Val::UInt(value)) => i64::try_from(*value)
                .map(Val::Int)
                .map_err(|_| EvalError::Arithmetic("int()")),
            ("int", Val::Text(text)) => text
                .parse()
                .map(Val::Int)
                .map_err(|_| EvalError::Type("int(): not a number".to_owned())),
            ("int", Val::Double(value)) => whole(*value)
                .map(Val::Int)
                .ok_or(EvalError::Arithmetic("int()")),
            ("double", Val::Int(value)) => Ok(Val::Double(*value as f64)),
            ("double", Val::UInt(value)) => Ok(Val::Double(*value as f64)),
            ("double", Val::Text(text)) => text
                .parse()
                .map(Val::Double)
                .map_err(|_| EvalError::Type("double(): not a number".to_owned())),
            _ => Err(no_overload(name, &[one])),
        }
    }

    fn binary(&mut self, name: &str, left: &Val<'v>, right: &Val<'v>) -> Answer<'v> {
        match name {
            operators::EQUALS => Ok(Val::Bool(self.equal(left, right, 0)?)),
            operators::NOT_EQUALS => Ok(Val::Bool(!self.equal(left, right, 0)?)),
            operators::LESS => self.ordered(name, left, right, Ordering::is_lt),
            operators::LESS_EQUALS => self.ordered(name, left, right, Ordering::is_le),
            operators::GREATER => self.ordered(name, left, right, Ordering::is_gt),
            operators::GREATER_EQUALS => self.ordered(name, left, right, Ordering::is_ge),
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO => arithmetic(name, left, right),
            operators::INDEX => self
                .member(left, right)?
                .ok_or_else(|| EvalError::Missing("such key or element".to_owned())),
            operators::IN => self.is_in(left, right),
            _ => self.text_function(name, left, right),
        }
    }

    fn text_function(&mut self, name: &str, left: &Val<'v>, right: &Val<'v>) -> Answer<'v> {
        let (Some(text), Some(wanted)) = (left.as_text(), right.as_text()) else {
            return Err(no_overload(name, &[left, right]));
        };
        self.pay_bytes(text.len().saturating_add(wanted.len()))?;
        match name {
            "startsWith" => Ok(Val::Bool(text.starts_with(wanted))),
            "endsWith" => Ok(Val::Bool(text.ends_with(wanted))),
            "contains" => Ok(Val::Bool(text.contains(wanted))),
            "matches" => {
                // A regular expression reads each byte in several states.
                self.pay(text.len())?;
                let pattern = self.expression.patterns.get(wanted);
                pattern
                    .map(|pattern| Val::Bool(pattern.is_match(text)))
                    .ok_or_else(|| {
                        EvalError::Type("matches(): the pattern is not known".to_owned())
                    })
            }
            _ => Err(EvalError::Type(format!("there is no function {name}"))),
        }
    }

    /// Field, entry or element; `None` if there is none.
    fn member(&mut self, value: &Val<'v>, key: &Val<'v>) -> Result<Option<Val<'v>>, EvalError> {
        match (value, key) {
            (Val::JsonMap(map), Val::Text(key)) => {
                self.pay_bytes(key.len())?;
                Ok(map.get(key.as_ref()).map(Val::from))
            }
            (Val::JsonMap(_), _) => Ok(None),
            (Val::Map(map), key) => {
                for (name, value) in map.iter() {
                    if self.equal(name, key, 0)? {
                        return Ok(Some(value.clone()));
                    }
                }
                Ok(None)
            }
            (Val::JsonList(_) | Val::List(_), Val::Int(index)) => Ok(usize::try_from(*index)
                .ok()
                .and_then(|index| value.element(index))),
            (Val::JsonList(_) | Val::List(_), Val::UInt(index)) => Ok(usize::try_from(*index)
                .ok()
                .and_then(|index| value.element(index))),
            // A field of null is a field that is not there: `status: null` is common.
            (Val::Null, _) => Ok(None),
            (value, key) => Err(no_overload("[]", &[value, key])),
        }
    }

    fn is_in(&mut self, item: &Val<'v>, group: &Val<'v>) -> Answer<'v> {
        if group.map_len().is_some() {
            return Ok(Val::Bool(self.member(group, item)?.is_some()));
        }
        let Some(length) = group.list_len() else {
            return Err(no_overload("in", &[item, group]));
        };
        for index in 0..length {
            if let Some(element) = group.element(index)
                && self.equal(item, &element, 0)?
            {
                return Ok(Val::Bool(true));
            }
        }
        Ok(Val::Bool(false))
    }

    fn ordered(
        &mut self,
        name: &str,
        left: &Val<'v>,
        right: &Val<'v>,
        wanted: impl Fn(Ordering) -> bool,
    ) -> Answer<'v> {
        let order = match (left, right) {
            (Val::Text(left), Val::Text(right)) => {
                self.pay_bytes(left.len().min(right.len()))?;
                Some(left.cmp(right))
            }
            (Val::Bool(left), Val::Bool(right)) => Some(left.cmp(right)),
            _ => match numeric(left, right) {
                Numeric::Order(order) => Some(order),
                Numeric::NotANumber => return Ok(Val::Bool(false)),
                Numeric::Other => None,
            },
        };
        order
            .map(|order| Val::Bool(wanted(order)))
            .ok_or_else(|| no_overload(name, &[left, right]))
    }

    /// Values of different types are unequal; numbers are compared by value.
    fn equal(&mut self, left: &Val<'v>, right: &Val<'v>, depth: usize) -> Result<bool, EvalError> {
        self.pay(1)?;
        if depth > VALUE_DEPTH_MAX {
            return Err(EvalError::Cost);
        }
        match (left, right) {
            (Val::Null, Val::Null) => return Ok(true),
            (Val::Bool(left), Val::Bool(right)) => return Ok(left == right),
            (Val::Text(left), Val::Text(right)) => {
                self.pay_bytes(left.len().min(right.len()))?;
                return Ok(left == right);
            }
            _ => {}
        }
        match numeric(left, right) {
            Numeric::Order(order) => return Ok(order.is_eq()),
            Numeric::NotANumber => return Ok(false),
            Numeric::Other => {}
        }
        if let (Some(length), Some(other)) = (left.list_len(), right.list_len()) {
            if length != other {
                return Ok(false);
            }
            for index in 0..length {
                if let (Some(left), Some(right)) = (left.element(index), right.element(index))
                    && !self.equal(&left, &right, depth + 1)?
                {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if let (Some(length), Some(other)) = (left.map_len(), right.map_len()) {
            if length != other {
                return Ok(false);
            }
            for index in 0..length {
                self.pay(index / 8 + 1)?;
                let Some((key, value)) = left.entry(index) else {
                    continue;
                };
                match self.member(right, &key)? {
                    Some(found) if self.equal(&value, &found, depth + 1)? => {}
                    _ => return Ok(false),
                }
            }
            return Ok(true);
        }
        Ok(false)
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

enum Numeric {
    Order(Ordering),
    NotANumber,
    Other,
}

/// Numbers of all three types compare by value.
fn numeric(left: &Val<'_>, right: &Val<'_>) -> Numeric {
    let order = match (left, right) {
        (Val::Double(_), Val::Int(_) | Val::UInt(_) | Val::Double(_))
        | (Val::Int(_) | Val::UInt(_), Val::Double(_)) => match (float(left), float(right)) {
            (Some(left), Some(right)) => {
                return left
                    .partial_cmp(&right)
                    .map_or(Numeric::NotANumber, Numeric::Order);
            }
            _ => None,
        },
        _ => match (integer(left), integer(right)) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => None,
        },
    };
    order.map_or(Numeric::Other, Numeric::Order)
}

fn integer(value: &Val<'_>) -> Option<i128> {
    match value {
        Val::Int(value) => Some(i128::from(*value)),
        Val::UInt(value) => Some(i128::from(*value)),
        _ => None,
    }
}

fn float(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Int(value) => Some(*value as f64),
        Val::UInt(value) => Some(*value as f64),
        Val::Double(value) => Some(*value),
        _ => None,
    }
}

/// The whole part of a number that fits.
fn whole(value: f64) -> Option<i64> {
    let whole = value.trunc();
    (whole > i64::MIN as f64 && whole < i64::MAX as f64).then_some(whole as i64)
}

fn arithmetic<'v>(name: &str, left: &Val<'v>, right: &Val<'v>) -> Answer<'v> {
    let (sign, answer) = match (left, right) {
        (Val::Int(a), Val::Int(b)) => match name {
            operators::ADD => ("+", a.checked_add(*b)),
            operators::SUBSTRACT => ("-", a.checked_sub(*b)),
            operators::MULTIPLY => ("*", a.checked_mul(*b)),
            operators::DIVIDE => ("/", a.checked_div(*b)),
            _ => ("%", a.checked_rem(*b)),
        },
        (Val::UInt(a), Val::UInt(b)) => {
            let (sign, answer) = match name {
                operators::ADD => ("+", a.checked_add(*b)),
                operators::SUBSTRACT => ("-", a.checked_sub(*b)),
                operators::MULTIPLY => ("*", a.checked_mul(*b)),
                operators::DIVIDE => ("/", a.checked_div(*b)),
                _ => ("%", a.checked_rem(*b)),
            };
            return answer.map(Val::UInt).ok_or(EvalError::Arithmetic(sign));
        }
        (Val::Double(a), Val::Double(b)) => {
            return match name {
                operators::ADD => Ok(Val::Double(a + b)),
                operators::SUBSTRACT => Ok(Val::Double(a - b)),
                operators::MULTIPLY => Ok(Val::Double(a * b)),
                operators::DIVIDE => Ok(Val::Double(a / b)),
                _ => Err(no_overload(name, &[left, right])),
            };
        }
        _ => return Err(no_overload(name, &[left, right])),
    };
    answer.map(Val::Int).ok_or(EvalError::Arithmetic(sign))
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
