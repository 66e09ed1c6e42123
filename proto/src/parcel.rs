//! Files that a person carries between a hub and an agent that no network joins: a line, then frames.
//!
//! ```text
//! countersign parcel v1\n
//! kind (1 byte) · length (4 bytes, big end first) · content      … again and again, kinds never descending
//! 0xff · 8 · number of frames before (8 bytes, big end first)    … the end, and nothing after it
//! ```
//!
//! A hub's *parcel*: header, trust roots by version, ways, heads as the stream would bring them, blobs by digest, answer.
//! An agent's *report*: header, blobs by digest, receipts by `seq`. The same content gives the same bytes. Nothing in a file
//! is compressed and each length is checked before it is believed, so a file costs what its size says.
//!
//! The end shows that a file is whole, nothing more: what it holds is proven like all that comes from a hub.

use std::io::{self, Read, Write};

use crate::limits::{PARCEL_BYTES_MAX, PARCEL_FRAME_BYTES_MAX, PARCEL_FRAMES_MAX};

const FIRST_LINE: &[u8] = b"countersign parcel v1\n";
const END: u8 = 0xff;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `courier.v1.ParcelHeader`; the first frame of a parcel.
    Parcel,
    /// `courier.v1.ReportHeader`; the first frame of a report.
    Report,
    /// A trust root, exact bytes.
    TrustRoot,
    /// `courier.v1.Ways`.
    Ways,
    /// `agent.v1.Head`.
    Head,
    /// A blob's content.
    Blob,
    /// `courier.v1.Answer`.
    Answer,
    /// A receipt or drift record, exact bytes.
    Receipt,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Parcel => 1,
            Self::Report => 2,
            Self::TrustRoot => 3,
            Self::Ways => 4,
            Self::Head => 5,
            Self::Blob => 6,
            Self::Answer => 7,
            Self::Receipt => 8,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Parcel,
            2 => Self::Report,
            3 => Self::TrustRoot,
            4 => Self::Ways,
            5 => Self::Head,
            6 => Self::Blob,
            7 => Self::Answer,
            8 => Self::Receipt,
            _ => return None,
        })
    }
}

/// Why a file is no parcel.
#[derive(Debug)]
pub enum ParcelError {
    /// It can't be read.
    Read(io::Error),
    /// It does not begin as a parcel does.
    NoParcel,
    /// It ends before its end.
    Truncated,
    /// More bytes, frames, or bytes in a frame than there may be.
    TooLarge(&'static str),
    /// A frame of a kind that does not exist, or in the wrong place.
    Misplaced {
        /// Its kind's byte.
        kind: u8,
    },
    /// Its end counts other frames than came, or something follows it.
    WrongEnd,
}

impl std::fmt::Display for ParcelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => write!(f, "can't be read: {error}"),
            Self::NoParcel => f.write_str("is no file of a hub or an agent"),
            Self::Truncated => f.write_str("ends before its end: it was not copied whole"),
            Self::TooLarge(what) => write!(f, "has too many {what}"),
            Self::Misplaced { kind } => write!(f, "has a frame of kind {kind} where none may be"),
            Self::WrongEnd => f.write_str("has an end that is not its own"),
        }
    }
}

impl std::error::Error for ParcelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            _ => None,
        }
    }
}

/// Reads frame by frame; it holds one at a time.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    last: u8,
    frames: u64,
    bytes: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// [`ParcelError`]
    pub fn new(mut from: R) -> Result<Self, ParcelError> {
        let mut line = [0; FIRST_LINE.len()];
        fill(&mut from, &mut line).map_err(|error| match error {
            ParcelError::Truncated => ParcelError::NoParcel,
            other => other,
        })?;
        if line != FIRST_LINE {
            return Err(ParcelError::NoParcel);
        }
        Ok(Self {
            from,
            last: 0,
            frames: 0,
            bytes: FIRST_LINE.len() as u64,
            ended: false,
        })
    }

    /// The next frame; none once the end was read and is right.
    ///
    /// # Errors
    /// [`ParcelError`]; the file counts for nothing then.
    pub fn frame(&mut self) -> Result<Option<(Kind, Vec<u8>)>, ParcelError> {
        if self.ended {
            return Ok(None);
        }
        let mut head = [0; 5];
        fill(&mut self.from, &mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if kind == END {
            return self.end(length).map(|()| None);
        }
        let known = Kind::of(kind).ok_or(ParcelError::Misplaced { kind })?;
        let begins = matches!(known, Kind::Parcel | Kind::Report);
        if kind < self.last || begins != (self.frames == 0) {
            return Err(ParcelError::Misplaced { kind });
        }
        if length > PARCEL_FRAME_BYTES_MAX {
            return Err(ParcelError::TooLarge("bytes in a frame"));
        }
        self.bytes = self.bytes.saturating_add(5 + length as u64);
        if self.bytes > PARCEL_BYTES_MAX {
            return Err(ParcelError::TooLarge("bytes"));
        }
        self.frames += 1;
        if self.frames > PARCEL_FRAMES_MAX {
            return Err(ParcelError::TooLarge("frames"));
        }
        self.last = kind;
        // What is there is taken, not what is promised.
        let mut content = Vec::with_capacity(length.min(64 << 10));
        let read = (&mut self.from)
            .take(length as u64)
            .read_to_end(&mut content)
            .map_err(ParcelError::Read)?;
        if read < length {
            return Err(ParcelError::Truncated);
        }
        Ok(Some((known, content)))
    }

    /// Bytes read so far: where the content of the frame that came last ends.
    pub fn position(&self) -> u64 {
        self.bytes
    }

    fn end(&mut self, length: usize) -> Result<(), ParcelError> {
        let mut count = [0; 8];
        if length != count.len() {
            return Err(ParcelError::WrongEnd);
        }
        fill(&mut self.from, &mut count)?;
        let more = self.from.read(&mut [0]).map_err(ParcelError::Read)?;
        if u64::from_be_bytes(count) != self.frames || more != 0 {
            return Err(ParcelError::WrongEnd);
        }
        self.ended = true;
        Ok(())
    }
}

