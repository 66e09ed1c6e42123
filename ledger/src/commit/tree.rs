//! Raw trees, read strictly: sorted as Git sorts, no name twice.

use super::limits::TREE_BYTES_MAX;
use super::oid::{HashKind, Oid};

/// One line of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is, to the bit: a file that became executable is another entry.
    pub mode: Mode,
    /// Its name, without slashes.
    pub name: &'a [u8],
    /// Its content.
    pub id: Oid,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `40000`
    Folder,
    /// `100644`
    File,
    /// `100664`, written by old tools
    FileOfGroup,
    /// `100755`
    Program,
    /// `120000`
    Link,
    /// `160000`
    Submodule,
}

/// The entries of a raw tree.
///
/// # Errors
/// The defect, in words.
pub fn entries(hash: HashKind, raw: &[u8]) -> Result<Vec<Entry<'_>>, &'static str> {
    if raw.len() > TREE_BYTES_MAX {
        return Err("longer than 16 MiB");
    }
    let mut found: Vec<Entry<'_>> = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let space = rest
            .iter()
            .take(8)
            .position(|byte| *byte == b' ')
            .ok_or("an entry without mode")?;
        let mode = match &rest[..space] {
            b"40000" => Mode::Folder,
            b"100644" => Mode::File,
            b"100664" => Mode::FileOfGroup,
            b"100755" => Mode::Program,
            b"120000" => Mode::Link,
            b"160000" => Mode::Submodule,
            _ => return Err("an entry with an odd mode"),
        };
        let after = &rest[space + 1..];
        let nul = after
            .iter()
            .position(|byte| *byte == 0)
            .ok_or("an entry without end")?;
        let name = &after[..nul];
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            return Err("an entry with an unsafe name");
        }
        let end = nul + 1 + hash.id_bytes();
        let id = after
            .get(nul + 1..end)
            .and_then(Oid::from_bytes)
            .ok_or("an entry without id")?;
        let entry = Entry { mode, name, id };
        if found.last().is_some_and(|last| !sorted(last, &entry)) {
            return Err("entries out of order or doubled");
        }
        found.push(entry);
        rest = &after[end..];
    }
    twice(&found)?;
    Ok(found)
}

/// Git sorts a folder as if its name ended in a slash.
fn sorted(first: &Entry<'_>, second: &Entry<'_>) -> bool {
    let key = |entry: &Entry<'_>| (entry.mode == Mode::Folder).then_some(b'/');
    let first_key = first.name.iter().copied().chain(key(first));
    let second_key = second.name.iter().copied().chain(key(second));
    first_key.lt(second_key)
}

/// A file and a folder of one name need not be neighbours, so that the order does not show them.
fn twice(entries: &[Entry<'_>]) -> Result<(), &'static str> {
    let mut names: Vec<&[u8]> = entries.iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("entries out of order or doubled");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(list: &[(&str, &str)]) -> Vec<u8> {
        list.iter()
            .flat_map(|(mode, name)| {
                [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[7; 20]].concat()
            })
            .collect()
    }

    fn read(list: &[(&str, &str)]) -> Result<usize, &'static str> {
        entries(HashKind::Sha1, &raw(list)).map(|entries| entries.len())
    }

    #[test]
    fn an_ordinary_tree_is_read() {
        assert_eq!(read(&[]), Ok(0));
        assert_eq!(
            read(&[("100644", "a-b"), ("40000", "a"), ("100755", "a0")]),
            Ok(3)
        );
        assert_eq!(read(&[("120000", "l"), ("160000", "s")]), Ok(2));
    }

    #[test]
    fn a_tree_that_can_be_read_in_two_ways_is_refused() {
        for list in [
            &[("100644", "a"), ("100644", "a")][..],
            &[("100644", "a"), ("100644", "a-"), ("40000", "a")],
            &[("100644", "b"), ("100644", "a")],
            &[("40000", "a"), ("100644", "a-")],
            &[("100644", "")],
            &[("100644", "..")],
            &[("100644", "a/b")],
            &[("040000", "a")],
            &[("100600", "a")],
        ] {
            assert!(read(list).is_err(), "{list:?}");
        }
        let whole = raw(&[("100644", "a")]);
        for cut in 1..whole.len() {
            assert!(entries(HashKind::Sha1, &whole[..cut]).is_err(), "{cut}");
        }
        assert!(
            entries(HashKind::Sha256, &whole).is_err(),
            "ids of another hash"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = entries(HashKind::Sha1, &raw);
            let _ = entries(HashKind::Sha256, &raw);
        }

        #[test]
        fn what_is_read_is_all_that_is_there(names in proptest::collection::btree_set("[a-z]{1,4}", 0..9)) {
            let list: Vec<_> = names.iter().map(|name| ("100644", name.as_str())).collect();
            let raw = raw(&list);
            let read: Vec<_> = entries(HashKind::Sha1, &raw).unwrap();
            prop_assert_eq!(read.iter().map(|entry| entry.name.to_vec()).collect::<Vec<_>>(),
                names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
