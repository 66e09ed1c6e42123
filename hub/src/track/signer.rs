//! The raw bytes of a commit, read so strictly that no two readers can see two different commits in them.
//!
//! Git takes the first of two `tree` headers, others the last; a NUL ends the text for some and not for others. A
//! commit that leaves room for that is `COMMIT_MALFORMED` and never sealed. Who signed it is decided by the people of
//! the trust root; until they exist every signer is unverified, so this module names none.

use countersign_ledger::digest::Digest;

use crate::track::id::{CommitId, TreeId, parse_hex};
use crate::track::limits::COMMIT_BYTES_MAX;
use crate::track::trouble::Trouble;

/// Parents of one commit; an octopus of more is a mistake or an attack.
const PARENTS_MAX: usize = 64;
/// Characters of a commit's first line that are shown.
const SUBJECT_CHARACTERS_MAX: usize = 200;

/// A commit whose bytes mean one thing only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Id, of exactly the bytes that were read.
    pub id: CommitId,
    /// Root tree.
    pub tree: TreeId,
    /// In order; the first is the line of the branch.
    pub parents: Vec<CommitId>,
    /// `Name <mail>`, lossily decoded, for people.
    pub author: String,
    /// First line of its message, without control characters, at most 200 characters; for people.
    pub subject: String,
    /// Committer's time as the commit says, seconds since 1970.
    pub time: i64,
    /// SHA-256 of the raw commit.
    pub sha256: Digest,
    /// It carries a signature; whose, nobody has checked.
    pub signature: SignatureKind,
}

/// What kind of signature a commit carries, unverified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// None.
    None,
    /// Some armoured block in `gpgsig`.
    Unverified,
}

/// Reads a raw commit.
///
/// # Errors
/// [`Trouble::CommitMalformed`] with the defect.
pub fn read(id: CommitId, raw: &[u8]) -> Result<Commit, Trouble> {
    parse(id, raw).map_err(|defect| Trouble::CommitMalformed {
        commit: id,
        defect: defect.to_owned(),
    })
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

fn parse(id: CommitId, raw: &[u8]) -> Result<Commit, &'static str> {
    if raw.len() > COMMIT_BYTES_MAX {
        return Err("longer than 256 KiB");
    }
    let end = raw
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .ok_or("headers without end")?;
    let headers = &raw[..end];
    if raw.contains(&0) {
        return Err("holds a NUL");
    }
    if headers.contains(&b'\r') {
        return Err("a carriage return in its headers");
    }
    let (mut tree, mut parents, mut author, mut committer) = (None, Vec::new(), None, None);
    let mut signature = SignatureKind::None;
    let mut encoding = false;
    let mut place = Place::Tree;
    let mut lines = headers.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line[0] == b' ' {
            return Err("a continuation line without its header");
        }
        let space = line
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or("a header without value")?;
        let (key, value) = (&line[..space], &line[space + 1..]);
        let at = match key {
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
        let continued = lines.peek().is_some_and(|next| next.first() == Some(&b' '));
        match at {
            Place::Tree if tree.is_some() => return Err("two tree headers"),
            Place::Tree => tree = Some(parse_hex(value).ok_or("a tree that is no object id")?),
            Place::Parent => {
                let parent =
                    CommitId::from(parse_hex(value).ok_or("a parent that is no object id")?);
                if parents.contains(&parent) || parents.len() == PARENTS_MAX {
                    return Err("a doubled parent or too many");
                }
                parents.push(parent);
            }
            Place::Author if author.is_some() => return Err("two author headers"),
            Place::Author => author = Some(person(value)?.0),
            Place::Committer if committer.is_some() => return Err("two committer headers"),
            Place::Committer => committer = Some(person(value)?.1),
            Place::Extra => match key {
                b"gpgsig" | b"gpgsig-sha256" if signature != SignatureKind::None => {
                    return Err("two signatures");
                }
                b"gpgsig" | b"gpgsig-sha256" => signature = SignatureKind::Unverified,
                b"encoding" if encoding => return Err("two encoding headers"),
                b"encoding" => encoding = true,
                _ if key
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') => {}
                _ => return Err("a header with an odd name"),
            },
        }
        if continued {
            if at != Place::Extra || key == b"encoding" {
                return Err("a continuation line where none may be");
            }
            while lines.peek().is_some_and(|next| next.first() == Some(&b' ')) {
                lines.next();
            }
        }
    }
    let tree = tree.ok_or("no tree")?;
    let author = author.ok_or("no author")?;
    let time = committer.ok_or("no committer")?;
    let subject = subject(&raw[end + 2..]);
    Ok(Commit {
        id,
        tree: TreeId::from(tree),
        parents,
        author,
        subject,
        time,
        sha256: Digest::of(raw),
        signature,
    })
}

