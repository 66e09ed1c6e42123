//! Raw commits, read so strictly that no two readers can see two different commits in them.
//!
//! Git takes the first of two `tree` headers, others the last; a NUL ends the text for some and not for others. A
//! commit that leaves room for that is malformed. What was signed is the raw object less exactly one signature header,
//! cut out of the exact bytes: nothing is written anew.

use super::limits::{COMMIT_BYTES_MAX, PARENTS_MAX};
use super::oid::{HashKind, Oid};

/// A commit whose bytes mean one thing only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Root tree.
    pub tree: Oid,
    /// In order; the first is the line of the branch.
    pub parents: Vec<Oid>,
    /// `Name <mail>`, lossily decoded, for people.
    pub author: String,
    /// Committer's time as the commit says, seconds since 1970. It decides nothing.
    pub time: i64,
    /// Where the message begins.
    pub message_at: usize,
    /// Its signature and what that is over, unverified.
    pub signature: Option<Signed>,
}

/// A signature as it stands in a commit, and what it is said to be over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The armoured text.
    pub armour: String,
    /// The raw commit less the signature's header.
    pub payload: Vec<u8>,
}

/// Which header is expected next; Git writes them in this order only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Tree,
    Parent,
    Author,
    Committer,
    Extra,
}

/// One header: its name, its value, the bytes that it and its continuation lines take.
struct Header<'a> {
    key: &'a [u8],
    value: &'a [u8],
    continued: Vec<&'a [u8]>,
    start: usize,
    end: usize,
}

impl Commit {
    /// Reads a raw commit of a repository with SHA-1.
    ///
    /// # Errors
    /// The defect, in words.
    pub fn read(raw: &[u8]) -> Result<Self, &'static str> {
        Self::read_as(HashKind::Sha1, raw)
    }

    /// Reads a raw commit of a repository with this hash.
    ///
    /// # Errors
    /// The defect, in words.
    pub fn read_as(hash: HashKind, raw: &[u8]) -> Result<Self, &'static str> {
        if raw.len() > COMMIT_BYTES_MAX {
            return Err("longer than 256 KiB");
        }
        let end = raw
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .ok_or("headers without end")?;
        if raw.contains(&0) {
            return Err("holds a NUL");
        }
        if raw[..end].contains(&b'\r') {
            return Err("a carriage return in its headers");
        }
        let id = |value: &[u8]| Oid::from_hex(value).filter(|id| id.hash() == hash);
        let (mut tree, mut parents, mut author, mut committer) = (None, Vec::new(), None, None);
        let (mut signature, mut encoding) = (None, false);
        let mut place = Place::Tree;
        for header in headers(&raw[..end])? {
            let at = match header.key {
                b"tree" => Place::Tree,
                b"parent" => Place::Parent,
                b"author" => Place::Author,
                b"committer" => Place::Committer,
                _ => Place::Extra,
            };
            if at < place {
                return Err("headers doubled or out of order");
            }
            place = at;
            if !header.continued.is_empty() && (at != Place::Extra || header.key == b"encoding") {
                return Err("a continuation line where none may be");
            }
            match at {
                Place::Tree if tree.is_some() => return Err("two tree headers"),
                Place::Tree => tree = Some(id(header.value).ok_or("a tree that is no object id")?),
                Place::Parent => {
                    let parent = id(header.value).ok_or("a parent that is no object id")?;
                    if parents.contains(&parent) || parents.len() == PARENTS_MAX {
                        return Err("a doubled parent or too many");
                    }
                    parents.push(parent);
                }
                Place::Author if author.is_some() => return Err("two author headers"),
                Place::Author => author = Some(person(header.value)?.0),
                Place::Committer if committer.is_some() => return Err("two committer headers"),
                Place::Committer => committer = Some(person(header.value)?.1),
                Place::Extra => match header.key {
                    b"gpgsig" | b"gpgsig-sha256" if signature.is_some() => {
                        return Err("two signatures");
                    }
                    b"gpgsig" if hash == HashKind::Sha1 => signature = Some(signed(raw, &header)?),
                    b"gpgsig-sha256" if hash == HashKind::Sha256 => {
                        signature = Some(signed(raw, &header)?);
                    }
                    b"gpgsig" | b"gpgsig-sha256" => {
                        return Err("a signature for a repository of another hash");
                    }
                    b"encoding" if encoding => return Err("two encoding headers"),
                    b"encoding" => encoding = true,
                    key if key
                        .iter()
                        .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') => {}
                    _ => return Err("a header with an odd name"),
                },
            }
        }
        Ok(Self {
            tree: tree.ok_or("no tree")?,
            parents,
            author: author.ok_or("no author")?,
            time: committer.ok_or("no committer")?,
            message_at: end + 2,
            signature,
        })
    }
}

/// The headers with their continuation lines.
fn headers(text: &[u8]) -> Result<Vec<Header<'_>>, &'static str> {
    let mut found: Vec<Header<'_>> = Vec::new();
    let mut start = 0;
    for line in text.split(|byte| *byte == b'\n') {
        // The line's own break is counted: the last one has the first of the two that end the headers.
        let end = start + line.len() + 1;
        match line.first() {
            None => return Err("an empty line before its headers"),
            Some(b' ') => {
                let header = found
                    .last_mut()
                    .ok_or("a continuation line without its header")?;
                header.continued.push(&line[1..]);
                header.end = end;
            }
            Some(_) => {
                let space = line
                    .iter()
                    .position(|byte| *byte == b' ')
                    .ok_or("a header without value")?;
                found.push(Header {
                    key: &line[..space],
                    value: &line[space + 1..],
                    continued: Vec::new(),
                    start,
                    end,
                });
            }
        }
        start = end;
    }
    Ok(found)
}

/// The signature's text, and the commit without it.
fn signed(raw: &[u8], header: &Header<'_>) -> Result<Signed, &'static str> {
    let mut armour = header.value.to_vec();
    armour.push(b'\n');
    for line in &header.continued {
        armour.extend_from_slice(line);
        armour.push(b'\n');
    }
    Ok(Signed {
        armour: String::from_utf8(armour)
            .ok()
            .filter(|text| text.is_ascii())
            .ok_or("a signature that is no ASCII")?,
        payload: [&raw[..header.start], &raw[header.end..]].concat(),
    })
}

/// `Name <mail> seconds zone`; returns `Name <mail>` and the seconds.
fn person(value: &[u8]) -> Result<(String, i64), &'static str> {
    let close = value
        .iter()
        .rposition(|byte| *byte == b'>')
        .ok_or("a person without mail")?;
    let open = value
        .iter()
        .position(|byte| *byte == b'<')
        .ok_or("a person without mail")?;
    if open > close || value[open + 1..close].contains(&b'<') || value[open..close].contains(&b'>')
    {
        return Err("a person with odd brackets");
    }
    let mut when = value[close + 1..]
        .split(|byte| *byte == b' ')
        .filter(|part| !part.is_empty());
    let (seconds, zone) = (
        when.next().unwrap_or_default(),
        when.next().unwrap_or_default(),
    );
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let zone_ok = zone.len() >= 5 && matches!(zone[0], b'+' | b'-') && digits(&zone[1..]);
    if !digits(seconds) || seconds.len() > 18 || !zone_ok || when.next().is_some() {
        return Err("a person without a valid time");
    }
    let seconds = std::str::from_utf8(seconds)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or("a person without a valid time")?;
    Ok((
        String::from_utf8_lossy(&value[..=close]).into_owned(),
        seconds,
    ))
}

#[cfg(test)]
mod tests;
