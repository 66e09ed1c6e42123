//! Options, checked and understood. All mistakes come at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_fleet::sops::SopsKey;
use countersign_fleet::source::Access;
use countersign_ledger::digest::Digest;
use secrecy::SecretString;

use super::keys;
use super::mistakes::{Mistakes, read};
use crate::config::{ConfigMistake, Options};
use crate::serve::ci::Workflows;
use crate::serve::join::Issuers;
use crate::store::Location;
use crate::track::limits::FetchLimits;
use crate::track::refname::RefName;
use crate::track::remote::http::HttpAuth;
use crate::track::tracker::TrackConfig;
use crate::track::url::Source;
use crate::track::webhook::Forge;
use crate::trust::KeyPlaces;

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