fn subject(message: &[u8]) -> String {
    let line = message
        .split(|byte| *byte == b'\n')
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    String::from_utf8_lossy(line)
        .chars()
        .filter(|c| !c.is_control())
        .take(SUBJECT_CHARACTERS_MAX)
        .collect()
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
    const PARENT: &str = "parent 1111111111111111111111111111111111111111\n";
    const AUTHOR: &str = "author A U Thor <a@example.org> 1700000000 +0100\n";
    const COMMITTER: &str = "committer C O Mitter <c@example.org> 1700000000 -0330\n";
    const SIGNATURE: &str =
        "gpgsig -----BEGIN SSH SIGNATURE-----\n U1NI\n -----END SSH SIGNATURE-----\n";

    fn commit(parts: &[&str]) -> Result<Commit, &'static str> {
        parse(CommitId::from([7; 20]), parts.concat().as_bytes())
    }

    #[test]
    fn an_ordinary_commit_is_read() {
        let read = commit(&[TREE, PARENT, AUTHOR, COMMITTER, SIGNATURE, "\nmessage\n"]).unwrap();
        assert_eq!(read.author, "A U Thor <a@example.org>");
        assert_eq!(
            (read.subject.as_str(), read.time),
            ("message", 1_700_000_000)
        );
        assert_eq!(read.parents.len(), 1);
        assert_eq!(read.signature, SignatureKind::Unverified);
        assert!(
            commit(&[TREE, AUTHOR, COMMITTER, "\n"]).is_ok(),
            "a root commit without message"
        );
        assert!(
            commit(&[
                TREE,
                AUTHOR,
                COMMITTER,
                "encoding ISO-8859-1\n",
                "mergetag object x\n type commit\n",
                "\nm"
            ])
            .is_ok()
        );
    }

    #[test]
    fn cve_2026_45022_a_commit_that_two_readers_could_read_differently_is_refused() {
        let other_tree = "tree 2222222222222222222222222222222222222222\n";
        let malformed: &[&[&str]] = &[
            &[TREE, other_tree, AUTHOR, COMMITTER, "\nm"],
            &[TREE, PARENT, PARENT, AUTHOR, COMMITTER, "\nm"],
            &[TREE, AUTHOR, AUTHOR, COMMITTER, "\nm"],
            &[TREE, AUTHOR, COMMITTER, COMMITTER, "\nm"],
            &[TREE, AUTHOR, COMMITTER, SIGNATURE, SIGNATURE, "\nm"],
            &[TREE, AUTHOR, PARENT, COMMITTER, "\nm"],
            &[TREE, AUTHOR, COMMITTER, other_tree, "\nm"],
            &[AUTHOR, COMMITTER, "\nm"],
            &[TREE, COMMITTER, "\nm"],
            &[TREE, AUTHOR, "\nm"],
            &[TREE, " odd continuation\n", AUTHOR, COMMITTER, "\nm"],
            &[TREE, AUTHOR, " odd continuation\n", COMMITTER, "\nm"],
            &[" x\n", TREE, AUTHOR, COMMITTER, "\nm"],
            &[TREE, AUTHOR, COMMITTER, "\nnul \0 in message"],
            &[
                "tree\r 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n",
                AUTHOR,
                COMMITTER,
                "\nm",
            ],
            &[TREE, AUTHOR, COMMITTER],
            &[
                "tree 4B825DC642CB6EB9A060E54BF8D69288FBEE4904\n",
                AUTHOR,
                COMMITTER,
                "\nm",
            ],
            &["tree xyz\n", AUTHOR, COMMITTER, "\nm"],
            &[TREE, "author no mail 1 +0000\n", COMMITTER, "\nm"],
            &[TREE, "author A <a@b> soon +0000\n", COMMITTER, "\nm"],
            &[
                TREE,
                AUTHOR,
                COMMITTER,
                "encoding x\n",
                "encoding y\n",
                "\nm",
            ],
            &[],
        ];
        for parts in malformed {
            assert!(commit(parts).is_err(), "{parts:?}");
        }
        let trouble = read(CommitId::from([7; 20]), b"x").unwrap_err();
        assert_eq!(trouble.code(), "COMMIT_MALFORMED");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(CommitId::from([7; 20]), &raw);
        }

        #[test]
        fn a_mutant_that_is_still_read_names_the_same_tree_as_git2(at in 0usize..400, byte in any::<u8>()) {
            let mut raw = [TREE, PARENT, AUTHOR, COMMITTER, SIGNATURE, "\nmessage\n"].concat().into_bytes();
            let at = at % raw.len();
            raw[at] = byte;
            if let Ok(ours) = parse(CommitId::from([7; 20]), &raw) {
                let theirs = tree_by_git2(&raw);
                prop_assert_eq!(theirs, Some(ours.tree.to_string()));
            }
        }
    }

    fn tree_by_git2(raw: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init_bare(folder.path()).unwrap();
        let id = repo
            .odb()
            .unwrap()
            .write(git2::ObjectType::Commit, raw)
            .unwrap();
        repo.find_commit(id)
            .ok()
            .map(|commit| commit.tree_id().to_string())
    }
}
