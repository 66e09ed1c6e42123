//! Every option of the hub, defined once: as flag, as environment variable, as key of the TOML file, and as row of the
//! reference table in `docs/configuration.md`.
//!
//! A flag wins over the environment, the environment over the file, the file over the default. Secrets are never
//! options: an option names the file that holds one. [`Options`] is what was written; [`Config`] is what it means.

mod keys;
pub mod meaning;
mod mistakes;
mod places;

use std::path::{Path, PathBuf};

pub use meaning::Config;

/// Why the options can't be used. All at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {problem}")]
pub struct ConfigMistake {
    /// The flag, without dashes.
    pub option: &'static str,
    /// What is wrong and what to write instead.
    pub problem: String,
}

/// One row of the reference table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionInfo {
    /// Flag and key of the TOML file.
    pub name: &'static str,
    /// Environment variable.
    pub env: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

macro_rules! options {
    ($( #[doc = $help:literal] $field:ident ($name:literal, $env:literal, $default:literal): $kind:ty; )*) => {
        /// What was written, wherever. Nothing is checked yet.
        #[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Options {
            $(
                #[doc = $help]
                #[arg(long = $name, env = $env, value_name = "VALUE")]
                #[serde(rename = $name)]
                pub $field: Option<$kind>,
            )*
        }

        impl Options {
            /// Takes from `other` what is not written here.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $( $field: self.$field.or(other.$field), )* }
            }
        }

        /// All options, in the order of the table.
        pub const OPTIONS: &[OptionInfo] = &[
            $( OptionInfo { name: $name, env: $env, default: $default, help: $help.trim_ascii() }, )*
        ];
    };
}

