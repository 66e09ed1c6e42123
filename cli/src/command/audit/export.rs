//! `audit export`: an evidence pack that checks itself without us.

mod page;
mod readme;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::changes::{self, Which};
use super::open::Audit;
use super::{authority, exceptions, verify};
use crate::exit::Failure;
use crate::output::{safe, write};

/// Runs it.
pub fn run(audit: &Audit<'_>, which: &Which, out: &Path) -> Result<(), Failure> {
    let folder = Folder::create(out)?;
    let sentence = verify::sentence(audit);
    let lists = [
        ("changes", changes::changes(audit, which)?),
        ("exceptions", exceptions::exceptions(audit, which)?),
        ("drift", changes::drift(audit, which, false)?),
        ("access", authority::access(audit, which.to)?),
    ];
    let mut entries: BTreeSet<u64> = BTreeSet::new();
    for (name, answer) in &lists {
        folder.put(&format!("{name}.csv"), answer.csv().as_bytes())?;
        folder.put(&format!("{name}.jsonl"), answer.jsonl()?.as_bytes())?;
        entries.extend(answer.entries());
    }
    audit.write_proofs(&out.join("entries"), &entries)?;
    folder.put("checkpoint", &audit.log.head().bytes())?;
    for root in audit.trust.roots.iter() {
        folder.put(&format!("trust/{}.json", root.version()), root.bytes())?;
    }
    let vkey = audit.trust.vkey()?.to_string();
    folder.put("log.vkey", format!("{vkey}\n").as_bytes())?;
    let policy = audit.trust.roots.newest().document().witnesses.as_ref();
    let policy = policy.map_or_else(
        || format!("log {vkey}\n"),
        |witnesses| format!("log {vkey}\n{}", witnesses.policy),
    );
    folder.put("policy", policy.as_bytes())?;
    let summary = json!({
        "sentence": sentence,
        "entries": entries.len(),
        "lists": lists.iter().map(|(name, answer)| (*name, answer.value()["basis"].clone())).collect::<Vec<_>>(),
    });
    let summary = serde_json::to_vec_pretty(&summary).map_err(|e| Failure::Fault(e.to_string()))?;
    folder.put("summary.json", &summary)?;
    let page = page::page(
        &sentence,
        &lists.iter().map(|(_, answer)| answer).collect::<Vec<_>>(),
    );
    folder.put("report.html", page.as_bytes())?;
    let head = audit.log.head();
    let readme = readme::readme(&sentence, &head.checkpoint, &vkey, &audit.log.place());
    folder.put("README.md", readme.as_bytes())?;
    folder.put("check/main.go", readme::GO.as_bytes())?;
    folder.put("check/go.mod", readme::GO_MOD.as_bytes())?;
    let place = safe(&out.display().to_string());
    let told = format!(
        "{} entries with their proofs, four lists and a report: {place}\n",
        entries.len()
    );
    write(&mut std::io::stdout(), &told)
}

struct Folder<'f>(&'f Path);

impl<'f> Folder<'f> {
    fn create(path: &'f Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(path).map_err(|e| Failure::file(path, &e))?;
        let mut inside = std::fs::read_dir(path).map_err(|e| Failure::file(path, &e))?;
        if inside.next().is_some() {
            let place = safe(&path.display().to_string());
            return Err(Failure::Mistake(format!("{place} is not empty")));
        }
        Ok(Self(path))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.0.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Failure::file(folder, &e))?;
        }
        std::fs::write(&path, bytes).map_err(|e| Failure::file(&path, &e))
    }
}
