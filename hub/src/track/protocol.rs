//! Git's fetch protocol, version 2 and (for servers that know no better) 0: what to ask, and what an answer says. Pure.
//!
//! Only the tracked ref is asked for, by its full name; objects are asked for by id. The server's texts are never read
//! to decide anything.

use std::io::Read;

use crate::track::id::{OID_BYTES, parse_hex};
use crate::track::pktline::{self, Line, LineError};
use crate::track::refname::RefName;

/// Lines before the refs: capabilities; a server of today sends about ten.
const CAPABILITIES_MAX: usize = 200;

/// A raw object id.
pub type Oid = [u8; OID_BYTES];

/// Why an answer could not be used.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Framing or the stream beneath.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Not what the protocol says.
    #[error("{0}")]
    Protocol(&'static str),
    /// More refs than the limit.
    #[error("more refs than allowed")]
    TooManyRefs,
    /// The server said no, in its own words.
    #[error("the server answered an error")]
    Remote,
}

/// What a server said first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// Version 2: refs come on request.
    V2,
    /// Version 0 or 1: the tracked ref, if it was among the refs.
    V0 {
        /// Its id.
        tip: Option<Oid>,
        /// Whether the server serves shallow clones.
        shallow: bool,
    },
}

/// Reads a greeting.
///
/// # Errors
/// [`WireError`]
pub fn greeting(
    from: &mut impl Read,
    name: &RefName,
    refs_max: usize,
) -> Result<Greeting, WireError> {
    let mut line = pktline::read(from)?;
    if matches!(&line, Line::Data(text) if text.starts_with(b"# service=")) {
        if pktline::read(from)? != Line::Flush {
            return Err(WireError::Protocol("a service line without its flush"));
        }
        line = pktline::read(from)?;
    }
    let first = match line {
        // An old server has nothing to say about a repository without refs.
        Line::Flush => {
            return Ok(Greeting::V0 {
                tip: None,
                shallow: false,
            });
        }
        Line::Data(text) if text.starts_with(b"ERR ") => return Err(WireError::Remote),
        Line::Data(text) => text,
        Line::Delimiter | Line::End => return Err(WireError::Protocol("an odd frame as greeting")),
    };
    match strip(&first) {
        b"version 2" => capabilities_v2(from),
        b"version 1" => {
            let first = data(from)?;
            refs_v0(first, from, name, refs_max)
        }
        _ => refs_v0(first, from, name, refs_max),
    }
}

fn capabilities_v2(from: &mut impl Read) -> Result<Greeting, WireError> {
    let (mut refs, mut fetch) = (false, false);
    for _ in 0..CAPABILITIES_MAX {
        match pktline::read(from)? {
            Line::Flush if refs && fetch => return Ok(Greeting::V2),
            Line::Flush => return Err(WireError::Protocol("a server without ls-refs and fetch")),
            Line::Data(line) => {
                let line = strip(&line);
                if line.starts_with(b"object-format=") && line != b"object-format=sha1" {
                    return Err(WireError::Protocol(
                        "a repository whose object ids are not SHA-1",
                    ));
                }
                refs |= line == b"ls-refs" || line.starts_with(b"ls-refs=");
                fetch |= line == b"fetch" || line.starts_with(b"fetch=");
            }
            Line::Delimiter | Line::End => {
                return Err(WireError::Protocol("an odd frame among capabilities"));
            }
        }
    }
    Err(WireError::Protocol("too many capabilities"))
}

