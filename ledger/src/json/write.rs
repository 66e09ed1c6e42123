//! The canonical writer.

use serde_json::{Number, Value};

use super::JsonError;
use crate::limits::OBJECT_DEPTH_MAX;

/// The canonical bytes of `value`: keys sorted by UTF-16 units, no spaces, integers verbatim.
pub fn canonical(value: &Value) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out, 0)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out)?,
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            let depth = deeper(depth)?;
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out, depth)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let depth = deeper(depth)?;
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| by_utf16(a, b));
            out.push(b'{');
            for (index, (key, item)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write(item, out, depth)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, JsonError> {
    if depth < OBJECT_DEPTH_MAX {
        Ok(depth + 1)
    } else {
        Err(JsonError::TooDeep {
            max: OBJECT_DEPTH_MAX,
        })
    }
}

/// UTF-16 order differs from UTF-8 order only where a character beyond the basic plane meets one of U+E000 to U+FFFF.
fn by_utf16(a: &str, b: &str) -> std::cmp::Ordering {
    if a.is_ascii() && b.is_ascii() {
        a.cmp(b)
    } else {
        a.encode_utf16().cmp(b.encode_utf16())
    }
}

/// Writes `text` as a JSON string, with the shortest escapes.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            0x00..=0x1f => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn write_number(number: &Number, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if let Some(integer) = number.as_i64() {
        out.extend_from_slice(integer.to_string().as_bytes());
        return Ok(());
    }
    if let Some(integer) = number.as_u64() {
        out.extend_from_slice(integer.to_string().as_bytes());
        return Ok(());
    }
    match number.as_f64() {
        Some(float) if float.is_finite() => write_float(float, out),
        _ => Err(JsonError::Number {
            number: number.to_string(),
        }),
    }
}

/// Above this a float's shortest digits no longer name one integer.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Number::toString of ECMAScript, as RFC 8785 asks.
fn write_float(float: f64, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let size = float.abs();
    if size > EXACT_MAX && size < 1e21 {
        return Err(JsonError::Number {
            number: float.to_string(),
        });
    }
    if size == 0.0 {
        out.push(b'0');
        return Ok(());
    }
    if float < 0.0 {
        out.push(b'-');
    }
    // "d.ddde<x>" with the shortest digits that read back as the same float.
    let shortest = format!("{size:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return Err(JsonError::Number { number: shortest });
    };
    let Ok(exponent) = exponent.parse::<i32>() else {
        return Err(JsonError::Number { number: shortest });
    };
    let digits: Vec<u8> = mantissa.bytes().filter(|byte| *byte != b'.').collect();
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let point = exponent + 1; // digits before the decimal point
    if (count..=21).contains(&point) {
        out.extend_from_slice(&digits);
        out.extend((count..point).map(|_| b'0'));
    } else if (1..=21).contains(&point) {
        let (whole, rest) = digits.split_at(usize::try_from(point).unwrap_or(0));
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(rest);
    } else if (-5..=0).contains(&point) {
        out.extend_from_slice(b"0.");
        out.extend((point..0).map(|_| b'0'));
        out.extend_from_slice(&digits);
    } else {
        let (first, rest) = digits.split_at(1);
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(exponent.unsigned_abs().to_string().as_bytes());
    }
    Ok(())
}
