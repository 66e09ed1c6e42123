//! Numbers of the three types.

use std::cmp::Ordering;

use cel::common::ast::operators;

use super::{Answer, EvalError, no_overload};
use crate::rules::value::Val;

/// How two values stand to each other as numbers.
pub(super) enum Numeric {
    Order(Ordering),
    NotANumber,
    Other,
}

/// Numbers of all three types compare by value.
pub(super) fn numeric(left: &Val<'_>, right: &Val<'_>) -> Numeric {
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
pub(super) fn whole(value: f64) -> Option<i64> {
    let whole = value.trunc();
    (whole > i64::MIN as f64 && whole < i64::MAX as f64).then_some(whole as i64)
}

pub(super) fn arithmetic<'v>(name: &str, left: &Val<'v>, right: &Val<'v>) -> Answer<'v> {
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
