//! Watches a pack's bytes as they arrive and stops it before libgit2 spends memory or time on it. Pure.
//!
//! libgit2 checks hashes and the trailer; this counts: objects, declared and real sizes, sizes that deltas will yield,
//! and the length of delta chains. Nothing is kept but a depth for each delta.

use std::collections::HashMap;

use flate2::{Decompress, FlushDecompress, Status};

use crate::track::limits::FetchLimits;
use crate::track::trouble::Trouble;

/// Bytes of an object's header: type and size, then a delta's base.
const HEADER_BYTES_MAX: usize = 10 + 20;
/// Bytes at the start of a delta that hold its two sizes.
const DELTA_SIZES_BYTES: usize = 20;

/// One pack's state.
pub struct Guard {
    limits: FetchLimits,
    offset: u64,
    objects_left: u64,
    unpacked: u64,
    depth_at: HashMap<u64, u32>,
    place: Place,
}

enum Place {
    PackHeader(Vec<u8>),
    ObjectHeader { started: u64, bytes: Vec<u8> },
    Body(Body),
    Trailer { left: usize },
}

struct Body {
    inflater: Box<Decompress>,
    declared: u64,
    produced: u64,
    delta: bool,
    start: Vec<u8>,
}

enum Base {
    None,
    Offset(u64),
    Reference,
}

