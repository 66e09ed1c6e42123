//! What an agent must know of each app.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Line, ManifestError};
use crate::json::{self, Limits};
use crate::limits::{APPS_BYTES_MAX, OBJECT_DEPTH_MAX};

const PLACE: &str = "apps";

/// One app of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppEntry {
    /// Its name, unique in the fleet.
    pub name: String,
    /// The commit of its last good render.
    pub commit: String,
    /// Apps that must be healthy first.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Whether fields that others add are removed.
    #[serde(default)]
    pub exclusive: bool,
    /// Health rules of its own, as data.
    #[serde(default)]
    pub health_rules: Vec<Value>,
}

/// The apps of a cluster, sorted by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Apps(Vec<AppEntry>);

#[derive(Serialize, Deserialize)]
struct Wire {
    apps: Vec<AppEntry>,
}

impl Apps {
    /// Sorts `apps`; no name may stand twice.
    pub fn new(mut apps: Vec<AppEntry>) -> Result<Self, ManifestError> {
        apps.sort_by(|a, b| a.name.cmp(&b.name));
        let apps = Self(apps);
        apps.check()?;
        Ok(apps)
    }

    fn check(&self) -> Result<(), ManifestError> {
        for (app, next) in self.0.iter().zip(self.0.iter().skip(1)) {
            if app.name >= next.name {
                return Err(ManifestError::AppTwice(next.name.clone()));
            }
        }
        if self.0.iter().any(|app| app.name.is_empty()) {
            return Err(ManifestError::Shape {
                place: PLACE,
                problem: "an app has no name".into(),
            });
        }
        Ok(())
    }

    /// The canonical bytes of the blob.
    pub fn bytes(&self) -> Result<Vec<u8>, ManifestError> {
        let value = serde_json::to_value(Wire {
            apps: self.0.clone(),
        })
        .map_err(|error| ManifestError::Shape {
            place: PLACE,
            problem: error.to_string(),
        })?;
        let bytes = json::canonical(&value).map_err(|error| ManifestError::Json {
            place: PLACE,
            error,
        })?;
        if bytes.len() > APPS_BYTES_MAX {
            let (got, max) = (bytes.len() as u64, APPS_BYTES_MAX as u64);
            return Err(ManifestError::TooMany {
                what: "bytes of the apps",
                got,
                max,
            });
        }
        Ok(bytes)
    }

    /// Reads the blob. Fields that are not known are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let limits = Limits {
            bytes: APPS_BYTES_MAX,
            depth: OBJECT_DEPTH_MAX,
        };
        let value = json::parse(bytes, &limits).map_err(|error| ManifestError::Json {
            place: PLACE,
            error,
        })?;
        let wire: Wire = serde_json::from_value(value).map_err(|error| ManifestError::Shape {
            place: PLACE,
            problem: error.to_string(),
        })?;
        let apps = Self(wire.apps);
        apps.check()?;
        Ok(apps)
    }

    /// All, by name.
    #[must_use]
    pub fn as_slice(&self) -> &[AppEntry] {
        &self.0
    }

    /// The app `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AppEntry> {
        self.0
            .binary_search_by(|app| app.name.as_str().cmp(name))
            .ok()
            .and_then(|index| self.0.get(index))
    }

    /// An object must belong to one of the apps; tombstones and orphans outlive theirs.
    pub(crate) fn check_line(&self, line: &Line) -> Result<(), ManifestError> {
        if matches!(line, Line::Object(_)) && self.get(line.app()).is_none() {
            return Err(ManifestError::AppUnknown {
                id: Box::new(line.id().clone()),
                app: line.app().to_owned(),
            });
        }
        Ok(())
    }

    /// The names, as a set.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.iter().map(|app| app.name.as_str()).collect()
    }
}
