//! What a chart's archive says of itself, read while a lock is written. The renderer checks every archive anew and in
//! full before it uses it.
use std::collections::BTreeSet;
use std::io::Read as _;

use super::dependency::{Dependency, Wrong, outside, read};

/// Largest archive that is fetched, packed.
pub const ARCHIVE_BYTES_MAX: u64 = 64 << 20;
/// Largest archive, unpacked.
const UNPACKED_BYTES_MAX: u64 = 64 << 20;
/// Most entries.
const ENTRIES_MAX: usize = 20_000;
/// Largest Chart.yaml.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;

/// Why an archive is no chart's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It is damaged, or no chart.
    Damaged(&'static str),
    /// More comes out of it than is taken.
    TooLarge,
    /// Its description has a mistake.
    Wrong(Wrong),
}

/// The charts that a chart's archive needs and does not hold.
///
/// # Errors
/// [`Unfit`]
pub fn dependencies(archive: &[u8]) -> Result<Vec<Dependency>, Unfit> {
    let unpacked = flate2::read::GzDecoder::new(archive).take(UNPACKED_BYTES_MAX + 1);
    let mut reader = tar::Archive::new(unpacked);
    let (mut description, mut lock, mut charts) = (None, None, BTreeSet::new());
    let damaged = |_| Unfit::Damaged("is no archive of a chart, or damaged");
    let (mut count, mut broken) = (0, false);
    {
        for entry in reader.entries().map_err(damaged)? {
            // What ends at the limit looks damaged; which of the two it was is asked below.
            let Ok(mut entry) = entry else {
                broken = true;
                break;
            };
            count += 1;
            if count > ENTRIES_MAX {
                return Err(Unfit::TooLarge);
            }
            let path = entry.path_bytes().into_owned();
            let path = String::from_utf8_lossy(&path).into_owned();
            let mut names = path.trim_end_matches('/').split('/').skip(1);
            let keep = match (names.next(), names.next(), names.next()) {
                (Some("charts"), Some(name), _) => {
                    charts.insert(name.to_owned());
                    continue;
                }
                (Some("Chart.yaml"), None, None) => &mut description,
                (Some("Chart.lock"), None, None) => &mut lock,
                _ => continue,
            };
            let mut text = String::new();
            let read = entry
                .by_ref()
                .take(DESCRIPTION_BYTES_MAX)
                .read_to_string(&mut text);
            read.map_err(damaged)?;
            *keep = Some(text);
        }
    }
    let mut unpacked = reader.into_inner();
    let rest = std::io::copy(&mut unpacked, &mut std::io::sink());
    if unpacked.limit() == 0 {
        return Err(Unfit::TooLarge);
    }
    rest.map_err(damaged)?;
    if broken {
        return Err(Unfit::Damaged("is no archive of a chart, or damaged"));
    }
    let Some(description) = description else {
        return Err(Unfit::Damaged("holds no Chart.yaml"));
    };
    let all = read(&description, lock.as_deref()).map_err(Unfit::Wrong)?;
    let charts: Vec<&str> = charts.iter().map(String::as_str).collect();
    Ok(outside(all, &charts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::chart;

    #[test]
    fn what_an_archive_needs_is_read_from_it() {
        let description = "name: a\nversion: 1.0.0\ndependencies:\n- {name: b, version: 1.0.0, repository: 'https://x.example.org'}\n- {name: c, version: 1.0.0, repository: 'https://x.example.org'}\n";
        let archive = chart(&[
            ("a/Chart.yaml", description),
            ("a/charts/c/Chart.yaml", "name: c"),
        ]);
        let needed = dependencies(&archive).unwrap();
        assert_eq!(needed.len(), 1);
        assert_eq!(needed[0].chart, "b");
        assert_eq!(
            dependencies(b"text"),
            Err(Unfit::Damaged("is no archive of a chart, or damaged"))
        );
        assert_eq!(
            dependencies(&chart(&[("a/x", "")])),
            Err(Unfit::Damaged("holds no Chart.yaml"))
        );
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let zeros = "0".repeat(80 << 20);
        let bomb = chart(&[("a/Chart.yaml", "name: a"), ("a/zeros", &zeros)]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(dependencies(&bomb), Err(Unfit::TooLarge));
        let bomb = chart(&[("a/zeros", &zeros), ("a/Chart.yaml", "name: a")]);
        assert_eq!(dependencies(&bomb), Err(Unfit::TooLarge));
    }
}
