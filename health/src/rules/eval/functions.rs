//! Operators and functions over values that are there already.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use cel::common::ast::operators;

use super::numbers::{arithmetic, whole};
use super::{Answer, EvalError, Machine, no_overload};
use crate::rules::value::Val;

impl<'v> Machine<'v> {
    pub(super) fn add(&mut self, left: Val<'v>, right: Val<'v>) -> Answer<'v> {
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

    pub(super) fn unary(&mut self, name: &str, one: &Val<'v>) -> Answer<'v> {
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

    pub(super) fn binary(&mut self, name: &str, left: &Val<'v>, right: &Val<'v>) -> Answer<'v> {
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
}
