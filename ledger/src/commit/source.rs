//! Where the judge reads objects: what came over the wire, or a repository whose reads are written down.
//!
//! On the wire an object is what Git hashes: `commit 123`, a NUL, the content. Its kind is thus part of it, and its id the
//! hash of exactly these bytes. Both sources give a content only under the id that its bytes have.

use std::collections::HashMap;

use super::limits::{OBJECT_BYTES_MAX, OBJECTS_MAX};
use super::oid::{HashKind, ObjectKind, Oid, header};
use super::refusal::AuthorRefusal;

/// A source of objects by id; the id of what it gives has been recomputed.
pub(super) trait Objects {
    fn read(&mut self, kind: ObjectKind, id: Oid) -> Result<Option<Vec<u8>>, AuthorRefusal>;
}

/// Objects that came.
pub(super) struct Given<'a> {
    objects: HashMap<(ObjectKind, Oid), &'a [u8]>,
}

impl<'a> Given<'a> {
    /// Hashes every object that came.
    pub(super) fn index(
        hash: HashKind,
        objects: &'a [impl AsRef<[u8]>],
    ) -> Result<Self, AuthorRefusal> {
        let bytes = objects.iter().fold(0_usize, |sum, object| {
            sum.saturating_add(object.as_ref().len())
        });
        within("objects", objects.len(), OBJECTS_MAX)?;
        within("bytes of objects", bytes, OBJECT_BYTES_MAX)?;
        let mut index = HashMap::with_capacity(objects.len());
        for (number, object) in objects.iter().enumerate() {
            let malformed = |defect| AuthorRefusal::Malformed {
                object: format!("number {number} of those that came"),
                defect,
            };
            let bytes = object.as_ref();
            let (kind, content) = unframe(bytes).map_err(malformed)?;
            let id = Oid::of_framed(hash, &[bytes]).map_err(|_| malformed(COLLISION))?;
            index.insert((kind, id), content);
        }
        Ok(Self { objects: index })
    }
}

impl Objects for Given<'_> {
    fn read(&mut self, kind: ObjectKind, id: Oid) -> Result<Option<Vec<u8>>, AuthorRefusal> {
        Ok(self.objects.get(&(kind, id)).map(|raw| raw.to_vec()))
    }
}

/// Objects of a repository; what the judge read is what another one needs.
pub(super) struct Recorded<F> {
    repository: F,
    objects: HashMap<(ObjectKind, Oid), usize>,
    framed: Vec<Vec<u8>>,
    bytes: usize,
}

impl<F> Recorded<F> {
    pub(super) fn new(repository: F) -> Self {
        Self {
            repository,
            objects: HashMap::new(),
            framed: Vec::new(),
            bytes: 0,
        }
    }

    /// What was read, each once.
    pub(super) fn into_objects(self) -> Vec<Vec<u8>> {
        self.framed
    }
}

impl<F: FnMut(ObjectKind, Oid) -> Option<Vec<u8>>> Objects for Recorded<F> {
    fn read(&mut self, kind: ObjectKind, id: Oid) -> Result<Option<Vec<u8>>, AuthorRefusal> {
        if let Some(at) = self.objects.get(&(kind, id)) {
            let framed = &self.framed[*at];
            let start = framed.iter().position(|byte| *byte == 0).unwrap_or(0) + 1;
            return Ok(framed.get(start..).map(<[u8]>::to_vec));
        }
        let Some(content) = (self.repository)(kind, id) else {
            return Ok(None);
        };
        let malformed = |defect| AuthorRefusal::Malformed {
            object: id.to_string(),
            defect,
        };
        let framed = frame(kind, &content);
        if Oid::of_framed(id.hash(), &[&framed]).map_err(|_| malformed(COLLISION))? != id {
            return Err(malformed("its bytes have another id"));
        }
        self.bytes = self.bytes.saturating_add(framed.len());
        within("objects", self.framed.len() + 1, OBJECTS_MAX)?;
        within("bytes of objects", self.bytes, OBJECT_BYTES_MAX)?;
        self.objects.insert((kind, id), self.framed.len());
        self.framed.push(framed);
        Ok(Some(content))
    }
}

const COLLISION: &str = "its bytes are made to collide with others under SHA-1";

/// An object as it travels: what Git hashes.
#[must_use]
pub fn frame(kind: ObjectKind, content: &[u8]) -> Vec<u8> {
    let mut framed = header(kind, content.len());
    framed.extend_from_slice(content);
    framed
}

fn unframe(bytes: &[u8]) -> Result<(ObjectKind, &[u8]), &'static str> {
    for kind in [ObjectKind::Commit, ObjectKind::Tree] {
        if !bytes.starts_with(kind.name().as_bytes()) {
            continue;
        }
        let nul = bytes
            .iter()
            .take(32)
            .position(|byte| *byte == 0)
            .ok_or("a header without end")?;
        let content = &bytes[nul + 1..];
        return if header(kind, content.len()) == bytes[..=nul] {
            Ok((kind, content))
        } else {
            Err("a header that does not fit its content")
        };
    }
    Err("neither a commit nor a tree")
}

pub(super) fn within(what: &'static str, got: usize, limit: usize) -> Result<(), AuthorRefusal> {
    if got > limit {
        Err(AuthorRefusal::Limit { what, limit })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_object_is_had_by_its_own_id_and_kind_only() {
        let tree = frame(ObjectKind::Tree, b"");
        let id = Oid::of(HashKind::Sha1, ObjectKind::Tree, b"").unwrap();
        let objects = [tree];
        let mut given = Given::index(HashKind::Sha1, &objects).unwrap();
        assert_eq!(given.read(ObjectKind::Tree, id), Ok(Some(vec![])));
        assert_eq!(given.read(ObjectKind::Commit, id), Ok(None));
        assert_eq!(given.read(ObjectKind::Tree, Oid::Sha1([0; 20])), Ok(None));
    }

    #[test]
    fn a_repository_that_gives_other_bytes_is_not_believed() {
        let mut recorded = Recorded::new(|_, _| Some(b"other".to_vec()));
        let read = recorded.read(ObjectKind::Tree, Oid::Sha1([0; 20]));
        assert_eq!(read.unwrap_err().code(), "COMMIT_MALFORMED");
        assert_eq!(recorded.into_objects(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_header_says_exactly_what_follows() {
        for bad in [
            &b""[..],
            b"tree",
            b"tree 0",
            b"tree 1\0",
            b"tree 00\0",
            b"tree  0\0",
            b"blob 0\0",
            b"commit 2\0a",
            b"treeish 0\0",
        ] {
            assert!(unframe(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn too_much_is_refused_before_it_is_hashed() {
        let objects = vec![vec![0; 1 << 20]; 33];
        let refused = Given::index(HashKind::Sha1, &objects).err().unwrap();
        assert_eq!(refused.code(), "COMMIT_LIMIT");
    }

    proptest! {
        #[test]
        fn what_is_framed_is_read_back(content in proptest::collection::vec(any::<u8>(), 0..200), commit: bool) {
            let kind = if commit { ObjectKind::Commit } else { ObjectKind::Tree };
            let framed = frame(kind, &content);
            prop_assert_eq!(unframe(&framed), Ok((kind, content.as_slice())));
        }
    }
}