options! {
    /// TOML file with any of these options; `config` itself stands only on the command line or in the environment.
    config("config", "COUNTERSIGN_HUB_CONFIG", "none"): PathBuf;
    /// Fleet repository: a path, `https://…`, `ssh://…` or `user@host:path`.
    repo("repo", "COUNTERSIGN_HUB_REPO", "required"): String;
    /// Branch or tag that is followed.
    reference("ref", "COUNTERSIGN_HUB_REF", "main"): String;
    /// Data folder: store, index, mirror, keys, tokens.
    data("data", "COUNTERSIGN_HUB_DATA", "required"): PathBuf;
    /// Trust root: its file, or `sha256:` and its digest if the file is `trust.json` in the data folder.
    trust("trust", "COUNTERSIGN_HUB_TRUST", "`trust.json` in the data folder"): String;
    /// Folder of the hub's keys (`sealer-<environment>.key`, `hub-ca.key`, `hub-ca.crt`).
    keys("keys", "COUNTERSIGN_HUB_KEYS", "`keys` in the data folder"): PathBuf;
    /// Sealer keys that are elsewhere: `production=vault:transit/prod`, `staging=awskms:arn:…`, or a file; several by commas.
    sealer_keys("sealer-keys", "COUNTERSIGN_HUB_SEALER_KEYS", "`sealer-<environment>.key` in `keys`"): String;
    /// The log's key, if it is elsewhere: `vault:<mount>/<key>`, `awskms:<arn>`, or a file.
    log_key("log-key", "COUNTERSIGN_HUB_LOG_KEY", "`log.key` in `keys`"): String;
    /// The agent CA's key, if it is elsewhere: `vault:<mount>/<key>`, `awskms:<arn>`, or a file.
    agent_ca_key("agent-ca-key", "COUNTERSIGN_HUB_AGENT_CA_KEY", "`agent-ca.key` in `keys`"): String;
    /// TOML file with the workflows that may say what they did to the infrastructure: see the operator's guide.
    ci_workflows("ci-workflows", "COUNTERSIGN_HUB_CI_WORKFLOWS", "none"): PathBuf;
    /// Object store: a folder, `file:///…`, or `s3://bucket/prefix`.
    store("store", "COUNTERSIGN_HUB_STORE", "`store` in the data folder"): String;
    /// Endpoint of an S3 store that is not AWS.
    store_endpoint("store-endpoint", "COUNTERSIGN_HUB_STORE_ENDPOINT", "AWS"): String;
    /// Region of an S3 store.
    store_region("store-region", "COUNTERSIGN_HUB_STORE_REGION", "us-east-1"): String;
    /// File with the S3 access key on its first line and the secret key on its second; without it, the machine's role.
    store_credentials_file("store-credentials-file", "COUNTERSIGN_HUB_STORE_CREDENTIALS_FILE", "none"): PathBuf;
    /// Address for agents: gRPC over TLS, and static files.
    listen("listen", "COUNTERSIGN_HUB_LISTEN", "127.0.0.1:8443"): String;
    /// Name or address by which agents reach this hub, in its certificate and in join commands; several by commas.
    listen_names("listen-names", "COUNTERSIGN_HUB_LISTEN_NAMES", "localhost,127.0.0.1"): String;
    /// TOML file that says which clusters may join by the token of their service account: see the operator's guide.
    join_issuers("join-issuers", "COUNTERSIGN_HUB_JOIN_ISSUERS", "none"): PathBuf;
    /// Address for operators; loopback only until sign-in exists.
    operator_listen("operator-listen", "COUNTERSIGN_HUB_OPERATOR_LISTEN", "127.0.0.1:8081"): String;
    /// The renderer's program.
    renderer("renderer", "COUNTERSIGN_HUB_RENDERER", "`countersign-renderer` beside this program"): PathBuf;
    /// Renderer processes.
    render_workers("render-workers", "COUNTERSIGN_HUB_RENDER_WORKERS", "2"): u32;
    /// Most seconds that one render may take.
    render_seconds("render-seconds", "COUNTERSIGN_HUB_RENDER_SECONDS", "30"): u64;
    /// Most MiB of memory of one renderer process.
    render_memory_mib("render-memory-mib", "COUNTERSIGN_HUB_RENDER_MEMORY_MIB", "1024"): u64;
    /// Seconds between two looks at the repository without a wake; spread by ±20 %, longer after errors.
    poll_seconds("poll-seconds", "COUNTERSIGN_HUB_POLL_SECONDS", "60"): u64;
    /// File with the token for an HTTPS repository; sent to that scheme, host and port alone.
    git_token_file("git-token-file", "COUNTERSIGN_HUB_GIT_TOKEN_FILE", "none"): PathBuf;
    /// User sent with the token.
    git_user("git-user", "COUNTERSIGN_HUB_GIT_USER", "x-access-token"): String;
    /// PEM file with further roots to trust for an HTTPS repository.
    git_ca_file("git-ca-file", "COUNTERSIGN_HUB_GIT_CA_FILE", "the system's roots alone"): PathBuf;
    /// File with the credentials for charts and repositories that Apps name, one a host: see the operator's guide.
    source_credentials_file("source-credentials-file", "COUNTERSIGN_HUB_SOURCE_CREDENTIALS_FILE", "none"): PathBuf;
    /// File with the age identities that decrypt Secrets which stand in Git encrypted by SOPS; without it they fail their app.
    age_identity("age-identity", "COUNTERSIGN_HUB_AGE_IDENTITY", "none"): PathBuf;
    /// Private key for an SSH repository.
    ssh_key_file("ssh-key-file", "COUNTERSIGN_HUB_SSH_KEY_FILE", "none"): PathBuf;
    /// Host keys that are trusted for an SSH repository.
    known_hosts_file("known-hosts-file", "COUNTERSIGN_HUB_KNOWN_HOSTS_FILE", "none"): PathBuf;
    /// OpenSSH's client.
    ssh_program("ssh-program", "COUNTERSIGN_HUB_SSH_PROGRAM", "/usr/bin/ssh"): PathBuf;
    /// File with the secret of GitHub's webhook; without it there is no such route.
    webhook_github_secret_file("webhook-github-secret-file", "COUNTERSIGN_HUB_WEBHOOK_GITHUB_SECRET_FILE", "none"): PathBuf;
    /// File with the secret of GitLab's webhook; without it there is no such route.
    webhook_gitlab_secret_file("webhook-gitlab-secret-file", "COUNTERSIGN_HUB_WEBHOOK_GITLAB_SECRET_FILE", "none"): PathBuf;
    /// File with the secret of Gitea's webhook; without it there is no such route.
    webhook_gitea_secret_file("webhook-gitea-secret-file", "COUNTERSIGN_HUB_WEBHOOK_GITEA_SECRET_FILE", "none"): PathBuf;
    /// `owner/name` of the repository in webhooks.
    webhook_repository("webhook-repository", "COUNTERSIGN_HUB_WEBHOOK_REPOSITORY", "taken from `repo`"): String;
    /// Most MiB of a fetched pack.
    fetch_max_mib("fetch-max-mib", "COUNTERSIGN_HUB_FETCH_MAX_MIB", "512"): u64;
    /// Most seconds of one fetch.
    fetch_seconds("fetch-seconds", "COUNTERSIGN_HUB_FETCH_SECONDS", "600"): u64;
    /// `text` or `json`.
    log_format("log-format", "COUNTERSIGN_HUB_LOG_FORMAT", "text"): String;
    /// What is logged, as directives of tracing-subscriber (`info`, `countersign_hub=debug`).
    log("log", "COUNTERSIGN_HUB_LOG", "info"): String;
    /// Seconds that a shutdown waits for what is under way.
    shutdown_seconds("shutdown-seconds", "COUNTERSIGN_HUB_SHUTDOWN_SECONDS", "10"): u64;
}

