//! `countersign.lock`: what every source from elsewhere is pinned to. Written by `countersign lock`, reviewed like code.
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use crate::document::check::check;
use crate::document::{ApiVersion, GitSource, HelmSource, OciSource};
use crate::mistake::{Mistake, Problem};
use crate::path::RepoPath;
use crate::yaml;

/// Name of the file, at the repository's root.
pub const LOCK_FILE: &str = "countersign.lock";

/// All pins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lock {
    /// Charts of Helm repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<LockedChart>,
    /// Charts of OCI registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<LockedArtifact>,
    /// Other Git repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<LockedRepository>,
}

/// A chart's archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedChart {
    /// As in the App.
    pub repository: String,
    /// As in the App.
    pub chart: String,
    /// As in the App.
    pub version: String,
    /// Where the archive is fetched from.
    #[schemars(extend("format" = "https-url"))]
    pub url: String,
    /// SHA-256 of the archive.
    pub digest: Sha256,
    /// The exact version, where `version` is a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<String>,
    /// Charts that it needs and does not hold; each is pinned here as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<LockedDependency>,
}

/// A chart in an OCI registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedArtifact {
    /// As in the App.
    pub url: String,
    /// As in the App.
    pub version: String,
    /// SHA-256 of the manifest.
    pub digest: Sha256,
    /// The exact version, where `version` is a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<String>,
    /// Charts that it needs and does not hold; each is pinned here as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<LockedDependency>,
}

/// A chart that another one needs; the words of its Chart.yaml (the version that its Chart.lock names, if there is one).
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedDependency {
    /// A Helm repository, or a folder of an OCI registry.
    pub repository: String,
    /// Name of the chart.
    pub chart: String,
    /// Version, or a range of them.
    pub version: String,
}

/// A pin of a chart's archive, wherever it is fetched from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChartPin {
    /// From a Helm repository.
    Chart(LockedChart),
    /// From an OCI registry.
    Artifact(LockedArtifact),
}

impl ChartPin {
    /// What the lock file pins it by.
    pub fn digest(&self) -> &Sha256 {
        match self {
            Self::Chart(pin) => &pin.digest,
            Self::Artifact(pin) => &pin.digest,
        }
    }

    /// Charts that it needs and does not hold.
    pub fn dependencies(&self) -> &[LockedDependency] {
        match self {
            Self::Chart(pin) => &pin.dependencies,
            Self::Artifact(pin) => &pin.dependencies,
        }
    }

    /// Name of the file under which the renderer gets it as a dependency: `charts/redis-1.2.3.tgz`.
    pub fn file_name(&self) -> String {
        let (name, version) = match self {
            Self::Chart(pin) => (&*pin.chart, pin.resolved.as_ref().unwrap_or(&pin.version)),
            Self::Artifact(pin) => (
                pin.url.rsplit('/').next().unwrap_or_default(),
                pin.resolved.as_ref().unwrap_or(&pin.version),
            ),
        };
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || ".+-_".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().map(plain).collect();
        let version: String = version.chars().map(plain).collect();
        format!("charts/{name}-{version}.tgz")
    }
}

impl LockedDependency {
    /// The OCI address, if it comes from a registry.
    pub fn oci(&self) -> Option<String> {
        let registry = self.repository.strip_prefix("oci://")?;
        Some(format!(
            "oci://{}/{}",
            registry.trim_end_matches('/'),
            self.chart
        ))
    }
}

/// A commit of another repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedRepository {
    /// As in the App.
    pub url: String,
    /// As in the App.
    pub r#ref: String,
    /// The commit, in full.
    pub commit: CommitHex,
}

/// `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("pattern" = "^sha256:[0-9a-f]{64}$", "format" = "sha256"))]
pub struct Sha256(String);

/// 40 or 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("pattern" = "^([0-9a-f]{40}|[0-9a-f]{64})$", "format" = "commit"))]
pub struct CommitHex(String);

pub(crate) fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

impl Sha256 {
    /// Takes `sha256:` and 64 small hexadecimal digits.
    pub fn new(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        (hex.len() == 64 && is_hex(hex)).then(|| Self(text.to_owned()))
    }

    /// Of some bytes.
    pub fn of(content: &[u8]) -> Self {
        Self(format!(
            "sha256:{}",
            countersign_ledger::digest::Digest::of(content)
        ))
    }

    /// The 64 digits.
    pub fn hex(&self) -> &str {
        self.0.trim_start_matches("sha256:")
    }
}