fn fill(from: &mut impl Read, into: &mut [u8]) -> Result<(), ParcelError> {
    from.read_exact(into).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            ParcelError::Truncated
        } else {
            ParcelError::Read(error)
        }
    })
}

/// The bytes of a file, piece by piece: [`Pieces::first`], each frame in the order of [`Kind`], [`Pieces::end`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Pieces {
    frames: u64,
}

impl Pieces {
    /// The first line.
    #[must_use]
    pub const fn first() -> &'static [u8] {
        FIRST_LINE
    }

    /// What stands before the content of the next frame; none if it is larger than a frame may be.
    #[must_use]
    pub fn head(&mut self, kind: Kind, length: usize) -> Option<[u8; 5]> {
        if length > PARCEL_FRAME_BYTES_MAX {
            return None;
        }
        self.frames += 1;
        let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
        Some([kind.byte(), a, b, c, d])
    }

    /// The end.
    #[must_use]
    pub fn end(self) -> [u8; 13] {
        let mut bytes = [END, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[5..].copy_from_slice(&self.frames.to_be_bytes());
        bytes
    }
}

/// Writes a whole file.
///
/// # Errors
/// When `to` takes nothing more, or a frame is too large.
pub fn write<'a>(
    to: &mut impl Write,
    frames: impl IntoIterator<Item = (Kind, &'a [u8])>,
) -> io::Result<()> {
    let mut pieces = Pieces::default();
    to.write_all(Pieces::first())?;
    for (kind, content) in frames {
        let head = pieces
            .head(kind, content.len())
            .ok_or_else(|| io::Error::other("a frame is too large"))?;
        to.write_all(&head)?;
        to.write_all(content)?;
    }
    to.write_all(&pieces.end())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    const FRAMES: [(Kind, &[u8]); 4] = [
        (Kind::Parcel, b"header"),
        (Kind::Head, b"one"),
        (Kind::Head, b""),
        (Kind::Blob, b"bytes"),
    ];

    fn bytes(frames: &[(Kind, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, frames.iter().copied()).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<(Kind, Vec<u8>)>, ParcelError> {
        let mut reader = Reader::new(bytes)?;
        let mut all = Vec::new();
        while let Some(frame) = reader.frame()? {
            all.push(frame);
        }
        Ok(all)
    }

    #[test]
    fn what_is_written_is_read() {
        let read = read(&bytes(&FRAMES)).unwrap();
        let read: Vec<(Kind, &[u8])> = read
            .iter()
            .map(|(kind, content)| (*kind, &content[..]))
            .collect();
        assert_eq!(read, FRAMES);
    }

    #[test]
    fn a_file_that_was_cut_anywhere_or_goes_on_is_refused() {
        let whole = bytes(&FRAMES);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(matches!(read(&longer), Err(ParcelError::WrongEnd)));
        let mut miscounted = whole;
        *miscounted.last_mut().unwrap() += 1;
        assert!(matches!(read(&miscounted), Err(ParcelError::WrongEnd)));
    }

    #[test]
    fn frames_stand_in_their_order_and_the_header_is_first_and_once() {
        for wrong in [
            &[(Kind::Head, &b"x"[..])][..],
            &[(Kind::Parcel, b"x"), (Kind::Blob, b""), (Kind::Head, b"")],
            &[(Kind::Parcel, b"x"), (Kind::Report, b"x")],
            &[(Kind::Parcel, b"x"), (Kind::Parcel, b"x")],
        ] {
            assert!(
                matches!(read(&bytes(wrong)), Err(ParcelError::Misplaced { .. })),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_promised_length_costs_nothing() {
        let mut bomb = Pieces::first().to_vec();
        bomb.extend([1, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(read(&bomb), Err(ParcelError::TooLarge(_))));
        let mut short = Pieces::first().to_vec();
        short.extend([1, 0, 0xff, 0xff, 0xff, 1]);
        assert!(matches!(read(&short), Err(ParcelError::Truncated)));
    }
}
