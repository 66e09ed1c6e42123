//! What may stand in Cargo.lock.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Complaint;

const LOCK: &str = "Cargo.lock";

/// Never, by any path.
const BANNED: [(&str, &str); 6] = [
    (
        "aws-lc-rs",
        "cryptography is ring's alone: turn its default feature off where it comes from",
    ),
    (
        "aws-lc-sys",
        "cryptography is ring's alone: turn its default feature off where it comes from",
    ),
    (
        "openssl-sys",
        "no system library: choose rustls where it comes from",
    ),
    (
        "openssl",
        "no system library: choose rustls where it comes from",
    ),
    (
        "native-tls",
        "no system library: choose rustls where it comes from",
    ),
    ("serde_yaml", "unmaintained: use serde-saphyr"),
];

/// Types of these cross crates: two versions do not fit together, and double the code.
const ONCE: [&str; 9] = [
    "hyper",
    "http",
    "http-body",
    "h2",
    "rustls",
    "tokio",
    "prost",
    "tonic",
    "kube-client",
];

/// Features of serde_json that change what every crate reads and writes.
const BANNED_FEATURES: [&str; 2] = ["preserve_order", "arbitrary_precision"];

/// Without it a float may be read one unit off in its last place. Crates that tests alone use turn it on, so it has to be on
/// in what ships, or tests and releases would sign different bytes for the same number.
const NEEDED_FEATURE: &str = "float_roundtrip";

/// What `ledger` and `health` may not reach, however far away.
const IO: [&str; 7] = [
    "tokio",
    "kube",
    "hyper",
    "reqwest",
    "git2",
    "object_store",
    "rusqlite",
];

#[derive(Debug, Deserialize)]
pub(super) struct Lock {
    package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

pub(super) fn parse(text: &str) -> anyhow::Result<Lock> {
    Ok(toml::from_str(text)?)
}

/// Banned crates, and crates in more than one version.
pub(super) fn check(lock: &Lock) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &lock.package {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
        if let Some((name, way_out)) = BANNED.iter().find(|(name, _)| *name == package.name) {
            complaints.push(Complaint::new(
                LOCK,
                0,
                format!("{name} is in; {way_out} (cargo tree -i {name})"),
            ));
        }
    }
    for name in ONCE {
        let found = versions.get(name).map_or(&[][..], Vec::as_slice);
        if found.len() > 1 {
            let found = found.join(" and ");
            complaints.push(Complaint::new(
                LOCK,
                0,
                format!("{name} is in twice ({found}); bring its users to one version (cargo tree -i {name})"),
            ));
        }
    }
    complaints
}

/// Pure crates must stay so through everything that they depend on.
pub(super) fn purity(lock: &Lock) -> Vec<Complaint> {
    let by_name: BTreeMap<&str, Vec<&Package>> =
        lock.package
            .iter()
            .fold(BTreeMap::new(), |mut map, package| {
                map.entry(package.name.as_str())
                    .or_insert_with(Vec::new)
                    .push(package);
                map
            });
    let mut complaints = Vec::new();
    for pure in ["ledger", "health"] {
        let start = format!("countersign-{pure}");
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = vec![&start];
        while let Some(name) = next.pop() {
            for package in by_name.get(name).into_iter().flatten() {
                for dependency in &package.dependencies {
                    // "name", or "name version" where there are several
                    let dependency = dependency.split(' ').next().unwrap_or(dependency);
                    if seen.insert(dependency) {
                        next.push(dependency);
                    }
                }
            }
        }
        for io in IO.iter().filter(|io| seen.contains(*io)) {
            complaints.push(Complaint::new(
                LOCK,
                0,
                format!(
                    "{pure} reaches {io}, so it is no longer pure (cargo tree -p {start} -i {io})"
                ),
            ));
        }
    }
    complaints
}

/// `features` is what `cargo tree --format {f}` says of serde_json.
pub(super) fn features(features: &str) -> Vec<Complaint> {
    let features: BTreeSet<&str> = features.split([',', '\n']).map(str::trim).collect();
    let complain = |problem: String| Complaint::new(LOCK, 0, problem);
    let mut complaints: Vec<Complaint> = BANNED_FEATURES
        .iter()
        .filter(|feature| features.contains(*feature))
        .map(|feature| {
            complain(format!(
                "serde_json has feature {feature}, for all crates at once; find who asks: cargo tree -e features -i serde_json"
            ))
        })
        .collect();
    if !features.contains(NEEDED_FEATURE) {
        complaints.push(complain(format!(
            "serde_json lacks feature {NEEDED_FEATURE}; ask for it in the root Cargo.toml"
        )));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str, &[&str])]) -> Lock {
        Lock {
            package: packages
                .iter()
                .map(|(name, version, dependencies)| Package {
                    name: (*name).to_owned(),
                    version: (*version).to_owned(),
                    dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
                })
                .collect(),
        }
    }

    #[test]
    fn a_second_version_of_a_shared_crate_is_named() {
        let complaints = check(&lock(&[
            ("http", "0.2.1", &[]),
            ("http", "1.5.0", &[]),
            ("rand", "0.8.0", &[]),
            ("rand", "0.9.0", &[]),
        ]));
        assert_eq!(complaints.len(), 1);
        assert!(
            complaints[0]
                .to_string()
                .contains("http is in twice (0.2.1 and 1.5.0)")
        );
    }

    #[test]
    fn banned_crates_are_named_with_a_way_out() {
        let complaints = check(&lock(&[("aws-lc-rs", "1.0.0", &[])]));
        assert!(
            complaints[0]
                .to_string()
                .contains("cryptography is ring's alone")
        );
    }

    #[test]
    fn io_far_below_a_pure_crate_is_found() {
        let packages: &[(&str, &str, &[&str])] = &[
            ("countersign-ledger", "0.1.0", &["a 1.0.0"]),
            ("a", "1.0.0", &["b"]),
            ("b", "1.0.0", &["tokio"]),
            ("tokio", "1.0.0", &[]),
        ];
        let complaints = purity(&lock(packages));
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].to_string().contains("ledger reaches tokio"));
    }

    #[test]
    fn features_that_change_json_everywhere_are_refused() {
        assert!(features("alloc,default,float_roundtrip,raw_value,std\n").is_empty());
        assert_eq!(features("default,float_roundtrip,preserve_order").len(), 1);
        assert_eq!(features("default").len(), 1);
    }
}
