//! Where Vault is, and how we sign in: from the environment, as Vault's own client has it.

use std::path::PathBuf;

use reqwest::Url;
use zeroize::Zeroizing;

use super::VaultError;
use crate::passphrase::Env;

/// Where a pod finds the token of its service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What is needed to talk to Vault.
pub(super) struct Settings {
    pub(super) address: Url,
    pub(super) namespace: Option<String>,
    pub(super) ca: Option<Vec<u8>>,
    pub(super) auth: Auth,
}

/// How to sign in.
pub(super) enum Auth {
    /// With a token.
    Token(Zeroizing<String>),
    /// With a token that another keeps fresh in a file.
    File(PathBuf),
    /// With the token of a Kubernetes service account.
    Kubernetes {
        mount: String,
        role: String,
        token: PathBuf,
    },
}

impl Settings {
    pub(super) fn read(env: Env<'_>) -> Result<Self, VaultError> {
        let said = |name: &str| env(name).filter(|text| !text.trim().is_empty());
        let address = said("VAULT_ADDR").ok_or_else(|| setting("VAULT_ADDR", "is not set"))?;
        let address = address_of(&address)?;
        let ca = said("VAULT_CACERT")
            .map(|path| {
                std::fs::read(&path)
                    .map_err(|error| setting("VAULT_CACERT", &format!("{path}: {error}")))
            })
            .transpose()?;
        Ok(Self {
            address,
            namespace: said("VAULT_NAMESPACE"),
            ca,
            auth: auth(&said)?,
        })
    }
}

fn setting(name: &'static str, problem: &str) -> VaultError {
    VaultError::Setting {
        name,
        problem: problem.to_owned(),
    }
}

/// A token goes over it: HTTPS, or this machine.
fn address_of(text: &str) -> Result<Url, VaultError> {
    let wrong = |problem: &str| setting("VAULT_ADDR", problem);
    let mut address: Url = text.trim().parse().map_err(|_| wrong("is no URL"))?;
    let local = matches!(
        address.host_str(),
        Some("localhost" | "127.0.0.1" | "[::1]")
    );
    match address.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => return Err(wrong("must be https, as tokens go over it")),
        _ => return Err(wrong("must be an https URL")),
    }
    if !address.path().ends_with('/') {
        let path = format!("{}/", address.path());
        address.set_path(&path);
    }
    Ok(address)
}

fn auth(said: &dyn Fn(&str) -> Option<String>) -> Result<Auth, VaultError> {
    if let Some(role) = said("COUNTERSIGN_VAULT_ROLE") {
        let mount = said("COUNTERSIGN_VAULT_AUTH_MOUNT").unwrap_or_else(|| "kubernetes".into());
        let token = said("COUNTERSIGN_VAULT_JWT_FILE");
        return Ok(Auth::Kubernetes {
            mount: mount.trim_matches('/').to_owned(),
            role,
            token: token.map_or_else(|| SERVICE_ACCOUNT_TOKEN.into(), PathBuf::from),
        });
    }
    if let Some(path) = said("COUNTERSIGN_VAULT_TOKEN_FILE") {
        return Ok(Auth::File(path.into()));
    }
    if let Some(token) = said("VAULT_TOKEN") {
        return Ok(Auth::Token(Zeroizing::new(token.trim().to_owned())));
    }
    let home = said("HOME").map(|home| PathBuf::from(home).join(".vault-token"));
    match home.filter(|path| path.is_file()) {
        Some(path) => Ok(Auth::File(path)),
        None => Err(setting(
            "VAULT_TOKEN",
            "is not set; nor is COUNTERSIGN_VAULT_TOKEN_FILE or COUNTERSIGN_VAULT_ROLE",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_goes_over_plain_http_to_another_machine() {
        assert!(address_of("http://vault.example:8200").is_err());
        assert!(address_of("ftp://127.0.0.1").is_err());
        assert_eq!(
            address_of("http://127.0.0.1:8200").unwrap().as_str(),
            "http://127.0.0.1:8200/"
        );
        assert_eq!(
            address_of("https://vault.example/base").unwrap().as_str(),
            "https://vault.example/base/"
        );
    }

    #[test]
    fn a_role_wins_over_a_file_and_that_over_a_token() {
        let all = |name: &str| match name {
            "COUNTERSIGN_VAULT_ROLE" => Some("hub".to_owned()),
            "COUNTERSIGN_VAULT_TOKEN_FILE" => Some("/x".to_owned()),
            "VAULT_TOKEN" => Some("t".to_owned()),
            _ => None,
        };
        assert!(matches!(auth(&all), Ok(Auth::Kubernetes { .. })));
        let less = |name: &str| all(name).filter(|_| name != "COUNTERSIGN_VAULT_ROLE");
        assert!(matches!(auth(&less), Ok(Auth::File(_))));
        let token = |name: &str| all(name).filter(|_| name == "VAULT_TOKEN");
        assert!(matches!(auth(&token), Ok(Auth::Token(_))));
        assert!(auth(&|_| None).is_err());
    }
}
