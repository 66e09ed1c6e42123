//! Options, checked and understood. All mistakes come at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_fleet::source::Access;
use countersign_ledger::digest::Digest;
use secrecy::SecretString;

use super::keys;
use crate::config::{ConfigMistake, Options};
use crate::pipeline::sops::SopsKey;
use crate::serve::ci::Workflows;
use crate::serve::join::Issuers;
use crate::store::{Bucket, Location};
use crate::track::limits::FetchLimits;
use crate::track::refname::RefName;
use crate::track::remote::http::HttpAuth;
use crate::track::remote::ssh::SshAuth;
use crate::track::tracker::TrackConfig;
use crate::track::url::Source;
use crate::track::webhook::Forge;
use crate::trust::KeyPlaces;

/// Bytes of a file with a secret.
const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

/// What `serve` runs with.
#[derive(Clone)]
pub struct Config {
    /// What is tracked.
    pub track: TrackConfig,
    /// Data folder.
    pub data: PathBuf,
    /// The trust root.
    pub trust: TrustFile,
    /// Where the hub's keys are.
    pub keys: KeyPlaces,
    /// Where everything that was sealed is.
    pub store: Location,
    /// For agents.
    pub listen: SocketAddr,
    /// Names in the hub's certificate.
    pub listen_names: Vec<String>,
    /// Which clusters may join by their service account.
    pub issuers: Issuers,
    /// Which workflows may say what they did to the infrastructure.
    pub workflows: Workflows,
    /// For operators; loopback.
    pub operator_listen: SocketAddr,
    /// The renderer.
    pub render: RenderConfig,
    /// Who we are to the hosts of charts and other repositories.
    pub access: Access,
    /// Decrypts what stands encrypted in Git.
    pub decrypt: Option<SopsKey>,
    /// Webhooks that have a secret.
    pub webhooks: Vec<(Forge, SecretString)>,
    /// `owner/name` in webhooks.
    pub webhook_repository: String,
    /// Patience at shutdown.
    pub shutdown: Duration,
    /// JSON lines instead of text.
    pub log_json: bool,
    /// Log directives.
    pub log: String,
}

/// The trust root's file and, if pinned, its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFile {
    /// The file.
    pub path: PathBuf,
    /// What its bytes must hash to.
    pub digest: Option<Digest>,
}

/// The renderer's processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderConfig {
    /// Program.
    pub program: PathBuf,
    /// Processes.
    pub workers: usize,
    /// Longest render.
    pub time: Duration,
    /// Memory of a process, bytes.
    pub memory: u64,
}

