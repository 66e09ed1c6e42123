use super::*;
use proptest::prelude::*;

const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
const PARENT: &str = "parent 1111111111111111111111111111111111111111\n";
const AUTHOR: &str = "author A U Thor <a@example.org> 1700000000 +0100\n";
const COMMITTER: &str = "committer C O Mitter <c@example.org> 1700000000 -0330\n";
const SIGNATURE: &str =
    "gpgsig -----BEGIN SSH SIGNATURE-----\n U1NI\n -----END SSH SIGNATURE-----\n";

fn commit(parts: &[&str]) -> Result<Commit, &'static str> {
    Commit::read(parts.concat().as_bytes())
}

#[test]
fn an_ordinary_commit_is_read() {
    let read = commit(&[TREE, PARENT, AUTHOR, COMMITTER, SIGNATURE, "\nmessage\n"]).unwrap();
    assert_eq!(read.author, "A U Thor <a@example.org>");
    assert_eq!(read.time, 1_700_000_000);
    assert_eq!(read.parents.len(), 1);
    assert!(read.signature.is_some());
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
fn what_was_signed_is_the_commit_less_its_signature_wherever_it_stands() {
    let plain = [
        TREE,
        PARENT,
        AUTHOR,
        COMMITTER,
        "encoding x\n",
        "\nmessage\n",
    ]
    .concat();
    for parts in [
        [
            TREE,
            PARENT,
            AUTHOR,
            COMMITTER,
            SIGNATURE,
            "encoding x\n",
            "\nmessage\n",
        ],
        [
            TREE,
            PARENT,
            AUTHOR,
            COMMITTER,
            "encoding x\n",
            SIGNATURE,
            "\nmessage\n",
        ],
    ] {
        let signed = commit(&parts).unwrap().signature.unwrap();
        assert_eq!(signed.payload, plain.as_bytes());
        assert_eq!(
            signed.armour,
            "-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----\n"
        );
    }
}

#[test]
fn a_signature_counts_as_a_header_alone() {
    for parts in [
        &[TREE, AUTHOR, COMMITTER, "\n", SIGNATURE][..],
        &[
            TREE,
            AUTHOR,
            COMMITTER,
            "mergetag object x\n gpgsig y\n",
            "\nm",
        ],
        &[TREE, AUTHOR, COMMITTER, "GPGSIG x\n", "\nm"],
    ] {
        assert_eq!(commit(parts).unwrap().signature, None, "{parts:?}");
    }
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
        &[
            TREE,
            AUTHOR,
            COMMITTER,
            SIGNATURE,
            "gpgsig-sha256 x\n",
            "\nm",
        ],
        &[TREE, AUTHOR, COMMITTER, "gpgsig-sha256 x\n", "\nm"],
        &[TREE, AUTHOR, COMMITTER, "gpgsig \u{e9}\n", "\nm"],
        &[TREE, SIGNATURE, AUTHOR, COMMITTER, "\nm"],
        &[SIGNATURE, TREE, AUTHOR, COMMITTER, "\nm"],
        &[TREE, AUTHOR, PARENT, COMMITTER, "\nm"],
        &[TREE, AUTHOR, COMMITTER, other_tree, "\nm"],
        &[AUTHOR, COMMITTER, "\nm"],
        &[TREE, COMMITTER, "\nm"],
        &[TREE, AUTHOR, "\nm"],
        &[TREE, " odd continuation\n", AUTHOR, COMMITTER, "\nm"],
        &[TREE, AUTHOR, " odd continuation\n", COMMITTER, "\nm"],
        &[TREE, AUTHOR, COMMITTER, "encoding x\n continued\n", "\nm"],
        &[" x\n", TREE, AUTHOR, COMMITTER, "\nm"],
        &[TREE, AUTHOR, COMMITTER, "\nnul \0 in message"],
        &[
            "tree\r 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n",
            AUTHOR,
            COMMITTER,
            "\nm",
        ],
        &[
            "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\r\n",
            AUTHOR,
            COMMITTER,
            "\nm",
        ],
        &[
            TREE,
            AUTHOR,
            COMMITTER,
            "gpgsig -----BEGIN SSH SIGNATURE-----\r\n U1NI\n",
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
        &[
            "tree 6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321\n",
            AUTHOR,
            COMMITTER,
            "\nm",
        ],
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
        &["\n\n"],
        &[],
    ];
    for parts in malformed {
        assert!(commit(parts).is_err(), "{parts:?}");
    }
}

#[test]
fn a_commit_of_a_repository_with_sha_256_has_its_own_header() {
    let id = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321";
    let raw = format!("tree {id}\nparent {id}\n{AUTHOR}{COMMITTER}gpgsig-sha256 x\n y\n\nm");
    let read = Commit::read_as(HashKind::Sha256, raw.as_bytes()).unwrap();
    assert_eq!(read.parents, [read.tree]);
    assert_eq!(read.signature.unwrap().armour, "x\ny\n");
    assert!(Commit::read(raw.as_bytes()).is_err());
    let sha1 = [TREE, AUTHOR, COMMITTER, "\nm"].concat();
    assert!(Commit::read_as(HashKind::Sha256, sha1.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Commit::read(&raw);
    }

    #[test]
    fn a_mutant_is_refused_or_signature_and_payload_are_the_whole_of_it(at in 0usize..400, byte in any::<u8>()) {
        let mut raw = [TREE, PARENT, AUTHOR, COMMITTER, SIGNATURE, "\nmessage\n"].concat().into_bytes();
        let at = at % raw.len();
        raw[at] = byte;
        if let Ok(read) = Commit::read(&raw)
            && let Some(signed) = read.signature
        {
            let header = format!("gpgsig {}", signed.armour.trim_end_matches('\n').replace('\n', "\n "));
            prop_assert_eq!(signed.payload.len() + header.len() + 1, raw.len());
        }
    }
}