fn refs_v0(
    first: Vec<u8>,
    from: &mut impl Read,
    name: &RefName,
    refs_max: usize,
) -> Result<Greeting, WireError> {
    let nul = first
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(WireError::Protocol("no list of refs"))?;
    let capabilities: Vec<&[u8]> = strip(&first[nul + 1..])
        .split(|byte| *byte == b' ')
        .collect();
    if !capabilities.contains(&b"side-band-64k".as_slice()) {
        return Err(WireError::Protocol("a server without side-band-64k"));
    }
    if capabilities
        .iter()
        .any(|c| c.starts_with(b"object-format=") && *c != b"object-format=sha1")
    {
        return Err(WireError::Protocol(
            "a repository whose object ids are not SHA-1",
        ));
    }
    let shallow = capabilities.contains(&b"shallow".as_slice());
    let mut tip = None;
    let mut line = first[..nul].to_vec();
    for _ in 0..refs_max {
        let text = strip(&line);
        if !text.starts_with(b"shallow ") {
            let (id, got) = split_ref(text)?;
            if got == name.as_str().as_bytes() && tip.replace(id).is_some() {
                return Err(WireError::Protocol("the tracked ref twice"));
            }
        }
        match pktline::read(from)? {
            Line::Flush => return Ok(Greeting::V0 { tip, shallow }),
            Line::Data(next) => line = next,
            Line::Delimiter | Line::End => {
                return Err(WireError::Protocol("an odd frame among refs"));
            }
        }
    }
    Err(WireError::TooManyRefs)
}

/// Version 2: asks for one ref.
#[must_use]
pub fn ask_ref(name: &RefName) -> Vec<u8> {
    let mut request = Vec::new();
    pktline::write(&mut request, "command=ls-refs\n");
    pktline::delimiter(&mut request);
    pktline::write(&mut request, &format!("ref-prefix {name}\n"));
    pktline::flush(&mut request);
    request
}

/// Version 2: the answer to [`ask_ref`]; other refs whose names begin alike are skipped.
///
/// # Errors
/// [`WireError`]
pub fn ref_answer(
    from: &mut impl Read,
    name: &RefName,
    refs_max: usize,
) -> Result<Option<Oid>, WireError> {
    let mut tip = None;
    for _ in 0..refs_max {
        match pktline::read(from)? {
            Line::Flush => return Ok(tip),
            Line::Data(line) => {
                let (id, rest) = split_ref(strip(&line))?;
                let got = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
                if got == name.as_str().as_bytes() && tip.replace(id).is_some() {
                    return Err(WireError::Protocol("the tracked ref twice"));
                }
            }
            Line::Delimiter | Line::End => {
                return Err(WireError::Protocol("an odd frame among refs"));
            }
        }
    }
    Err(WireError::TooManyRefs)
}

/// What to fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Want {
    /// The object, by id.
    pub tip: Oid,
    /// Commits that we have with their history, down to `shallow`.
    pub have: Vec<Oid>,
    /// Commits that we have without their parents.
    pub shallow: Vec<Oid>,
    /// Only the tip, without history.
    pub depth_one: bool,
}

/// Version 2: asks for a pack.
#[must_use]
pub fn ask_pack_v2(want: &Want) -> Vec<u8> {
    let mut request = Vec::new();
    pktline::write(&mut request, "command=fetch\n");
    pktline::delimiter(&mut request);
    for option in ["no-progress\n", "ofs-delta\n"] {
        pktline::write(&mut request, option);
    }
    pktline::write(&mut request, &format!("want {}\n", hex(&want.tip)));
    shallow_lines(&mut request, want);
    for have in &want.have {
        pktline::write(&mut request, &format!("have {}\n", hex(have)));
    }
    pktline::write(&mut request, "done\n");
    pktline::flush(&mut request);
    request
}

/// Version 0: asks for a pack, in one round.
#[must_use]
pub fn ask_pack_v0(want: &Want) -> Vec<u8> {
    let mut request = Vec::new();
    let shallow = if want.depth_one || !want.shallow.is_empty() {
        " shallow"
    } else {
        ""
    };
    pktline::write(
        &mut request,
        &format!(
            "want {} side-band-64k ofs-delta no-progress{shallow}\n",
            hex(&want.tip)
        ),
    );
    shallow_lines(&mut request, want);
    pktline::flush(&mut request);
    for have in &want.have {
        pktline::write(&mut request, &format!("have {}\n", hex(have)));
    }
    pktline::write(&mut request, "done\n");
    request
}

fn shallow_lines(request: &mut Vec<u8>, want: &Want) {
    for shallow in &want.shallow {
        pktline::write(request, &format!("shallow {}\n", hex(shallow)));
    }
    if want.depth_one {
        pktline::write(request, "deepen 1\n");
    }
}