impl Config {
    /// Checks the options. `here` is the working folder, `beside` the folder of this program.
    ///
    /// # Errors
    /// All mistakes.
    pub fn new(options: Options, here: &Path, beside: &Path) -> Result<Self, Vec<ConfigMistake>> {
        let mut m = Mistakes::default();
        let data = m
            .required("data", options.data)
            .map(|data| here.join(data))
            .unwrap_or_default();
        let under = |path: Option<PathBuf>, name: &str| {
            path.map_or_else(|| data.join(name), |path| here.join(path))
        };
        let source = m
            .required("repo", options.repo)
            .and_then(|repo| m.check("repo", Source::parse(&repo, here)));
        let name = m.check(
            "ref",
            RefName::parse(options.reference.as_deref().unwrap_or("main")),
        );
        let ssh = m.ssh(
            options.ssh_key_file,
            options.known_hosts_file,
            options.ssh_program,
            here,
        );
        if matches!(source, Some(Source::Ssh(_))) && ssh.is_none() && m.0.is_empty() {
            m.add(
                "ssh-key-file",
                "is needed for an SSH repository, with known-hosts-file",
            );
        }
        let token = m.secret("git-token-file", options.git_token_file, here);
        let roots = options
            .git_ca_file
            .and_then(|path| m.check("git-ca-file", read(&here.join(path))))
            .into_iter()
            .collect();
        let credentials = options.source_credentials_file.map(|path| here.join(path));
        let access = m.check(
            "source-credentials-file",
            Access::from_file(credentials.as_deref()),
        );
        let access = access.unwrap_or_default();
        let decrypt = m
            .secret("age-identity", options.age_identity, here)
            .and_then(|text| m.check("age-identity", SopsKey::parse(&text)));
        let http = HttpAuth {
            user: options.git_user.unwrap_or_else(|| "x-access-token".into()),
            token,
            roots,
        };
        let fetch = FetchLimits::default();
        let limits = FetchLimits {
            pack_bytes: m.range(
                "fetch-max-mib",
                options.fetch_max_mib,
                fetch.pack_bytes >> 20,
                1,
                1 << 20,
            ) << 20,
            time: Duration::from_secs(m.range(
                "fetch-seconds",
                options.fetch_seconds,
                fetch.time.as_secs(),
                1,
                86_400,
            )),
            ..fetch
        };
        let poll =
            Duration::from_secs(m.range("poll-seconds", options.poll_seconds, 60, 1, 86_400));
        let render = RenderConfig {
            program: options.renderer.map_or_else(
                || beside.join("countersign-renderer"),
                |path| here.join(path),
            ),
            workers: m.range(
                "render-workers",
                options.render_workers.map(u64::from),
                2,
                2,
                64,
            ) as usize,
            time: Duration::from_secs(m.range(
                "render-seconds",
                options.render_seconds,
                30,
                1,
                3_600,
            )),
            memory: m.range(
                "render-memory-mib",
                options.render_memory_mib,
                1_024,
                128,
                1 << 20,
            ) << 20,
        };
        let listen = m.address("listen", options.listen, "127.0.0.1:8443");
        let operator_listen =
            m.address("operator-listen", options.operator_listen, "127.0.0.1:8081");
        if !operator_listen.ip().is_loopback() {
            m.add(
                "operator-listen",
                "must be a loopback address: whoever reaches it may operate the fleet",
            );
        }
        let store_auth = m.credentials(options.store_credentials_file, here);
        let store = m.store(
            options.store,
            &data,
            here,
            options.store_endpoint,
            options.store_region,
            store_auth,
        );
        let webhooks = m.webhooks(
            [
                options.webhook_github_secret_file,
                options.webhook_gitlab_secret_file,
                options.webhook_gitea_secret_file,
            ],
            here,
        );
        let issuers = options
            .join_issuers
            .and_then(|path| m.check("join-issuers", Issuers::read(&here.join(path))))
            .unwrap_or_default();
        let workflows = options
            .ci_workflows
            .and_then(|path| m.check("ci-workflows", Workflows::read(&here.join(path))))
            .unwrap_or_default();
        let folder = under(options.keys, "keys");
        let keys = keys::places(
            folder.clone(),
            here,
            options.sealer_keys.as_deref(),
            options.log_key.as_deref(),
            options.agent_ca_key.as_deref(),
        );
        let keys = keys.unwrap_or_else(|(option, problem)| {
            m.add(option, &problem);
            KeyPlaces::folder(&folder)
        });
        let trust = m.trust(options.trust, &data, here);
        let log_json = match options.log_format.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(_) => m.add("log-format", "must be text or json"),
        };
        let shutdown = Duration::from_secs(m.range(
            "shutdown-seconds",
            options.shutdown_seconds,
            10,
            0,
            3_600,
        ));
        let (Some(source), Some(name), true) = (source, name, m.0.is_empty()) else {
            return Err(m.0);
        };
        let webhook_repository = options
            .webhook_repository
            .unwrap_or_else(|| source.repository());
        let names = options
            .listen_names
            .unwrap_or_else(|| "localhost,127.0.0.1".into());
        let track = TrackConfig {
            source,
            name,
            data: data.clone(),
            poll,
            limits,
            http,
            ssh,
        };
        Ok(Self {
            track,
            trust,
            keys,
            store,
            listen,
            listen_names: names
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
            issuers,
            workflows,
            operator_listen,
            render,
            access,
            decrypt,
            webhooks,
            webhook_repository,
            shutdown,
            log_json,
            log: options.log.unwrap_or_else(|| "info".into()),
            data,
        })
    }
}

#[derive(Default)]
struct Mistakes(Vec<ConfigMistake>);

impl Mistakes {
    fn add(&mut self, option: &'static str, problem: &str) -> bool {
        self.0.push(ConfigMistake {
            option,
            problem: problem.to_owned(),
        });
        false
    }

