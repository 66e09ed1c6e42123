//! Access to members, equality and order.

use std::cmp::Ordering;

use super::numbers::{Numeric, numeric};
use super::{Answer, EvalError, Machine, no_overload};
use crate::limits::VALUE_DEPTH_MAX;
use crate::rules::value::Val;

impl<'v> Machine<'v> {
    /// Field, entry or element; `None` if there is none.
    pub(super) fn member(
        &mut self,
        value: &Val<'v>,
        key: &Val<'v>,
    ) -> Result<Option<Val<'v>>, EvalError> {
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

    pub(super) fn is_in(&mut self, item: &Val<'v>, group: &Val<'v>) -> Answer<'v> {
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

    pub(super) fn ordered(
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
    pub(super) fn equal(
        &mut self,
        left: &Val<'v>,
        right: &Val<'v>,
        depth: usize,
    ) -> Result<bool, EvalError> {
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