/// Reads all before the pack's first byte; [`PackReader`] goes on from there.
///
/// # Errors
/// [`WireError`]
pub fn before_pack_v2(from: &mut impl Read) -> Result<(), WireError> {
    for _ in 0..CAPABILITIES_MAX {
        let section = data(from)?;
        match strip(&section) {
            b"packfile" => return Ok(()),
            b"shallow-info" => {}
            line if line.starts_with(b"ERR ") => return Err(WireError::Remote),
            _ => return Err(WireError::Protocol("a section that was not asked for")),
        }
        loop {
            match pktline::read(from)? {
                Line::Delimiter => break,
                Line::Data(_) => {}
                Line::Flush | Line::End => {
                    return Err(WireError::Protocol("an answer without a pack"));
                }
            }
        }
    }
    Err(WireError::Protocol("too many sections"))
}

/// Version 0: reads `shallow` lines and acknowledgements and returns the first line of the pack.
///
/// # Errors
/// [`WireError`]
pub fn before_pack_v0(from: &mut impl Read, depth_one: bool) -> Result<Vec<u8>, WireError> {
    if depth_one {
        loop {
            match pktline::read(from)? {
                Line::Flush => break,
                Line::Data(line)
                    if line.starts_with(b"shallow ") || line.starts_with(b"unshallow ") => {}
                Line::Data(_) | Line::Delimiter | Line::End => {
                    return Err(WireError::Protocol("no list of shallow commits"));
                }
            }
        }
    }
    loop {
        let line = data(from)?;
        if line.starts_with(b"NAK") || line.starts_with(b"ACK ") {
            continue;
        }
        if line.starts_with(b"ERR ") {
            return Err(WireError::Remote);
        }
        return Ok(line);
    }
}

