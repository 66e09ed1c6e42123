//! Where a log's files lie, and fetching one of them.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::StatusCode;
use reqwest::blocking::Client;

use crate::exit::Failure;
use crate::output::safe;

/// For a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For one file.
const FILE_MAX: Duration = Duration::from_secs(60);
/// How often a file is asked for before a server counts as down.
const TRIES: u32 = 3;
/// Between the first two tries; then twice that.
const PAUSE: Duration = Duration::from_millis(200);

/// Which log to read.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// The log: a folder, file:///PATH, or https://HOST/PATH; "checkpoint" and "tile/" lie in it.
    #[arg(value_name = "LOG")]
    pub log: String,
    /// Certificates (PEM) to trust beside the system's, for https.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// A log's files.
#[derive(Debug)]
pub enum Source {
    /// In a folder.
    Folder(PathBuf),
    /// Behind a URL.
    Web {
        /// Keeps connections.
        client: Client,
        /// Without a slash at its end.
        base: String,
    },
}

impl Source {
    /// The source that the arguments name. Nothing is read yet.
    pub fn from_args(args: &SourceArgs) -> Result<Self, Failure> {
        if let Some(path) = args.log.strip_prefix("file://") {
            return Ok(Self::Folder(PathBuf::from(path)));
        }
        if args.log.starts_with("https://") || args.log.starts_with("http://") {
            return Self::web(&args.log, args.ca.as_deref());
        }
        if args.log.contains("://") {
            let log = safe(&args.log);
            return Err(Failure::Mistake(format!(
                "{log}: must be a folder, file://, http:// or https://"
            )));
        }
        Ok(Self::Folder(PathBuf::from(&args.log)))
    }

    fn web(url: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        let bad = |error: &reqwest::Error| Failure::Mistake(format!("{}: {error}", safe(url)));
        reqwest::Url::parse(url)
            .map_err(|error| Failure::Mistake(format!("{}: {error}", safe(url))))?;
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_MAX)
            .timeout(FILE_MAX)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = ca {
            let pem = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad(&error))?;
            if roots.is_empty() {
                let file = file.display();
                return Err(Failure::Mistake(format!("{file}: holds no certificate")));
            }
            builder = builder.tls_certs_merge(roots);
        }
        Ok(Self::Web {
            client: builder.build().map_err(|error| bad(&error))?,
            base: url.trim_end_matches('/').to_owned(),
        })
    }

    /// The bytes of a file; none if the log has no such file.
    pub fn read(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Folder(folder) => of_folder(&folder.join(path), bytes_max),
            Self::Web { client, base } => of_web(client, &format!("{base}/{path}"), bytes_max),
        }
    }

    /// How many files it pays to ask for at once.
    pub const fn at_once(&self) -> usize {
        match self {
            Self::Folder(_) => 1,
            Self::Web { .. } => 16,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => f.write_str(&safe(&folder.display().to_string())),
            Self::Web { base, .. } => f.write_str(&safe(base)),
        }
    }
}

fn of_folder(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, Failure> {
    match File::open(path) {
        Ok(file) => whole(file, bytes_max)
            .map_err(|error| Failure::file(path, &error))?
            .map_or_else(
                || Err(too_large(&path.display().to_string(), bytes_max)),
                |bytes| Ok(Some(bytes)),
            ),
        // A folder in a file's place is no file either; the folder of the log itself is asked for by its checkpoint.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Failure::file(path, &error)),
    }
}

fn of_web(client: &Client, url: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Failure> {
    let mut pause = PAUSE;
    for last in (0..TRIES).map(|n| n + 1 == TRIES) {
        match once(client, url, bytes_max) {
            Err(Once::Again(_)) if !last => {}
            Err(Once::Again(problem) | Once::Never(problem)) => {
                return Err(Failure::Fault(format!("{}: {}", safe(url), safe(&problem))));
            }
            Err(Once::TooLarge) => return Err(too_large(url, bytes_max)),
            Ok(found) => return Ok(found),
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    Ok(None)
}

/// Why one try did not succeed.
enum Once {
    Again(String),
    Never(String),
    TooLarge,
}

fn once(client: &Client, url: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Once> {
    let response = client
        .get(url)
        .send()
        .map_err(|error| Once::Again(told(&error)))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(Once::Again(status.to_string()));
        }
        status => return Err(Once::Never(status.to_string())),
    }
    whole(response, bytes_max)
        .map_err(|error| Once::Again(error.to_string()))?
        .map_or(Err(Once::TooLarge), |bytes| Ok(Some(bytes)))
}

/// All of it, or none if it has more than `bytes_max`.
fn whole(from: impl Read, bytes_max: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= bytes_max).then_some(bytes))
}

/// An error with its causes: the outermost says little.
fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn too_large(place: &str, bytes_max: usize) -> Failure {
    let place = safe(place);
    Failure::Negative(format!(
        "{place}: has more than the {bytes_max} bytes that such a file can have"
    ))
}