impl std::fmt::Display for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl CommitHex {
    /// Takes 40 or 64 small hexadecimal digits.
    pub fn new(text: &str) -> Option<Self> {
        (matches!(text.len(), 40 | 64) && is_hex(text)).then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| {
            serde::de::Error::custom("must be sha256: and 64 small hexadecimal digits")
        })
    }
}

impl<'de> Deserialize<'de> for CommitHex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text)
            .ok_or_else(|| serde::de::Error::custom("must be a full commit id, 40 or 64 digits"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LockDocument {
    api_version: ApiVersion,
    kind: LockKind,
    #[serde(default)]
    spec: Lock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
enum LockKind {
    Lock,
}

impl Lock {
    /// Reads the file.
    ///
    /// # Errors
    /// All mistakes in it.
    pub fn parse(file: &RepoPath, text: &str) -> Result<Self, Vec<Mistake>> {
        let wrong = |line, problem| Mistake {
            file: file.clone(),
            line,
            field: String::new(),
            problem,
        };
        let nodes = yaml::parse(text)
            .map_err(|error| vec![wrong(error.line, Problem::Syntax(error.message))])?;
        let [node] = nodes.as_slice() else {
            let problem = Problem::Other("must be one document".to_owned());
            return Err(vec![wrong(1, problem)]);
        };
        let mistakes = check(&schema_for!(LockDocument).to_value(), node, file);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        serde_json::from_value::<LockDocument>(node.json())
            .map(|document| document.spec)
            .map_err(|error| vec![wrong(node.line, Problem::Other(error.to_string()))])
    }

    /// The file's text; the same pins always give the same text.
    ///
    /// # Errors
    /// Never in practice: the writer's own.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        let mut spec = self.clone();
        spec.charts.sort();
        spec.artifacts.sort();
        spec.repositories.sort();
        let document = LockDocument {
            api_version: ApiVersion::V1Alpha1,
            kind: LockKind::Lock,
            spec,
        };
        // JSON is YAML; indented it reads and merges line by line.
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    /// The pin of a chart.
    pub fn chart(&self, source: &HelmSource) -> Option<&LockedChart> {
        self.charts.iter().find(|pin| {
            pin.repository == source.repository
                && pin.chart == source.chart
                && pin.version == source.version
        })
    }

    /// The pin of an OCI chart.
    pub fn artifact(&self, source: &OciSource) -> Option<&LockedArtifact> {
        self.artifacts
            .iter()
            .find(|pin| pin.url == source.url && pin.version == source.version)
    }

    /// The pin of a chart that another one needs.
    pub fn dependency(&self, needed: &LockedDependency) -> Option<ChartPin> {
        match needed.oci() {
            Some(url) => self
                .artifact(&OciSource {
                    url,
                    version: needed.version.clone(),
                })
                .cloned()
                .map(ChartPin::Artifact),
            None => self
                .chart(&HelmSource {
                    repository: needed.repository.clone(),
                    chart: needed.chart.clone(),
                    version: needed.version.clone(),
                })
                .cloned()
                .map(ChartPin::Chart),
        }
    }

    /// The pin of a repository.
    pub fn repository(&self, source: &GitSource) -> Option<&LockedRepository> {
        self.repositories
            .iter()
            .find(|pin| pin.url == source.url && pin.r#ref == source.r#ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        Lock {
            charts: vec![LockedChart {
                repository: "https://charts.example.org".into(),
                chart: "redis".into(),
                version: "1.2.3".into(),
                url: "https://charts.example.org/redis-1.2.3.tgz".into(),
                digest: Sha256::of(b"x"),
                resolved: None,
                dependencies: vec![],
            }],
            artifacts: vec![],
            repositories: vec![LockedRepository {
                url: "https://git.example.org/x".into(),
                r#ref: "main".into(),
                commit: CommitHex::new(&"a".repeat(40)).unwrap(),
            }],
        }
    }

    #[test]
    fn a_lock_survives_its_file() {
        let text = lock().text().unwrap();
        let file = RepoPath::parse(LOCK_FILE).unwrap();
        assert_eq!(Lock::parse(&file, &text).unwrap(), lock());
    }

    #[test]
    fn a_short_or_other_digest_is_no_pin() {
        let file = RepoPath::parse(LOCK_FILE).unwrap();
        for bad in [
            "sha256:abc",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "latest",
        ] {
            let text = lock()
                .text()
                .unwrap()
                .replace(&Sha256::of(b"x").to_string(), bad);
            assert!(Lock::parse(&file, &text).is_err(), "{bad}");
        }
        let text = lock().text().unwrap().replace(&"a".repeat(40), "main");
        assert!(Lock::parse(&file, &text).is_err());
    }
}
