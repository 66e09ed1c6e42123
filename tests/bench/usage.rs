//! What the kernel says of a process: memory and CPU time, from `/proc`; and what a folder takes on disk.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Ticks of `/proc/<pid>/stat` in a second: the same on every Linux that we build for.
const TICKS: f64 = 100.0;

/// Memory, MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Memory {
    /// Anonymous and resident: what the program itself has taken.
    pub(crate) anonymous: f64,
    /// All that is resident, its code included.
    pub(crate) resident: f64,
}

/// The memory of one process.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    parse_memory(&fs::read_to_string(&path).with_context(|| path.clone())?).context(path)
}

fn parse_memory(text: &str) -> Option<Memory> {
    let mib = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024.0)
    };
    Some(Memory {
        anonymous: mib("Anonymous:")?,
        resident: mib("Rss:")?,
    })
}

/// CPU seconds that a process has used, and those of the processes that it started and that still run.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<f64> {
    let mut sum = own_cpu(pid)?;
    for child in children(pid)? {
        // A child may end while it is looked at.
        sum += cpu(child).unwrap_or_default();
    }
    Ok(sum)
}

fn own_cpu(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let field = |number: usize| field(&text, number).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = (field(14), field(15));
    Ok((user.context("no user time")? + system.context("no system time")?) / TICKS)
}

/// CPU seconds of the processes that this one started, and that have ended.
pub(crate) fn ended() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let field = |number: usize| field(&text, number).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = (field(16), field(17));
    Ok((user.context("no user time")? + system.context("no system time")?) / TICKS)
}

/// Processes that it started.
pub(crate) fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(other) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(text) = fs::read_to_string(format!("/proc/{other}/stat")) else {
            continue;
        };
        if field(&text, 4) == Some(pid.to_string().as_str()) {
            found.push(other);
        }
    }
    Ok(found)
}

/// Bytes of all files below a folder.
pub(crate) fn on_disk(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let known = entry.metadata()?;
        sum += if known.is_dir() {
            on_disk(&entry.path())?
        } else {
            known.len()
        };
    }
    Ok(sum)
}

/// A field of `/proc/<pid>/stat` by its number in proc(5), from the third on: the second, a name, may hold anything.
fn field(text: &str, number: usize) -> Option<&str> {
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "12 (a (b) c) S 7 12 12 0 -1 4194304 1 0 0 0 250 50 0 0";
        assert_eq!(field(stat, 4), Some("7"));
        assert_eq!(
            (field(stat, 14), field(stat, 15)),
            (Some("250"), Some("50"))
        );
        assert_eq!(field(stat, 99), None);
    }

    #[test]
    fn anonymous_and_resident_memory_are_told_apart() {
        let text =
            "00 ---p [rollup]\nRss:               2048 kB\nPss: 9 kB\nAnonymous:         1024 kB\n";
        let want = Memory {
            anonymous: 1.0,
            resident: 2.0,
        };
        assert_eq!(parse_memory(text), Some(want));
    }

    #[test]
    fn this_process_has_memory_and_has_used_the_cpu() {
        let me = std::process::id();
        assert!(memory(me).unwrap().resident > 0.1);
        assert!(cpu(me).unwrap() >= 0.0);
    }
}
