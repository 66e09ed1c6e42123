//! Options that belong together: where things lie, and with what one gets at them.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::meaning::TrustFile;
use super::mistakes::Mistakes;
use crate::store::{Bucket, Location};
use crate::track::remote::ssh::SshAuth;
use crate::track::webhook::Forge;

impl Mistakes {
    pub(super) fn credentials(
        &mut self,
        path: Option<PathBuf>,
        here: &Path,
    ) -> Option<(SecretString, SecretString)> {
        use secrecy::ExposeSecret as _;
        let option = "store-credentials-file";
        let text = self.secret(option, path, here)?;
        match text.expose_secret().split_once('\n') {
            Some((id, key)) => Some((id.trim().to_owned().into(), key.trim().to_owned().into())),
            None => {
                self.add(
                    option,
                    "must hold the access key on its first line and the secret key on its second",
                );
                None
            }
        }
    }

    pub(super) fn ssh(
        &mut self,
        key: Option<PathBuf>,
        hosts: Option<PathBuf>,
        program: Option<PathBuf>,
        here: &Path,
    ) -> Option<SshAuth> {
        let program = program.unwrap_or_else(|| "/usr/bin/ssh".into());
        if !program.is_absolute() {
            self.add("ssh-program", "must be an absolute path");
        }
        match (key, hosts) {
            (Some(key), Some(hosts)) => Some(SshAuth {
                program,
                key: here.join(key),
                known_hosts: here.join(hosts),
            }),
            (None, None) => None,
            (Some(_), None) => {
                self.add(
                    "known-hosts-file",
                    "is needed with ssh-key-file: host keys are always checked",
                );
                None
            }
            (None, Some(_)) => {
                self.add("ssh-key-file", "is needed with known-hosts-file");
                None
            }
        }
    }

    pub(super) fn webhooks(
        &mut self,
        files: [Option<PathBuf>; 3],
        here: &Path,
    ) -> Vec<(Forge, SecretString)> {
        let options = [
            "webhook-github-secret-file",
            "webhook-gitlab-secret-file",
            "webhook-gitea-secret-file",
        ];
        let each = Forge::ALL.into_iter().zip(options).zip(files);
        each.filter_map(|((forge, option), file)| Some((forge, self.secret(option, file, here)?)))
            .collect()
    }

    pub(super) fn trust(&mut self, text: Option<String>, data: &Path, here: &Path) -> TrustFile {
        let beside = data.join("trust.json");
        match text {
            None => TrustFile {
                path: beside,
                digest: None,
            },
            Some(text) if text.starts_with("sha256:") => TrustFile {
                path: beside,
                digest: self.check("trust", text.parse()),
            },
            Some(text) => TrustFile {
                path: here.join(text),
                digest: None,
            },
        }
    }

    pub(super) fn store(
        &mut self,
        text: Option<String>,
        data: &Path,
        here: &Path,
        endpoint: Option<String>,
        region: Option<String>,
        credentials: Option<(SecretString, SecretString)>,
    ) -> Location {
        let Some(text) = text else {
            return Location::Folder(data.join("store"));
        };
        match text.split_once("://") {
            None => Location::Folder(here.join(text)),
            Some(("file", path)) => Location::Folder(PathBuf::from(path)),
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let (bucket, prefix) = (bucket.to_owned(), prefix.trim_matches('/').to_owned());
                let region = Some(region.unwrap_or_else(|| "us-east-1".into()));
                Location::Bucket(Bucket {
                    bucket,
                    prefix,
                    endpoint,
                    region,
                    credentials,
                })
            }
            Some(_) => {
                self.add("store", "must be a folder, file:///… or s3://bucket/prefix");
                Location::Folder(data.join("store"))
            }
        }
    }
}
