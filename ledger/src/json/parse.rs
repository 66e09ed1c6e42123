//! The strict parser.

use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::{JsonError, Limits};

/// Reads one JSON document (RFC 8259) that fills `bytes`: no byte-order mark, no key twice, nothing after it but spaces.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError::TooLarge {
            got: bytes.len(),
            max: limits.bytes,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError::Syntax {
        at: error.valid_up_to(),
        problem: "bytes that are not UTF-8",
    })?;
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        depth_max: limits.depth,
    };
    let value = parser.value()?;
    parser.space();
    if parser.at == text.len() {
        Ok(value)
    } else {
        Err(parser.syntax("bytes after the document"))
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset; always on a character boundary.
    at: usize,
    depth: usize,
    depth_max: usize,
}

impl<'a> Parser<'a> {
    fn syntax(&self, problem: &'static str) -> JsonError {
        JsonError::Syntax {
            at: self.at,
            problem,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value, JsonError> {
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => Err(self.syntax("no value begins like this")),
            None => Err(self.syntax("a value is missing")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if self.rest().starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.syntax("no value begins like this"))
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Value, JsonError>,
    ) -> Result<Value, JsonError> {
        if self.depth == self.depth_max {
            return Err(JsonError::TooDeep {
                max: self.depth_max,
            });
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value, JsonError> {
        let mut fields = Map::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.syntax("a key is missing"));
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.syntax("a colon is missing"));
            }
            self.at += 1;
            let value = self.value()?;
            match fields.entry(key) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(had) => {
                    let key = had.key().clone();
                    return Err(JsonError::DuplicateKey { key });
                }
            };
            if self.last(b'}')? {
                return Ok(Value::Object(fields));
            }
        }
    }

    fn array(&mut self) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            if self.last(b']')? {
                return Ok(Value::Array(items));
            }
        }
    }

    /// After an item: a comma (more follow) or the closing bracket.
    fn last(&mut self, close: u8) -> Result<bool, JsonError> {
        self.space();
        let byte = self.peek();
        if byte == Some(b',') || byte == Some(close) {
            self.at += 1;
            Ok(byte == Some(close))
        } else {
            Err(self.syntax("a comma or closing bracket is missing"))
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let plain = plain(self.rest().as_bytes());
            out.push_str(self.text.get(self.at..self.at + plain).unwrap_or(""));
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(self.syntax("a control character in a string")),
                None => return Err(self.syntax("a string without end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek();
        self.at += usize::from(byte.is_some_and(|byte| byte.is_ascii()));
        match byte {
            Some(b'"') => Ok('"'),
            Some(b'\\') => Ok('\\'),
            Some(b'/') => Ok('/'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(b'n') => Ok('\n'),
            Some(b'r') => Ok('\r'),
            Some(b't') => Ok('\t'),
            Some(b'u') => self.unicode(),
            _ => Err(self.syntax("an unknown escape")),
        }
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.four_hex()?;
        let code = if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            self.at += 2;
            let second = self.four_hex()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.syntax("half of a surrogate pair"));
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.syntax("half of a surrogate pair"))
    }

    fn four_hex(&mut self) -> Result<u32, JsonError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.syntax("four hex digits are missing"))?;
        self.at += 4;
        Ok(code)
    }

    fn digits(&mut self) -> usize {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        count
    }

    fn number(&mut self) -> Result<Number, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return Err(self.syntax("a number begins with one digit, or no zero"));
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            integer = false;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.syntax("a digit is missing after the point"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            integer = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.syntax("a digit is missing in the exponent"));
            }
        }
        let text = self.text.get(start..self.at).unwrap_or("");
        read_number(text, integer).ok_or_else(|| JsonError::Number {
            number: text.chars().take(40).collect(),
        })
    }
}

/// How many bytes stand before the first quote, backslash or control character: looked at by eights, since most of what is read is
/// base64 and hex.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (eights, _) = bytes.as_chunks::<8>();
    let mut at = 0;
    for eight in eights {
        let word = u64::from_le_bytes(*eight);
        // A byte below `n` borrows into its high bit, unless it has one itself; no byte is told too few.
        let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        if (below(word, 0x20) | is(b'"') | is(b'\\')) & HIGH != 0 {
            break;
        }
        at += 8;
    }
    let rest = bytes.iter().skip(at);
    at + rest
        .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f))
        .count()
}

/// An integer must fit in 64 bits; a float must be finite.
fn read_number(text: &str, integer: bool) -> Option<Number> {
    if integer && text != "-0" {
        let signed = text.parse::<i64>().ok().map(Number::from);
        return signed.or_else(|| text.parse::<u64>().ok().map(Number::from));
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}
