//! What hostile packs cost: a program of its own, so that its resident memory is theirs alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write as _;

use countersign_hub::track::limits::FetchLimits;
use countersign_hub::track::packguard::Guard;

/// Most that this program may ever have held, bytes (THREATS 1.1: below 256 MiB).
const RESIDENT_BYTES_MAX: u64 = 256 << 20;
/// Bytes that arrive at once.
const CHUNK: usize = 16 << 10;
/// Content of one object of the bomb, bytes.
const BOMB_BYTES: usize = 16 << 20;
/// What all objects may unpack to here: more than may be held, and less than the real limit, which takes a minute unoptimised.
const UNPACKED_BYTES_MAX: u64 = 384 << 20;

fn limits() -> FetchLimits {
    FetchLimits {
        unpacked_bytes: UNPACKED_BYTES_MAX,
        ..FetchLimits::default()
    }
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
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

fn start(objects: u32) -> Vec<u8> {
    [&b"PACK\0\0\0\x02"[..], &objects.to_be_bytes()].concat()
}

/// Feeds `parts` one after the other, as they would arrive; the code of the refusal.
fn feed<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> &'static str {
    let mut guard = Guard::new(limits());
    parts
        .into_iter()
        .flat_map(|part| part.chunks(CHUNK))
        .try_for_each(|chunk| guard.push(chunk))
        .and_then(|()| guard.finish())
        .map_or_else(|trouble| trouble.code(), |()| "OK")
}

/// The most memory that this process ever held, bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}

#[test]
fn cve_2023_49568_hostile_packs_end_in_a_refusal_below_256_mib() {
    // Content is never held: neither a header's promise nor what really unpacks costs memory.
    let promise = [start(1), header(3, 4 << 30), deflate(b"x")].concat();
    assert_eq!(feed([&promise[..]]), "FETCH_LIMIT", "a header of 4 GiB");

    let object = [header(3, BOMB_BYTES as u64), deflate(&vec![0; BOMB_BYTES])].concat();
    assert!(object.len() * 100 < BOMB_BYTES);
    let count = usize::try_from(UNPACKED_BYTES_MAX).unwrap() / BOMB_BYTES + 2;
    let first = start(u32::try_from(count).unwrap());
    let parts = std::iter::once(&first[..]).chain(std::iter::repeat_n(&object[..], count));
    assert_eq!(feed(parts), "FETCH_LIMIT", "{count} objects of zeros");

    let many = start(u32::MAX);
    assert_eq!(feed([&many[..]]), "FETCH_LIMIT", "4 G objects");

    let base = [header(3, 1), deflate(b"x")].concat();
    let delta = |back: usize| {
        assert!(back < 128);
        [header(6, 4), vec![back as u8], deflate(&[1, 1, 1, b'y'])].concat()
    };
    let mut chain = vec![start(10_001), base];
    for n in 1..=10_000 {
        let back = chain[n].len();
        chain.push(delta(back));
    }
    let parts = chain.iter().map(Vec::as_slice);
    assert_eq!(feed(parts), "FETCH_LIMIT", "10,000 deltas on each other");

    let had = peak();
    assert!(
        had < RESIDENT_BYTES_MAX,
        "the process held {} MiB",
        had >> 20
    );
}
