//! Every row of the list has an entry in `README.md`, and every test that an entry names is there.

use std::collections::{BTreeMap, BTreeSet};

use countersign_tests::workspace;

/// The rows, each by its section and the first name in it.
const ROWS: [&str; 64] = [
    "1.1 CVE-2026-45022",
    "1.1 CVE-2026-44310",
    "1.1 argo-cd#7377",
    "1.1 RUSTSEC-2023-0002",
    "1.1 CVE-2025-21613",
    "1.1 CVE-2026-55797",
    "1.1 CVE-2023-49569",
    "1.1 CVE-2024-32002",
    "1.1 CVE-2023-49568",
    "1.1 RUSTSEC-2025-0021",
    "1.1 CVE-2026-41506",
    "1.1 argo-cd#1142",
    "1.1 CVE-2025-59531",
    "1.1 CVE-2026-44937",
    "1.1 CVE-2026-40109",
    "1.1 CVE-2026-44544",
    "1.1 RUSTSEC-2024-0447",
    "1.1 CVE-2024-31216",
    "1.2 repo-server RCE",
    "1.2 CVE-2022-24348",
    "1.2 CVE-2022-24731",
    "1.2 CVE-2019-18658",
    "1.2 CVE-2025-32386",
    "1.2 CVE-2022-23524",
    "1.2 CVE-2023-25165",
    "1.2 CVE-2026-41050",
    "1.2 CVE-2025-53547",
    "1.2 dependency confusion",
    "1.2 Kustomize remote bases",
    "1.2 CVE-2021-41254",
    "1.2 CVE-2022-24878",
    "1.2 CVE-2019-11253",
    "1.2 CVE-2022-31016",
    "1.2 CVE-2023-50726",
    "1.2 CVE-2024-32476",
    "1.2 CVE-2023-34236",
    "1.3 CVE-2026-77459",
    "1.3 CVE-2022-1025",
    "1.3 CVE-2026-44938",
    "1.3 CVE-2025-46342",
    "1.3 policies guard no policies",
    "1.3 CVE-2023-2727",
    "1.3 CVE-2026-31892",
    "1.3 CVE-2026-4789",
    "1.4 CVE-2026-56865",
    "1.4 CVE-2026-56864",
    "1.4 CVE-2022-36111",
    "1.4 CVE-2022-36056",
    "1.4 CVE-2026-49834",
    "1.4 CVE-2026-23992",
    "1.4 CVE-2026-54787",
    "1.4 CVE-2022-29173",
    "1.4 GHSA-3633-5h82-39pq",
    "1.4 CVE-2026-24137",
    "1.4 CVE-2026-39395",
    "1.4 CVE-2024-45395",
    "1.4 RUSTSEC-2022-0093",
    "1.4 CVE-2026-35172",
    "1.4 tessera#1189",
    "1.10 rights",
    "1.10 pods",
    "1.10 credentials",
    "1.10 listeners",
    "1.10 webhooks",
];

fn entries() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(workspace::root().join("tests/threats/README.md")).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("| 1."))
        .map(|line| {
            let (row, tests) = line.split_once(" | ").unwrap_or_else(|| panic!("{line}"));
            (format!("1.{row}"), tests.to_owned())
        })
        .collect()
}

/// What stands in backticks: `path::function`.
fn named(tests: &str) -> impl Iterator<Item = &str> {
    tests.split('`').skip(1).step_by(2)
}

#[test]
fn every_row_of_the_list_has_an_entry() {
    let entries = entries();
    let (rows, known): (BTreeSet<&str>, BTreeSet<&str>) = (
        ROWS.into_iter().collect(),
        entries.keys().map(String::as_str).collect(),
    );
    assert_eq!(known, rows);
    for (row, tests) in &entries {
        assert!(
            named(tests).next().is_some() || tests.starts_with("not built yet: "),
            "{row}: names neither a test nor what is not built yet"
        );
    }
}

#[test]
fn every_test_that_an_entry_names_is_there() {
    for (row, tests) in entries() {
        for test in named(&tests) {
            let (file, function) = test
                .split_once("::")
                .unwrap_or_else(|| panic!("{row}: {test}"));
            let text = std::fs::read_to_string(workspace::root().join(file))
                .unwrap_or_else(|error| panic!("{row}: {file}: {error}"));
            let found = ["fn ", "func "]
                .iter()
                .any(|word| text.contains(&format!("{word}{function}(")));
            assert!(found, "{row}: there is no {function} in {file}");
        }
    }
}