    fn required<T>(&mut self, option: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(option, "is required");
        }
        value
    }

    fn check<T>(
        &mut self,
        option: &'static str,
        result: Result<T, impl std::fmt::Display>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(option, &error.to_string());
                None
            }
        }
    }

    fn range(
        &mut self,
        option: &'static str,
        value: Option<u64>,
        default: u64,
        min: u64,
        max: u64,
    ) -> u64 {
        let value = value.unwrap_or(default);
        if !(min..=max).contains(&value) {
            self.add(option, &format!("must be {min} to {max}, is {value}"));
            return default;
        }
        value
    }

    fn address(
        &mut self,
        option: &'static str,
        value: Option<String>,
        default: &str,
    ) -> SocketAddr {
        let text = value.unwrap_or_else(|| default.to_owned());
        let fallback = SocketAddr::from(([127, 0, 0, 1], 0));
        self.check(
            option,
            text.parse()
                .map_err(|_| "must be an address and port, as 127.0.0.1:8443"),
        )
        .unwrap_or(fallback)
    }

    fn secret(
        &mut self,
        option: &'static str,
        path: Option<PathBuf>,
        here: &Path,
    ) -> Option<SecretString> {
        let bytes = zeroize::Zeroizing::new(self.check(option, read(&here.join(path?)))?);
        let text = std::str::from_utf8(&bytes)
            .map(str::trim_end)
            .unwrap_or_default();
        if text.is_empty() {
            self.add(option, "names a file that holds no text");
            return None;
        }
        Some(text.to_owned().into())
    }

    fn credentials(
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

    fn ssh(
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

    fn webhooks(&mut self, files: [Option<PathBuf>; 3], here: &Path) -> Vec<(Forge, SecretString)> {
        let options = [
            "webhook-github-secret-file",
            "webhook-gitlab-secret-file",
            "webhook-gitea-secret-file",
        ];
        let each = Forge::ALL.into_iter().zip(options).zip(files);
        each.filter_map(|((forge, option), file)| Some((forge, self.secret(option, file, here)?)))
            .collect()
    }

    fn trust(&mut self, text: Option<String>, data: &Path, here: &Path) -> TrustFile {
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

    fn store(
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

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let problem = |error: std::io::Error| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(problem)?.len() > SECRET_FILE_BYTES_MAX {
        return Err(format!("{}: is larger than 64 KiB", path.display()));
    }
    std::fs::read(path).map_err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            repo: Some("/srv/fleet".into()),
            data: Some("data".into()),
            ..Options::default()
        }
    }

    fn check(options: Options) -> Result<Config, Vec<&'static str>> {
        Config::new(options, Path::new("/srv"), Path::new("/bin"))
            .map_err(|all| all.into_iter().map(|one| one.option).collect())
    }

    #[test]
    fn two_options_are_enough() {
        let config = check(options()).ok().unwrap();
        assert_eq!(config.data, Path::new("/srv/data"));
        assert_eq!(
            config.trust,
            TrustFile {
                path: "/srv/data/trust.json".into(),
                digest: None
            }
        );
        assert_eq!(
            config.render.program,
            Path::new("/bin/countersign-renderer")
        );
        assert_eq!(config.keys, KeyPlaces::folder(Path::new("/srv/data/keys")));
        assert!(config.webhooks.is_empty());
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let wrong = Options {
            repo: Some("ext::sh".into()),
            reference: Some("--output=x".into()),
            operator_listen: Some("0.0.0.0:1".into()),
            poll_seconds: Some(0),
            trust: Some("sha256:xy".into()),
            ssh_key_file: Some("k".into()),
            log_format: Some("xml".into()),
            store: Some("gs://b".into()),
            git_token_file: Some("/none/such".into()),
            ..Options::default()
        };
        let mut named = check(wrong).err().unwrap();
        named.sort_unstable();
        let expected = [
            "data",
            "git-token-file",
            "known-hosts-file",
            "log-format",
            "operator-listen",
            "poll-seconds",
            "ref",
            "repo",
            "store",
            "trust",
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn an_operator_address_beyond_loopback_is_a_start_error() {
        let open = Options {
            operator_listen: Some("0.0.0.0:8081".into()),
            ..options()
        };
        assert_eq!(check(open).err(), Some(vec!["operator-listen"]));
    }
}
