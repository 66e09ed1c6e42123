//! Where the hub's own keys are, out of options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign_ledger::name;
use countersign_signer::Reference;

use crate::trust::KeyPlaces;

/// Reads the options for keys; paths are relative to `here`.
pub(super) fn places(
    folder: PathBuf,
    here: &Path,
    sealers: Option<&str>,
    log: Option<&str>,
    agent_ca: Option<&str>,
) -> Result<KeyPlaces, (&'static str, String)> {
    let one = |option: &'static str, text: &str| match text.trim().parse::<Reference>() {
        Ok(Reference::File(path)) => Ok(Reference::File(here.join(path))),
        Ok(other) => Ok(other),
        Err(mistake) => Err((option, mistake.to_string())),
    };
    let mut named = BTreeMap::new();
    for text in sealers
        .unwrap_or_default()
        .split(',')
        .filter(|text| !text.trim().is_empty())
    {
        let form = "must be ENVIRONMENT=KEY, several by commas";
        let (environment, key) = text
            .trim()
            .split_once('=')
            .ok_or(("sealer-keys", form.to_owned()))?;
        name::check("environment", environment)
            .map_err(|error| ("sealer-keys", error.to_string()))?;
        if named
            .insert(environment.to_owned(), one("sealer-keys", key)?)
            .is_some()
        {
            return Err(("sealer-keys", format!("{environment} stands there twice")));
        }
    }
    Ok(KeyPlaces {
        folder,
        sealers: named,
        log: log.map(|text| one("log-key", text)).transpose()?,
        agent_ca: agent_ca.map(|text| one("agent-ca-key", text)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sealers: &str) -> Result<KeyPlaces, (&'static str, String)> {
        let log = Some("vault:transit/log");
        places("/keys".into(), Path::new("/here"), Some(sealers), log, None)
    }

    #[test]
    fn keys_are_named_by_environment_wherever_they_are() {
        let places = read("prod=vault:transit/prod@2, dev=dev.key,").unwrap();
        let shown = |reference: Option<&Reference>| reference.map(ToString::to_string);
        assert_eq!(
            shown(places.sealers.get("prod")).as_deref(),
            Some("vault:transit/prod@2")
        );
        assert_eq!(
            shown(places.sealers.get("dev")).as_deref(),
            Some("/here/dev.key")
        );
        assert_eq!(
            shown(places.log.as_ref()).as_deref(),
            Some("vault:transit/log")
        );
        assert_eq!(places.agent_ca, None);
    }

    #[test]
    fn a_mistake_is_named_by_its_option() {
        for wrong in ["prod", "Prod=x", "prod=", "prod=a,prod=b", "prod=vault:x"] {
            assert_eq!(read(wrong).unwrap_err().0, "sealer-keys", "{wrong}");
        }
    }
}