impl Guard {
    /// A guard at the first byte.
    #[must_use]
    pub fn new(limits: FetchLimits) -> Self {
        let place = Place::PackHeader(Vec::new());
        Self {
            limits,
            offset: 0,
            objects_left: 0,
            unpacked: 0,
            depth_at: HashMap::new(),
            place,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Trouble::FetchLimit`], [`Trouble::PackBroken`]
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        if self.offset + bytes.len() as u64 > self.limits.pack_bytes {
            return Err(over("bytes of the pack", self.limits.pack_bytes));
        }
        while !bytes.is_empty() {
            let used = self.step(bytes)?;
            self.offset += used as u64;
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Says whether the pack was whole.
    ///
    /// # Errors
    /// [`Trouble::PackBroken`]
    pub fn finish(&self) -> Result<(), Trouble> {
        match self.place {
            Place::Trailer { left: 0 } => Ok(()),
            _ => Err(broken("it ends early")),
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Trouble> {
        match &mut self.place {
            Place::PackHeader(header) => {
                header.push(bytes[0]);
                if header.len() == 12 {
                    let version = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                    if &header[..4] != b"PACK" || !matches!(version, 2 | 3) {
                        return Err(broken("not a pack of version 2 or 3"));
                    }
                    self.objects_left = u64::from(u32::from_be_bytes([
                        header[8], header[9], header[10], header[11],
                    ]));
                    if self.objects_left > self.limits.objects {
                        return Err(over("objects in the pack", self.limits.objects));
                    }
                    self.place = self.place_at(self.offset + 1);
                }
                Ok(1)
            }
            Place::ObjectHeader {
                started,
                bytes: header,
            } => {
                header.push(bytes[0]);
                if header.len() > HEADER_BYTES_MAX {
                    return Err(broken("an object's header without end"));
                }
                if let Some((declared, base)) = object_header(header)? {
                    let started = *started;
                    self.begin(started, declared, &base)?;
                }
                Ok(1)
            }
            Place::Body(body) => {
                let mut out = [0; 16 << 10];
                let (had_in, had_out) = (body.inflater.total_in(), body.inflater.total_out());
                let status = body
                    .inflater
                    .decompress(bytes, &mut out, FlushDecompress::None)
                    .map_err(|_| broken("an object that does not inflate"))?;
                let used = (body.inflater.total_in() - had_in) as usize;
                let made = (body.inflater.total_out() - had_out) as usize;
                body.produced += made as u64;
                if body.produced > body.declared {
                    return Err(broken("an object longer than it says"));
                }
                if body.delta && body.start.len() < DELTA_SIZES_BYTES {
                    let lacking = DELTA_SIZES_BYTES - body.start.len();
                    body.start.extend_from_slice(&out[..made.min(lacking)]);
                }
                match status {
                    Status::StreamEnd => self.end_body(self.offset + used as u64)?,
                    Status::Ok | Status::BufError if used == 0 && made == 0 => {
                        return Err(broken("an object that does not inflate"));
                    }
                    Status::Ok | Status::BufError => {}
                }
                Ok(used)
            }
            Place::Trailer { left } if bytes.len() > *left => Err(broken("bytes after its end")),
            Place::Trailer { left } => {
                *left -= bytes.len();
                Ok(bytes.len())
            }
        }
    }

    fn begin(&mut self, started: u64, declared: u64, base: &Base) -> Result<(), Trouble> {
        if declared > self.limits.object_bytes {
            return Err(over("bytes of one object", self.limits.object_bytes));
        }
        let depth = match base {
            Base::None => 0,
            Base::Reference => 1,
            Base::Offset(back) if *back == 0 || *back > started => {
                return Err(broken("a delta whose base lies outside"));
            }
            Base::Offset(back) => self.depth_at.get(&(started - back)).copied().unwrap_or(0) + 1,
        };
        if depth > self.limits.delta_depth {
            return Err(over(
                "links of a delta chain",
                u64::from(self.limits.delta_depth),
            ));
        }
        if depth > 0 {
            self.depth_at.insert(started, depth);
        }
        let inflater = Box::new(Decompress::new(true));
        self.place = Place::Body(Body {
            inflater,
            declared,
            produced: 0,
            delta: depth > 0,
            start: Vec::new(),
        });
        Ok(())
    }

    fn end_body(&mut self, end: u64) -> Result<(), Trouble> {
        if let Place::Body(body) = &self.place {
            if body.produced != body.declared {
                return Err(broken("an object shorter than it says"));
            }
            let yields = if body.delta {
                delta_result(&body.start)?
            } else {
                body.produced
            };
            if yields > self.limits.object_bytes {
                return Err(over("bytes of one object", self.limits.object_bytes));
            }
            self.unpacked = self.unpacked.saturating_add(yields);
            if self.unpacked > self.limits.unpacked_bytes {
                return Err(over("unpacked bytes", self.limits.unpacked_bytes));
            }
        }
        self.objects_left -= 1;
        self.place = self.place_at(end);
        Ok(())
    }

    fn place_at(&self, offset: u64) -> Place {
        if self.objects_left == 0 {
            Place::Trailer { left: 20 }
        } else {
            Place::ObjectHeader {
                started: offset,
                bytes: Vec::new(),
            }
        }
    }
}

/// Type, size and base once the header is whole.
fn object_header(bytes: &[u8]) -> Result<Option<(u64, Base)>, Trouble> {
    let Some(size_end) = bytes.iter().position(|byte| byte & 0x80 == 0) else {
        return if bytes.len() > 10 {
            Err(broken("an object's size without end"))
        } else {
            Ok(None)
        };
    };
    let mut size = u64::from(bytes[0] & 0x0f);
    for (n, byte) in bytes[1..=size_end].iter().enumerate() {
        let part = u64::from(byte & 0x7f);
        let shift = 4 + 7 * n as u32;
        if part.leading_zeros() < shift {
            return Err(broken("an object's size above 64 bits"));
        }
        size |= part << shift;
    }
    let rest = &bytes[size_end + 1..];
    match (bytes[0] >> 4) & 7 {
        1..=4 => Ok(Some((size, Base::None))),
        6 => Ok(base_offset(rest)?.map(|back| (size, Base::Offset(back)))),
        7 if rest.len() == 20 => Ok(Some((size, Base::Reference))),
        7 => Ok(None),
        _ => Err(broken("an object of unknown type")),
    }
}

fn base_offset(bytes: &[u8]) -> Result<Option<u64>, Trouble> {
    let mut back: u64 = 0;
    for (n, byte) in bytes.iter().enumerate() {
        if n > 8 {
            return Err(broken("a delta's base without end"));
        }
        back = (back << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(Some(back));
        }
        back += 1;
    }
    Ok(None)
}

/// Size of what a delta yields: the second of the two sizes at its start.
fn delta_result(start: &[u8]) -> Result<u64, Trouble> {
    let mut sizes = [0u64; 2];
    let mut bytes = start.iter();
    for size in &mut sizes {
        for n in 0.. {
            let byte = bytes
                .next()
                .ok_or_else(|| broken("a delta without its sizes"))?;
            let shift = 7 * n;
            let part = u64::from(byte & 0x7f);
            if shift > 63 || part.leading_zeros() < shift {
                return Err(broken("a delta's size above 64 bits"));
            }
            *size |= part << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    Ok(sizes[1])
}

fn over(what: &'static str, limit: u64) -> Trouble {
    Trouble::FetchLimit {
        what,
        limit: limit.to_string(),
    }
}

fn broken(reason: &str) -> Trouble {
    Trouble::PackBroken {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use proptest::prelude::*;

    fn deflate(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn header(kind: u8, mut size: u64) -> Vec<u8> {
        let mut first = kind << 4 | (size & 0x0f) as u8;
        size >>= 4;
        let mut bytes = Vec::new();
        while size > 0 {
            bytes.push(first | 0x80);
            first = (size & 0x7f) as u8;
            size >>= 7;
        }
        bytes.push(first);
        bytes
    }

    fn object(kind: u8, content: &[u8]) -> Vec<u8> {
        [header(kind, content.len() as u64), deflate(content)].concat()
    }

    fn pack(objects: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"PACK\0\0\0\x02".to_vec();
        bytes.extend_from_slice(&(objects.len() as u32).to_be_bytes());
        bytes.extend(objects.concat());
        bytes.extend_from_slice(&[0; 20]);
        bytes
    }

    fn small() -> FetchLimits {
        FetchLimits {
            pack_bytes: 1 << 20,
            objects: 100,
            object_bytes: 1 << 20,
            unpacked_bytes: 4 << 20,
            delta_depth: 3,
            ..FetchLimits::default()
        }
    }

    fn check(bytes: &[u8], step: usize) -> Result<(), &'static str> {
        let mut guard = Guard::new(small());
        bytes
            .chunks(step)
            .try_for_each(|chunk| guard.push(chunk))
            .and_then(|()| guard.finish())
            .map_err(|trouble| trouble.code())
    }

    #[test]
    fn an_ordinary_pack_passes_however_it_is_cut() {
        let bytes = pack(&[object(3, b"hello"), object(3, b""), object(2, &[7; 70_000])]);
        for step in [1, 7, 4096, usize::MAX] {
            assert_eq!(check(&bytes, step), Ok(()), "{step}");
        }
    }

    #[test]
    fn cve_2023_49568_a_hostile_pack_is_stopped_before_it_costs_anything() {
        let huge = pack(&[[header(3, 4 << 30), deflate(b"x")].concat()]);
        assert_eq!(
            check(&huge, 64),
            Err("FETCH_LIMIT"),
            "an object header of 4 GiB"
        );
        let bomb = pack(
            &(0..5)
                .map(|_| object(3, &vec![0; 1 << 20]))
                .collect::<Vec<_>>(),
        );
        assert!(bomb.len() < 8192);
        assert_eq!(check(&bomb, 64), Err("FETCH_LIMIT"), "1:1000 zlib");
        let lying = pack(&[[header(3, 10), deflate(&[0; 5000])].concat()]);
        assert_eq!(check(&lying, 64), Err("PACK_BROKEN"), "more than declared");
        let short = pack(&[[header(3, 10), deflate(b"x")].concat()]);
        assert_eq!(check(&short, 64), Err("PACK_BROKEN"), "less than declared");
        let mut many = b"PACK\0\0\0\x02".to_vec();
        many.extend_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(check(&many, 64), Err("FETCH_LIMIT"), "4 G objects");
        let whole = pack(&[object(3, b"x")]);
        assert_eq!(
            check(&whole[..whole.len() - 1], 64),
            Err("PACK_BROKEN"),
            "cut off"
        );
        assert_eq!(
            check(&[whole.as_slice(), b"x"].concat(), 1),
            Err("PACK_BROKEN"),
            "more after its end"
        );
        assert_eq!(check(&vec![b'P'; 2 << 20], 4096), Err("PACK_BROKEN"));
        let delta_bomb = pack(&[
            object(3, b"x"),
            [
                header(7, 7),
                vec![1; 20],
                deflate(&[1, 0x80, 0x80, 0x80, 0x80, 0x10, 1]),
            ]
            .concat(),
        ]);
        assert_eq!(
            check(&delta_bomb, 64),
            Err("FETCH_LIMIT"),
            "a delta that yields 4 GiB"
        );
    }

    #[test]
    fn a_long_chain_of_deltas_is_stopped() {
        let base = object(3, b"x");
        let delta =
            |back: usize| [header(6, 4), vec![back as u8], deflate(&[1, 1, 1, b'y'])].concat();
        let mut objects = vec![base];
        for n in 0..5 {
            let back = objects[n].len();
            objects.push(delta(back));
        }
        assert_eq!(check(&pack(&objects[..4]), 5), Ok(()));
        assert_eq!(check(&pack(&objects), 5), Err("FETCH_LIMIT"));
        let outside = pack(&[delta(100)]);
        assert_eq!(check(&outside, 5), Err("PACK_BROKEN"));
    }

    proptest! {
        #[test]
        fn no_mutant_makes_it_panic(at in 0usize..200, byte in any::<u8>(), step in 1usize..50) {
            let mut bytes = pack(&[object(3, b"hello"), object(2, &[7; 300])]);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = check(&bytes, step);
        }
    }
}
