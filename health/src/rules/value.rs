//! Values of an expression: borrowed from the object where they can be, so that reading a field copies nothing.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Map, Value};

/// A value while an expression runs.
#[derive(Debug, Clone)]
pub(super) enum Val<'v> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Cow<'v, str>),
    /// A list of the object.
    JsonList(&'v [Value]),
    /// A list that the expression made.
    List(Rc<Vec<Val<'v>>>),
    /// A map of the object.
    JsonMap(&'v Map<String, Value>),
    /// A map that the expression made; few entries, in the order written.
    Map(Rc<Vec<(Val<'v>, Val<'v>)>>),
}

impl<'v> From<&'v Value> for Val<'v> {
    fn from(value: &'v Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or_else(|| number.as_u64().map(Self::UInt))
                .or_else(|| number.as_f64().map(Self::Double))
                .unwrap_or(Self::Null),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(list) => Self::JsonList(list),
            Value::Object(map) => Self::JsonMap(map),
        }
    }
}

impl<'v> Val<'v> {
    /// CEL's name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::UInt(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::JsonList(_) | Self::List(_) => "list",
            Self::JsonMap(_) | Self::Map(_) => "map",
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Number of elements, if it is a list.
    pub(super) fn list_len(&self) -> Option<usize> {
        match self {
            Self::JsonList(list) => Some(list.len()),
            Self::List(list) => Some(list.len()),
            _ => None,
        }
    }

    /// Number of entries, if it is a map.
    pub(super) fn map_len(&self) -> Option<usize> {
        match self {
            Self::JsonMap(map) => Some(map.len()),
            Self::Map(map) => Some(map.len()),
            _ => None,
        }
    }

    /// Element of a list.
    pub(super) fn element(&self, index: usize) -> Option<Val<'v>> {
        match self {
            Self::JsonList(list) => list.get(index).map(Val::from),
            Self::List(list) => list.get(index).cloned(),
            _ => None,
        }
    }

    /// Entry of a map at a place in its order: key and value.
    pub(super) fn entry(&self, index: usize) -> Option<(Val<'v>, Val<'v>)> {
        match self {
            Self::JsonMap(map) => map
                .iter()
                .nth(index)
                .map(|(key, value)| (Val::Text(Cow::Borrowed(key)), Val::from(value))),
            Self::Map(map) => map.get(index).cloned(),
            _ => None,
        }
    }
}
