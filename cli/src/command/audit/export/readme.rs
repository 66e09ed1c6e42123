//! How somebody else checks the pack, with our program and without it.

use countersign_ledger::tlog::checkpoint::Checkpoint;

/// A checker on Go's own packages.
pub(super) const GO: &str = include_str!("check.go.txt");
/// Its module.
pub(super) const GO_MOD: &str = "module check\n\ngo 1.24\n\nrequire golang.org/x/mod v0.42.0\n";

pub(super) fn readme(sentence: &str, checkpoint: &Checkpoint, vkey: &str, place: &str) -> String {
    let (sentence, place) = (crate::output::safe(sentence), crate::output::safe(place));
    format!(
        "# Evidence of a Countersign log\n\n{sentence}\n\n\
         | | |\n|---|---|\n| log | `{origin}` |\n| size | {size} |\n| root | `{root}` |\n| key | `{vkey}` |\n\n\
         ## What lies here\n\n\
         - `report.html`: the report, one page.\n\
         - `changes`, `exceptions`, `drift`, `access`, each as `.csv` and `.jsonl`; `summary.json` says of each from which to which \
           index it is complete.\n\
         - `entries/<index>.json`: the exact bytes of each entry that a list names; `entries/<index>.tlog-proof`: its proof \
           (`c2sp.org/tlog-proof@v1`).\n\
         - `checkpoint`, `log.vkey`, `policy` (witnesses and quorum, `tlog-policy`), `trust/<version>.json` (the chain of trust \
           roots).\n\n\
         ## Check it again\n\n\
         First compare the SHA-256 of `trust/1.json` with the one that you were given elsewhere:\n\n\
         ```sh\nsha256sum trust/1.json\n```\n\n\
         With Countersign, on the whole log (`{place}`, or a copy of it):\n\n\
         ```sh\ncountersign audit verify --log {place} --trust trust/1.json --rebuild\n\
         countersign audit consistency --since checkpoint --log {place} --trust trust/1.json\n```\n\n\
         Without it, on Go's own packages (`golang.org/x/mod/sumdb/note` and `tlog`; the program is `check/main.go`, 60 lines):\n\n\
         ```sh\ncd check && go mod tidy && go run . ..\n```\n\n\
         It opens the checkpoint with `log.vkey` and checks the proof of each entry here. The next audit begins with `checkpoint`: \
         keep it.\n",
        origin = checkpoint.origin,
        size = checkpoint.size,
        root = checkpoint.root,
    )
}
