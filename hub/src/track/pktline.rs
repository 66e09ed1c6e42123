//! Git's pkt-line framing: four hexadecimal digits of length, then that many bytes less four. Pure.

use std::io::{self, Read};

/// Bytes of one line with its length, by the protocol.
pub const LINE_BYTES_MAX: usize = 65_520;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: between sections.
    Delimiter,
    /// `0002`: the end of a response.
    End,
    /// A line's bytes; may be empty.
    Data(Vec<u8>),
}

/// Why a stream of lines broke.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not four hexadecimal digits, or a length that the protocol doesn't know.
    #[error("a line with a broken length")]
    Length,
}

/// Reads one line.
///
/// # Errors
/// [`LineError`]; the end of the stream is `UnexpectedEof`.
pub fn read(from: &mut impl Read) -> Result<Line, LineError> {
    let mut digits = [0; 4];
    from.read_exact(&mut digits)?;
    let text = std::str::from_utf8(&digits).map_err(|_| LineError::Length)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(LineError::Length);
    }
    let length = usize::from_str_radix(text, 16).map_err(|_| LineError::Length)?;
    match length {
        0 => Ok(Line::Flush),
        1 => Ok(Line::Delimiter),
        2 => Ok(Line::End),
        3 => Err(LineError::Length),
        _ if length > LINE_BYTES_MAX => Err(LineError::Length),
        _ => {
            let mut data = vec![0; length - 4];
            from.read_exact(&mut data)?;
            Ok(Line::Data(data))
        }
    }
}

/// Appends a line of text; callers keep it below [`LINE_BYTES_MAX`].
pub fn write(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(format!("{:04x}", text.len() + 4).as_bytes());
    to.extend_from_slice(text.as_bytes());
}

/// Appends a flush.
pub fn flush(to: &mut Vec<u8>) {
    to.extend_from_slice(b"0000");
}

/// Appends a delimiter.
pub fn delimiter(to: &mut Vec<u8>) {
    to.extend_from_slice(b"0001");
}

/// A text line without its newline; other bytes are replaced, for messages only.
#[must_use]
pub fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data.strip_suffix(b"\n").unwrap_or(data)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = Vec::new();
        write(&mut bytes, "command=ls-refs\n");
        delimiter(&mut bytes);
        flush(&mut bytes);
        let mut from = bytes.as_slice();
        assert_eq!(
            read(&mut from).unwrap(),
            Line::Data(b"command=ls-refs\n".to_vec())
        );
        assert_eq!(read(&mut from).unwrap(), Line::Delimiter);
        assert_eq!(read(&mut from).unwrap(), Line::Flush);
        assert!(matches!(read(&mut from), Err(LineError::Io(_))));
    }

    #[test]
    fn broken_lengths_are_refused() {
        for bytes in ["0003", "zzzz", "+004x", "fff5", " 005x", "-001"] {
            assert!(
                matches!(read(&mut bytes.as_bytes()), Err(LineError::Length)),
                "{bytes}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut from = bytes.as_slice();
            while read(&mut from).is_ok() {}
        }
    }
}