/// The pack's bytes out of the side band.
pub struct PackReader<R> {
    from: R,
    line: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> PackReader<R> {
    /// `first` is a line that was read already, if any.
    pub fn new(from: R, first: Option<Vec<u8>>) -> Result<Self, WireError> {
        let mut reader = Self {
            from,
            line: Vec::new(),
            at: 0,
            ended: false,
        };
        if let Some(line) = first {
            reader.take(line)?;
        }
        Ok(reader)
    }

    fn take(&mut self, line: Vec<u8>) -> Result<(), WireError> {
        match line.first() {
            Some(1) => {
                self.line = line;
                self.at = 1;
                Ok(())
            }
            Some(2) => Ok(()),
            Some(3) => Err(WireError::Remote),
            _ => Err(WireError::Protocol("a line outside the side band")),
        }
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn chunk(&mut self) -> Result<&[u8], WireError> {
        while self.at >= self.line.len() && !self.ended {
            match pktline::read(&mut self.from)? {
                Line::Flush => self.ended = true,
                Line::Data(line) => self.take(line)?,
                Line::Delimiter | Line::End => {
                    return Err(WireError::Protocol("an odd frame in the pack"));
                }
            }
        }
        let at = std::mem::replace(&mut self.at, self.line.len());
        Ok(&self.line[at..])
    }
}

fn data(from: &mut impl Read) -> Result<Vec<u8>, WireError> {
    match pktline::read(from)? {
        Line::Data(line) if line.starts_with(b"ERR ") => Err(WireError::Remote),
        Line::Data(line) => Ok(line),
        Line::Flush | Line::Delimiter | Line::End => Err(WireError::Protocol("a line was missing")),
    }
}

fn strip(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

fn split_ref(line: &[u8]) -> Result<(Oid, &[u8]), WireError> {
    let broken = || WireError::Protocol("a ref without id or name");
    let space = line
        .iter()
        .position(|byte| *byte == b' ')
        .ok_or_else(broken)?;
    Ok((
        parse_hex(&line[..space]).ok_or_else(broken)?,
        &line[space + 1..],
    ))
}

fn hex(oid: &Oid) -> String {
    oid.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(parts: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            match *part {
                "0000" => pktline::flush(&mut bytes),
                "0001" => pktline::delimiter(&mut bytes),
                text => pktline::write(&mut bytes, text),
            }
        }
        bytes
    }

    fn main_ref() -> RefName {
        RefName::parse("main").unwrap()
    }

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    #[test]
    fn a_version_2_server_is_understood_with_and_without_service_line() {
        let plain = lines(&[
            "version 2\n",
            "agent=git/2\n",
            "ls-refs=unborn\n",
            "fetch=shallow\n",
            "object-format=sha1\n",
            "0000",
        ]);
        assert_eq!(
            greeting(&mut plain.as_slice(), &main_ref(), 10).unwrap(),
            Greeting::V2
        );
        let with_service = [lines(&["# service=git-upload-pack\n", "0000"]), plain].concat();
        assert_eq!(
            greeting(&mut with_service.as_slice(), &main_ref(), 10).unwrap(),
            Greeting::V2
        );
    }

    #[test]
    fn the_exact_ref_is_taken_not_one_that_begins_alike() {
        let answer = lines(&[
            &format!("{A} refs/heads/main2\n"),
            &format!("{B} refs/heads/main\n"),
            "0000",
        ]);
        assert_eq!(
            ref_answer(&mut answer.as_slice(), &main_ref(), 10).unwrap(),
            Some([0x22; 20])
        );
        let gone = lines(&[&format!("{A} refs/heads/main2\n"), "0000"]);
        assert_eq!(
            ref_answer(&mut gone.as_slice(), &main_ref(), 10).unwrap(),
            None
        );
    }

    #[test]
    fn a_version_0_server_is_understood_also_when_empty() {
        let caps = "side-band-64k shallow ofs-delta";
        let full = lines(&[
            &format!("{A} HEAD\0{caps}\n"),
            &format!("{A} refs/heads/main\n"),
            "0000",
        ]);
        let want = Greeting::V0 {
            tip: Some([0x11; 20]),
            shallow: true,
        };
        assert_eq!(
            greeting(&mut full.as_slice(), &main_ref(), 10).unwrap(),
            want
        );
        let empty = lines(&[
            &format!("{} capabilities^{{}}\0{caps}\n", "0".repeat(40)),
            "0000",
        ]);
        let want = Greeting::V0 {
            tip: None,
            shallow: true,
        };
        assert_eq!(
            greeting(&mut empty.as_slice(), &main_ref(), 10).unwrap(),
            want
        );
    }

    #[test]
    fn too_many_refs_stop_the_fetch() {
        let mut many = vec![format!("{A} HEAD\0side-band-64k\n")];
        many.extend((0..20).map(|n| format!("{A} refs/heads/b{n}\n")));
        let bytes = lines(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(matches!(
            greeting(&mut bytes.as_slice(), &main_ref(), 10),
            Err(WireError::TooManyRefs)
        ));
    }

    #[test]
    fn a_pack_comes_out_of_the_side_band_without_progress() {
        let answer = lines(&[
            "shallow-info\n",
            &format!("shallow {A}"),
            "0001",
            "packfile\n",
            "\u{1}PACK",
            "\u{2}progress",
            "\u{1}rest",
            "0000",
        ]);
        let mut from = answer.as_slice();
        before_pack_v2(&mut from).unwrap();
        let mut reader = PackReader::new(from, None).unwrap();
        let mut pack = Vec::new();
        loop {
            let chunk = reader.chunk().unwrap();
            if chunk.is_empty() {
                break;
            }
            pack.extend_from_slice(chunk);
        }
        assert_eq!(pack, b"PACKrest");
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(parts in proptest::collection::vec("(0000|0001|[a-z0-9 \u{0}-\u{3}]{0,60})", 0..12)) {
            let bytes = lines(&parts.iter().map(String::as_str).collect::<Vec<_>>());
            let _ = greeting(&mut bytes.as_slice(), &main_ref(), 5);
            let _ = ref_answer(&mut bytes.as_slice(), &main_ref(), 5);
            let _ = before_pack_v2(&mut bytes.as_slice());
            let _ = before_pack_v0(&mut bytes.as_slice(), true);
        }
    }
}
