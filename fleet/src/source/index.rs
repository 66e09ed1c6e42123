//! `index.yaml` of a Helm repository: which archive a version is, and its digest. Read only while a lock is written.
use std::collections::BTreeMap;

use serde::Deserialize;

use super::lock::Sha256;
use super::range::{Range, version};

/// Largest index that is read; the largest public ones have about 20 MiB.
pub const INDEX_BYTES_MAX: u64 = 32 << 20;
/// Most values in an index.
const NODES_MAX: usize = 8_000_000;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    entries: BTreeMap<String, Vec<Listed>>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    version: String,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    urls: Vec<String>,
}

/// One version of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its version.
    pub version: String,
    /// Where its archive is, relative to the index or absolute.
    pub url: String,
    /// SHA-256 of the archive.
    pub digest: Sha256,
}

/// Why an index does not say what a chart is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexProblem {
    /// Not an index.
    #[error("its index.yaml can't be read (line {line})")]
    Unreadable {
        /// From 1; 0 if unknown.
        line: u64,
    },
    /// No such chart.
    #[error("there is no chart {chart} in its index.yaml")]
    NoChart {
        /// Its name.
        chart: String,
    },
    /// No such version.
    #[error("chart {chart} has no version {version}; the newest is {newest}")]
    NoVersion {
        /// The chart.
        chart: String,
        /// What was asked for.
        version: String,
        /// What there is.
        newest: String,
    },
    /// The version asked for is no version or range.
    #[error("{0}")]
    Range(String),
    /// Nothing can be pinned.
    #[error(
        "chart {chart} {version} has no SHA-256 digest in its index.yaml, so it can't be pinned"
    )]
    NoDigest {
        /// The chart.
        chart: String,
        /// Its version.
        version: String,
    },
    /// Nothing can be fetched.
    #[error("chart {chart} {version} has no address in its index.yaml")]
    NoAddress {
        /// The chart.
        chart: String,
        /// Its version.
        version: String,
    },
}

/// The newest version of a chart that fits.
///
/// # Errors
/// [`IndexProblem`]
pub fn find(index: &[u8], chart: &str, wanted: &str) -> Result<Entry, IndexProblem> {
    let range = Range::parse(wanted).map_err(IndexProblem::Range)?;
    let mut index = read(index)?;
    let all = index
        .entries
        .remove(chart)
        .ok_or_else(|| IndexProblem::NoChart {
            chart: chart.to_owned(),
        })?;
    let mut known: Vec<_> = all
        .into_iter()
        .filter_map(|listed| Some((version(&listed.version)?, listed)))
        .collect();
    known.sort_by(|a, b| b.0.cmp(&a.0));
    let newest = known
        .first()
        .map_or("none", |(_, listed)| &listed.version)
        .to_owned();
    let exact = known
        .iter()
        .position(|(_, listed)| listed.version == wanted);
    let at = exact.or_else(|| known.iter().position(|(version, _)| range.matches(version)));
    let Some(listed) = at.map(|at| known.swap_remove(at).1) else {
        return Err(IndexProblem::NoVersion {
            chart: chart.to_owned(),
            version: wanted.to_owned(),
            newest,
        });
    };
    let (name, found) = (chart.to_owned(), listed.version.clone());
    let digest = listed.digest.unwrap_or_default();
    let digest = digest
        .strip_prefix("sha256:")
        .unwrap_or(&digest)
        .to_ascii_lowercase();
    let Some(digest) = Sha256::new(&format!("sha256:{digest}")) else {
        return Err(IndexProblem::NoDigest {
            chart: name,
            version: found,
        });
    };
    let Some(url) = listed.urls.into_iter().next() else {
        return Err(IndexProblem::NoAddress {
            chart: name,
            version: found,
        });
    };
    Ok(Entry {
        version: found,
        url,
        digest,
    })
}

fn read(index: &[u8]) -> Result<Index, IndexProblem> {
    let text = std::str::from_utf8(index).map_err(|_| IndexProblem::Unreadable { line: 0 })?;
    let mut options = serde_saphyr::Options::default();
    options.with_snippet = false;
    if let Some(budget) = options.budget.as_mut() {
        budget.max_nodes = NODES_MAX;
        budget.max_events = NODES_MAX * 2;
        budget.max_aliases = 0;
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| IndexProblem::Unreadable {
        line: error.location().map_or(0, |at| at.line()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "apiVersion: v1
entries:
  redis:
  - {version: 1.2.3, digest: aaaa, urls: [redis-1.2.3.tgz], created: 2026-01-01T00:00:00Z, appVersion: 1.10}
  - {version: 1.10.0, digest: SHA, urls: ['https://cdn.example.org/redis-1.10.0.tgz']}
  - {version: 2.0.0-rc.1, digest: SHA, urls: [x.tgz]}
  - {version: 1.9.0, urls: [y.tgz]}
  - {version: 1.8.0, digest: SHA, urls: []}
";

    fn look(wanted: &str) -> Result<Entry, IndexProblem> {
        let index = INDEX.replace("SHA", &"AB".repeat(32));
        find(index.as_bytes(), "redis", wanted)
    }

    #[test]
    fn the_newest_version_that_fits_is_found_by_number_and_not_by_letter() {
        let found = look("^1.2").unwrap();
        assert_eq!(
            (found.version.as_str(), found.digest.hex()),
            ("1.10.0", &*"ab".repeat(32))
        );
        assert_eq!(look("2.0.0-rc.1").unwrap().url, "x.tgz");
    }

    #[test]
    fn what_has_no_sha_256_is_refused() {
        for version in ["1.2.3", "1.9.0"] {
            assert!(
                matches!(look(version), Err(IndexProblem::NoDigest { .. })),
                "{version}"
            );
        }
        assert!(matches!(look("1.8.0"), Err(IndexProblem::NoAddress { .. })));
        let error = look("3.0.0").unwrap_err().to_string();
        assert_eq!(
            error,
            "chart redis has no version 3.0.0; the newest is 2.0.0-rc.1"
        );
        assert!(find(b"entries: {a: [", "a", "1.0.0").is_err());
        assert!(find(b"entries: {}", "a", "1.0.0").is_err());
    }

    #[test]
    fn an_index_of_aliases_is_no_index() {
        let bomb = b"a: &a [x,x,x]\nb: &b [*a,*a,*a]\nentries: {}\n";
        assert!(find(bomb, "a", "1.0.0").is_err());
    }
}
