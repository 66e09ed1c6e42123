//! What a commit's tree holds that no fleet should: entries that attack a working tree (the commit is refused) and
//! things that can't be rendered (reported; the app that reads them fails by name). Reads only what changed. Pure: the
//! objects come through [`Objects`].

use std::collections::{HashMap, HashSet};

use crate::track::id::OID_BYTES;
use crate::track::limits::{FILE_BYTES_MAX, NOTICES_MAX, TREE_DEPTH_MAX};
use crate::track::trouble::Trouble;

/// A raw object id.
pub type Oid = [u8; OID_BYTES];

/// Bytes of a Git LFS pointer, at most, by its specification.
const LFS_POINTER_BYTES_MAX: u64 = 1024;
const LFS_PREFIX: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Where trees and blobs are read.
pub trait Objects {
    /// A raw tree.
    ///
    /// # Errors
    /// [`Trouble`]
    fn tree(&self, id: Oid) -> Result<Vec<u8>, Trouble>;
    /// Bytes of a blob; `None` if it was too large to be copied.
    ///
    /// # Errors
    /// [`Trouble`]
    fn size(&self, id: Oid) -> Result<Option<u64>, Trouble>;
    /// A small blob.
    ///
    /// # Errors
    /// [`Trouble`]
    fn blob(&self, id: Oid) -> Result<Vec<u8>, Trouble>;
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A commit of another repository.
    Submodule,
}

/// One entry of a raw tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its name, in bytes.
    pub name: &'a [u8],
    /// Its object.
    pub id: Oid,
}

/// Something in the tree that can't be rendered; the commit is followed all the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notice {
    /// What it is.
    pub what: NoticeKind,
    /// Its path; bytes that are no UTF-8 are escaped.
    pub path: String,
    raw: Vec<u8>,
    id: Oid,
}

/// Kinds of [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// A file above [`FILE_BYTES_MAX`].
    FileHuge,
    /// A pointer whose content lies in Git LFS.
    LfsPointer,
    /// A submodule; its content is not part of the commit.
    Submodule,
    /// A symbolic link that leads out of the repository.
    LinkOutside,
    /// A name that is no UTF-8.
    NameNotUtf8,
}

impl NoticeKind {
    /// Stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::FileHuge => "FILE_HUGE",
            Self::LfsPointer => "LFS_POINTER",
            Self::Submodule => "SUBMODULE_FORBIDDEN",
            Self::LinkOutside => "LINK_OUTSIDE",
            Self::NameNotUtf8 => "NAME_NOT_UTF8",
        }
    }

    /// For a person.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::FileHuge => "is larger than 10 MiB; no render reads it",
            Self::LfsPointer => "is a Git LFS pointer, whose content is not part of the commit",
            Self::Submodule => {
                "is a submodule, whose content is not part of the commit; name its repository as a source instead"
            }
            Self::LinkOutside => "is a link that leads out of the repository; no render follows it",
            Self::NameNotUtf8 => "has a name that is not UTF-8; no render reads it",
        }
    }
}

/// Why a commit's tree is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// An unsafe entry.
    Unsafe {
        /// Escaped path.
        path: String,
        /// What is wrong with it.
        defect: &'static str,
    },
    /// A read failed.
    Trouble(Trouble),
}

impl From<Trouble> for Stopped {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Entries of a raw tree.
///
/// # Errors
/// What is wrong with its bytes.
pub fn entries(raw: &[u8]) -> Result<Vec<Entry<'_>>, &'static str> {
    let mut found = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let space = rest
            .iter()
            .take(8)
            .position(|byte| *byte == b' ')
            .ok_or("an entry without mode")?;
        let kind = match &rest[..space] {
            b"40000" => Kind::Folder,
            b"100644" | b"100755" | b"100664" => Kind::File,
            b"120000" => Kind::Link,
            b"160000" => Kind::Submodule,
            _ => return Err("an entry with an odd mode"),
        };
        let after = &rest[space + 1..];
        let nul = after
            .iter()
            .position(|byte| *byte == 0)
            .ok_or("an entry without end")?;
        let id: Oid = after
            .get(nul + 1..nul + 1 + OID_BYTES)
            .and_then(|id| id.try_into().ok())
            .ok_or("an entry without id")?;
        found.push(Entry {
            kind,
            name: &after[..nul],
            id,
        });
        rest = &after[nul + 1 + OID_BYTES..];
    }
    Ok(found)
}

