//! What a tool is made of, as one digest: the name of its build.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// Hex digits of a digest that name a folder.
const DIGITS: usize = 16;

/// The digest of every file that can go into the program: go.mod, go.sum, sources and what they embed. Tests,
/// `testdata` and prose can't.
///
/// # Errors
/// If a file can't be read.
pub(super) fn of_module(module: &Path) -> anyhow::Result<String> {
    let mut files = files(module).with_context(|| format!("list {}", module.display()))?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let content = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(module)?.to_string_lossy().into_owned();
        // Lengths keep (name, content) pairs apart.
        for part in [name.as_bytes(), &content] {
            hash.update(u64::try_from(part.len())?.to_le_bytes());
            hash.update(part);
        }
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        write!(text, "{byte:02x}")?;
    }
    text.truncate(DIGITS);
    Ok(text)
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            if name != "testdata" && name != "target" && !name.starts_with('.') {
                found.extend(files(&entry.path())?);
            }
        } else if !name.ends_with("_test.go") && !name.ends_with(".md") && !name.starts_with('.') {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(files: &[(&str, &str)]) -> String {
        let module = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = module.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        of_module(module.path()).unwrap()
    }

    #[test]
    fn follows_sources_and_pins_and_nothing_else() {
        let plain = digest_of(&[("go.mod", "m"), ("main.go", "a")]);
        assert_eq!(plain.len(), DIGITS);
        for (changes, files) in [
            (true, vec![("go.mod", "m2"), ("main.go", "a")]),
            (true, vec![("go.mod", "m"), ("main.go", "b")]),
            (
                true,
                vec![("go.mod", "m"), ("main.go", "a"), ("sub/x.go", "x")],
            ),
            (
                true,
                vec![("go.mod", "m"), ("main.go", "a"), ("embedded.yaml", "x")],
            ),
            (true, vec![("go.mod", "ma"), ("main.go", "")]),
            (
                false,
                vec![("go.mod", "m"), ("main.go", "a"), ("main_test.go", "t")],
            ),
            (
                false,
                vec![("go.mod", "m"), ("main.go", "a"), ("testdata/x.go", "t")],
            ),
            (
                false,
                vec![("go.mod", "m"), ("main.go", "a"), ("README.md", "t")],
            ),
        ] {
            assert_eq!(digest_of(&files) != plain, changes, "{files:?}");
        }
    }
}