/// Reads the options' file, if one is named, below what was given on the command line and in the environment.
///
/// # Errors
/// [`ConfigMistake`] for a file that can't be read or has a key that is no option.
pub fn with_file(given: Options) -> Result<Options, ConfigMistake> {
    let Some(path) = given.config.clone() else {
        return Ok(given);
    };
    let mistake = |problem: String| ConfigMistake {
        option: "config",
        problem: format!("{}: {problem}", path.display()),
    };
    let text = std::fs::read_to_string(&path).map_err(|error| mistake(error.to_string()))?;
    let file = parse(&text).map_err(mistake)?;
    Ok(given.or(anchored(file, path.parent().unwrap_or(Path::new("")))))
}

fn parse(text: &str) -> Result<Options, String> {
    let options: Options = toml::from_str(text).map_err(|error| error.to_string())?;
    match options.config {
        Some(_) => Err("config can't stand in the file itself".to_owned()),
        None => Ok(options),
    }
}

/// Paths in the file are relative to the file.
fn anchored(mut options: Options, folder: &Path) -> Options {
    let paths = [
        &mut options.data,
        &mut options.keys,
        &mut options.store_credentials_file,
        &mut options.renderer,
        &mut options.git_token_file,
        &mut options.git_ca_file,
        &mut options.source_credentials_file,
        &mut options.age_identity,
        &mut options.ssh_key_file,
        &mut options.known_hosts_file,
        &mut options.join_issuers,
        &mut options.ci_workflows,
        &mut options.webhook_github_secret_file,
        &mut options.webhook_gitlab_secret_file,
        &mut options.webhook_gitea_secret_file,
    ];
    for path in paths.into_iter().flatten() {
        *path = folder.join(&*path);
    }
    options
}

/// The reference table, as it stands in the docs.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Options of `countersign-hub serve`\n\n\
         Made from the code (`hub/src/config.rs`); `UPDATE_GOLDEN=1 cargo xtask test` writes it anew. A flag wins over the\n\
         environment variable, that over the TOML file (`--config`), that over the default. Keys of the file are the flags\n\
         without dashes in front; relative paths in it are relative to the file.\n\n\
         | flag and key | environment variable | default | what it is |\n|---|---|---|---|\n",
    );
    for option in OPTIONS {
        let OptionInfo {
            name,
            env,
            default,
            help,
        } = option;
        text.push_str(&format!("| `--{name}` | `{env}` | {default} | {help} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn every_option_has_its_variable_and_its_help() {
        for option in OPTIONS {
            let expected = format!(
                "COUNTERSIGN_HUB_{}",
                option.name.to_uppercase().replace('-', "_")
            );
            assert_eq!(option.env, expected);
            assert!(option.help.ends_with('.'), "{}", option.name);
        }
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.toml");
        std::fs::write(
            &file,
            "repo = \"/srv/file\"\ndata = \"data\"\npoll-seconds = 7\n",
        )
        .unwrap();
        let given = Command::parse_from([
            "x",
            "--repo",
            "/srv/flag",
            "--config",
            file.to_str().unwrap(),
        ])
        .options;
        let options = with_file(given).unwrap();
        assert_eq!(options.repo.as_deref(), Some("/srv/flag"));
        assert_eq!(options.data, Some(folder.path().join("data")));
        assert_eq!(options.poll_seconds, Some(7));
    }

    #[test]
    fn an_unknown_key_is_named() {
        let problem = parse("repo = \"x\"\npol-seconds = 7\n").unwrap_err();
        assert!(problem.contains("pol-seconds"), "{problem}");
        assert!(parse("config = \"x\"").is_err());
    }

    #[test]
    fn the_reference_in_the_docs_is_made_from_the_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, reference()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap_or_default(),
            reference(),
            "run with UPDATE_GOLDEN=1"
        );
    }
}