/// What is wrong with one entry's name.
#[must_use]
pub fn name_defect(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() || name == b"." || name == b".." {
        return Some("a name that is empty, '.' or '..'");
    }
    if name
        .iter()
        .any(|byte| matches!(byte, b'/' | b'\\' | b'\n' | b'\r' | 0))
    {
        return Some("a name with a slash, backslash or line break");
    }
    let visible: String = String::from_utf8_lossy(name)
        .chars()
        .filter(|c| !ignorable(*c))
        .collect();
    let plain = visible.trim_end_matches([' ', '.']).to_lowercase();
    let plain = plain.split(':').next().unwrap_or_default();
    if plain == ".git" || plain == "git~1" {
        return Some("a name that some file system takes for .git");
    }
    None
}

/// Code points that a file system may drop from names.
const fn ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Looks through all that is in `new` and not in `old`.
///
/// # Errors
/// [`Stopped`]
pub fn scan(objects: &impl Objects, old: Option<Oid>, new: Oid) -> Result<Vec<Notice>, Stopped> {
    let mut notices = Vec::new();
    walk(objects, old, new, &mut Vec::new(), 0, &mut notices)?;
    Ok(notices)
}

/// Those of the `earlier` notices that are still true of the tree.
///
/// # Errors
/// [`Trouble`]
pub fn still_true(
    objects: &impl Objects,
    tree: Oid,
    earlier: Vec<Notice>,
) -> Result<Vec<Notice>, Trouble> {
    let mut kept = Vec::new();
    for notice in earlier {
        let mut at = Some(tree);
        for part in notice.raw.split(|byte| *byte == b'/') {
            at = match at {
                None => None,
                Some(folder) if folder == notice.id => None,
                Some(folder) => {
                    let raw = objects.tree(folder).unwrap_or_default();
                    entries(&raw)
                        .unwrap_or_default()
                        .iter()
                        .find(|entry| entry.name == part)
                        .map(|entry| entry.id)
                }
            };
        }
        if at == Some(notice.id) {
            kept.push(notice);
        }
    }
    Ok(kept)
}

fn walk(
    objects: &impl Objects,
    old: Option<Oid>,
    new: Oid,
    path: &mut Vec<u8>,
    depth: usize,
    notices: &mut Vec<Notice>,
) -> Result<(), Stopped> {
    if old == Some(new) {
        return Ok(());
    }
    if depth > TREE_DEPTH_MAX {
        return Err(Stopped::Unsafe {
            path: escaped(path),
            defect: "folders nested too deeply",
        });
    }
    let old_raw = old
        .map(|id| objects.tree(id))
        .transpose()?
        .unwrap_or_default();
    let before: HashMap<&[u8], Entry<'_>> = entries(&old_raw)
        .unwrap_or_default()
        .into_iter()
        .map(|entry| (entry.name, entry))
        .collect();
    let raw = objects.tree(new)?;
    let list = entries(&raw).map_err(|defect| Stopped::Unsafe {
        path: escaped(path),
        defect,
    })?;
    let mut names = HashSet::new();
    for entry in list {
        let length = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(entry.name);
        let defect = name_defect(entry.name)
            .or_else(|| (!names.insert(entry.name)).then_some("a name twice in one folder"));
        if let Some(defect) = defect {
            return Err(Stopped::Unsafe {
                path: escaped(path),
                defect,
            });
        }
        let had = before.get(entry.name).filter(|had| had.kind == entry.kind);
        if had.is_none_or(|had| had.id != entry.id) {
            if let Some(what) = notice(objects, &entry, path)? {
                if notices.len() < NOTICES_MAX {
                    notices.push(Notice {
                        what,
                        path: escaped(path),
                        raw: path.clone(),
                        id: entry.id,
                    });
                }
            }
            if entry.kind == Kind::Folder {
                walk(
                    objects,
                    had.map(|had| had.id),
                    entry.id,
                    path,
                    depth + 1,
                    notices,
                )?;
            }
        }
        path.truncate(length);
    }
    Ok(())
}

