//! Commits as the tracker needs them, and whose word they are. Both are the ledger's judgement, so that hub and agent
//! can not differ: [`countersign_ledger::commit`].

use countersign_ledger::commit::{self, AuthorRefusal, Oid, People, Signed};
use countersign_ledger::digest::Digest;
use countersign_ledger::statement::Verdict;

use crate::track::id::{CommitId, TreeId};
use crate::track::trouble::Trouble;

/// Characters of a commit's first line that are shown.
const SUBJECT_CHARACTERS_MAX: usize = 200;

/// A commit whose bytes mean one thing only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Id, of exactly the bytes that were read.
    pub id: CommitId,
    /// Root tree.
    pub tree: TreeId,
    /// `Name <mail>`, lossily decoded, for people.
    pub author: String,
    /// First line of its message, without control characters, at most 200 characters; for people.
    pub subject: String,
    /// Committer's time as the commit says, seconds since 1970.
    pub time: i64,
    /// SHA-256 of the raw commit.
    pub sha256: Digest,
    /// Its signature, unverified.
    pub signature: Option<Signed>,
}

/// Reads a raw commit.
///
/// # Errors
/// [`Trouble::CommitMalformed`] with the defect.
pub fn read(id: CommitId, raw: &[u8]) -> Result<Commit, Trouble> {
    let malformed = |defect: &str| Trouble::CommitMalformed {
        commit: id,
        defect: defect.to_owned(),
    };
    let read = commit::Commit::read(raw).map_err(malformed)?;
    let Oid::Sha1(tree) = read.tree else {
        return Err(malformed("a tree of another hash"));
    };
    Ok(Commit {
        id,
        tree: TreeId::from(tree),
        author: read.author,
        subject: subject(&raw[read.message_at..]),
        time: read.time,
        sha256: Digest::of(raw),
        signature: read.signature,
    })
}

/// Whose signature a commit bears at `now` (seconds since 1970), as the log shall say it: the person's name, empty unless
/// verified, and what was found.
#[must_use]
pub fn verdict(
    people: &People,
    id: CommitId,
    signature: Option<&Signed>,
    now: u64,
) -> (String, Verdict) {
    match commit::signer(people, Oid::Sha1(*id.bytes()), signature, now) {
        Ok(signer) => (signer.person().name.clone(), Verdict::Verified),
        Err(AuthorRefusal::Unsigned { .. }) => (String::new(), Verdict::Unsigned),
        Err(
            AuthorRefusal::SignerUnknown { .. }
            | AuthorRefusal::KeyExpired { .. }
            | AuthorRefusal::KeyRevoked { .. },
        ) => (String::new(), Verdict::Unknown),
        Err(_) => (String::new(), Verdict::Bad),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ledger::trust::{Person, PersonKey};
    use proptest::prelude::*;

    const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
    const PARENT: &str = "parent 1111111111111111111111111111111111111111\n";
    const AUTHOR: &str = "author A U Thor <a@example.org> 1700000000 +0100\n";
    const COMMITTER: &str = "committer C O Mitter <c@example.org> 1700000000 -0330\n";
    const SIGNATURE: &str =
        "gpgsig -----BEGIN SSH SIGNATURE-----\n U1NI\n -----END SSH SIGNATURE-----\n";
    /// A commit that git signed, and the key.
    const SIGNED: &str = include_str!("../../../ledger/tests/commits/ssh-ed25519.commit");
    const KEY: &str = include_str!("../../../ledger/tests/commits/ssh-ed25519.pub");

    fn id() -> CommitId {
        CommitId::from([7; 20])
    }

    #[test]
    fn an_ordinary_commit_is_read() {
        let raw = [
            TREE,
            PARENT,
            AUTHOR,
            COMMITTER,
            SIGNATURE,
            "\nmes\x07sage\n",
        ]
        .concat();
        let read = read(id(), raw.as_bytes()).unwrap();
        assert_eq!(read.author, "A U Thor <a@example.org>");
        assert_eq!(
            (read.subject.as_str(), read.time),
            ("message", 1_700_000_000)
        );
        assert!(read.signature.is_some());
        let trouble = super::read(id(), b"x").unwrap_err();
        assert_eq!(trouble.code(), "COMMIT_MALFORMED");
    }

    #[test]
    fn the_log_says_who_signed_or_what_is_wrong() {
        let ada = Person {
            name: "ada".to_owned(),
            keys: vec![PersonKey {
                key: KEY.to_owned(),
                valid_after: None,
                valid_before: None,
            }],
            paths: vec![],
            forge: false,
        };
        let of = |people: &[Person], raw: &str| {
            let read = read(id(), raw.as_bytes()).unwrap();
            let people = People::read(people).unwrap();
            verdict(&people, id(), read.signature.as_ref(), 1_800_000_000)
        };
        let ada = std::slice::from_ref(&ada);
        let nobody = String::new();
        assert_eq!(of(ada, SIGNED), ("ada".to_owned(), Verdict::Verified));
        assert_eq!(of(&[], SIGNED), (nobody.clone(), Verdict::Unknown));
        let other = SIGNED.replace("signed with", "signed by");
        assert_eq!(of(ada, &other), (nobody.clone(), Verdict::Bad));
        let unsigned = [TREE, AUTHOR, COMMITTER, "\nm"].concat();
        assert_eq!(of(ada, &unsigned), (nobody, Verdict::Unsigned));
    }

    proptest! {
        #[test]
        fn a_mutant_that_is_still_read_names_the_same_tree_as_git2(at in 0usize..400, byte in any::<u8>()) {
            let mut raw = [TREE, PARENT, AUTHOR, COMMITTER, SIGNATURE, "\nmessage\n"].concat().into_bytes();
            let at = at % raw.len();
            raw[at] = byte;
            if let Ok(ours) = read(id(), &raw) {
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