fn notice(
    objects: &impl Objects,
    entry: &Entry<'_>,
    path: &[u8],
) -> Result<Option<NoticeKind>, Trouble> {
    if std::str::from_utf8(entry.name).is_err() {
        return Ok(Some(NoticeKind::NameNotUtf8));
    }
    match entry.kind {
        Kind::Folder => Ok(None),
        Kind::Submodule => Ok(Some(NoticeKind::Submodule)),
        Kind::File => match objects.size(entry.id)? {
            None => Ok(Some(NoticeKind::FileHuge)),
            Some(size) if size > FILE_BYTES_MAX => Ok(Some(NoticeKind::FileHuge)),
            Some(size)
                if size <= LFS_POINTER_BYTES_MAX
                    && objects.blob(entry.id)?.starts_with(LFS_PREFIX) =>
            {
                Ok(Some(NoticeKind::LfsPointer))
            }
            Some(_) => Ok(None),
        },
        Kind::Link => match objects.size(entry.id)? {
            Some(size) if size <= 4_096 && link_stays(path, &objects.blob(entry.id)?) => Ok(None),
            Some(_) | None => Ok(Some(NoticeKind::LinkOutside)),
        },
    }
}

/// Whether a link's target, taken by its text alone, stays in the repository.
fn link_stays(path: &[u8], target: &[u8]) -> bool {
    if target.first() == Some(&b'/') {
        return false;
    }
    let mut depth = path.iter().filter(|byte| **byte == b'/').count();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 => return false,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

/// For messages: no control character and no broken UTF-8 gets through.
fn escaped(path: &[u8]) -> String {
    path.utf8_chunks().fold(String::new(), |mut text, chunk| {
        for c in chunk.valid().chars() {
            if c.is_control() || ignorable(c) {
                text.extend(c.escape_unicode())
            } else {
                text.push(c)
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Memory {
        trees: HashMap<Oid, Vec<u8>>,
        blobs: HashMap<Oid, Vec<u8>>,
    }

    impl Memory {
        fn id(&self) -> Oid {
            [(self.trees.len() + self.blobs.len() + 1) as u8; 20]
        }

        fn add_blob(&mut self, content: &[u8]) -> Oid {
            let id = self.id();
            self.blobs.insert(id, content.to_vec());
            id
        }

        fn add_tree(&mut self, list: &[(&str, &[u8], Oid)]) -> Oid {
            let id = self.id();
            let raw = list
                .iter()
                .flat_map(|(mode, name, id)| [mode.as_bytes(), b" ", name, b"\0", id].concat())
                .collect();
            self.trees.insert(id, raw);
            id
        }
    }

    impl Objects for Memory {
        fn tree(&self, id: Oid) -> Result<Vec<u8>, Trouble> {
            Ok(self.trees[&id].clone())
        }
        fn size(&self, id: Oid) -> Result<Option<u64>, Trouble> {
            Ok(self.blobs.get(&id).map(|blob| blob.len() as u64))
        }
        fn blob(&self, id: Oid) -> Result<Vec<u8>, Trouble> {
            Ok(self.blobs[&id].clone())
        }
    }

    fn check(mode: &str, name: &[u8], content: &[u8]) -> Result<Vec<&'static str>, &'static str> {
        let mut memory = Memory::default();
        let blob = memory.add_blob(content);
        let inner = memory.add_tree(&[(mode, name, blob)]);
        let root = memory.add_tree(&[("40000", b"app", inner)]);
        match scan(&memory, None, root) {
            Ok(notices) => Ok(notices.iter().map(|notice| notice.what.code()).collect()),
            Err(Stopped::Unsafe { .. }) => Err("TREE_UNSAFE"),
            Err(Stopped::Trouble(trouble)) => Err(trouble.code()),
        }
    }

    #[test]
    fn an_ordinary_file_is_fine() {
        assert_eq!(check("100644", b"app.yaml", b"a: 1\n"), Ok(vec![]));
        assert_eq!(check("120000", b"link", b"../other/app.yaml"), Ok(vec![]));
        assert_eq!(check("100644", b".gitignore", b""), Ok(vec![]));
    }

    #[test]
    fn cve_2023_49569_entries_that_attack_a_working_tree_are_refused() {
        let names: [&[u8]; 14] = [
            b"",
            b".",
            b"..",
            b".git",
            b".GIT",
            b".Git",
            b"git~1",
            b"GIT~1",
            b".git ",
            b".git.",
            b".git::$INDEX",
            "\u{200c}.git".as_bytes(),
            b"a/b",
            b"a\\b",
        ];
        for name in names {
            assert_eq!(check("100644", name, b""), Err("TREE_UNSAFE"), "{name:?}");
        }
        assert_eq!(check("100600", b"x", b""), Err("TREE_UNSAFE"), "odd mode");
    }

    #[test]
    fn one_name_for_a_link_and_a_folder_is_refused() {
        let mut memory = Memory::default();
        let link = memory.add_blob(b"/etc");
        let empty = memory.add_tree(&[]);
        let root = memory.add_tree(&[("120000", b"x", link), ("40000", b"x", empty)]);
        assert!(matches!(
            scan(&memory, None, root),
            Err(Stopped::Unsafe { .. })
        ));
    }

    #[test]
    fn what_cannot_be_rendered_is_reported_by_kind() {
        assert_eq!(
            check("160000", b"sub", b""),
            Ok(vec!["SUBMODULE_FORBIDDEN"])
        );
        assert_eq!(
            check("100644", b"big", &vec![0; FILE_BYTES_MAX as usize + 1]),
            Ok(vec!["FILE_HUGE"])
        );
        assert_eq!(
            check(
                "100644",
                b"lfs",
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"
            ),
            Ok(vec!["LFS_POINTER"])
        );
        assert_eq!(check("100644", b"\xff\xfe", b""), Ok(vec!["NAME_NOT_UTF8"]));
        for target in [
            "/etc/passwd",
            "../../x",
            "../a/../../x",
            "/proc/self/environ",
        ] {
            assert_eq!(
                check("120000", b"link", target.as_bytes()),
                Ok(vec!["LINK_OUTSIDE"]),
                "{target}"
            );
        }
    }

    #[test]
    fn an_earlier_notice_stays_until_its_file_changes() {
        let mut memory = Memory::default();
        let lfs = memory.add_blob(b"version https://git-lfs.github.com/spec/v1\n");
        let other = memory.add_blob(b"x");
        let first = memory.add_tree(&[("100644", b"a", lfs)]);
        let second = memory.add_tree(&[("100644", b"a", lfs), ("100644", b"b", other)]);
        let third = memory.add_tree(&[("100644", b"a", other)]);
        let notices = scan(&memory, None, first).unwrap();
        assert_eq!(
            scan(&memory, Some(first), second).unwrap(),
            vec![],
            "unchanged parts are not read again"
        );
        assert_eq!(
            still_true(&memory, second, notices.clone()).unwrap(),
            notices
        );
        assert_eq!(still_true(&memory, third, notices).unwrap(), vec![]);
    }

    #[test]
    fn names_are_escaped_for_people() {
        assert_eq!(escaped(b"a\x1b[31m/\xff"), "a\\u{1b}[31m/\\xff");
    }

    proptest! {
        #[test]
        fn no_tree_makes_the_reader_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = entries(&raw);
        }
    }
}
