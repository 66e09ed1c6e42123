//! `countersign trust sign` and `publish`: a draft becomes the next trust root, and a hub's store takes it.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign_fleet::api::ci::TrustTaken;
use countersign_ledger::dsse::pae;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::trust::Roots;
use countersign_ledger::trust::draft::{Tally, tallies};
use reqwest::Url;

use super::{change, files};
use crate::exit::Failure;
use crate::output::safe;
use crate::{entry, key};

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The draft; the signatures are added to it.
    draft: PathBuf,
    /// The trust root in effect.
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    current: PathBuf,
    /// A root key, of the current trust root or of the next; may be said often.
    #[arg(long, value_name = "KEY", required = true)]
    key: Vec<String>,
}

/// Arguments of `publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The next trust root, completely signed.
    file: PathBuf,
    /// The hub's address for agents: https://HOST:PORT.
    #[arg(long, env = "COUNTERSIGN_HUB_URL", value_name = "URL")]
    hub: Option<Url>,
    /// Certificates (PEM) to trust for it, such as hub-ca.crt, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "hub")]
    ca: Option<PathBuf>,
    /// The hub's data folder.
    #[arg(
        long,
        env = "COUNTERSIGN_DATA",
        value_name = "DIR",
        default_value = "/var/lib/countersign-hub"
    )]
    data: PathBuf,
    /// The trust root that the hub is started with [default: DATA/trust.json].
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// The hub's store, a folder [default: DATA/store].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

pub(super) fn sign(args: &SignArgs) -> Result<(), Failure> {
    let current = change::current(&args.current)?;
    let (document, mut envelope) = change::draft(&args.draft)?;
    change::follows(&current, &document, &args.draft)?;
    let message = pae(envelope.payload_type(), envelope.payload());
    for reference in &args.key {
        let key = key::load(reference)?;
        let public = key.public();
        let roles = [&current.document().root, &document.root];
        let listed = roles
            .iter()
            .flat_map(|role| &role.keys)
            .any(|named| named.key == public);
        if !listed {
            return Err(Failure::Mistake(format!(
                "--key {}: {public} is no root key of the current trust root nor of the draft",
                safe(reference)
            )));
        }
        if envelope.signed_by([&public], &RingVerifier).is_empty() {
            let signature = key::signature(key.as_ref(), &message)?;
            envelope = envelope.with_signatures(&[(public, signature)]);
        }
    }
    let (old, new) = tallies(&current, &document, &envelope, &RingVerifier);
    let complete = old.met() && new.met();
    if complete {
        current
            .succeed(envelope.bytes(), &RingVerifier)
            .map_err(|refusal| {
                Failure::Negative(format!(
                    "{} ({})",
                    safe(&refusal.to_string()),
                    refusal.code()
                ))
            })?;
    }
    files::replace(&args.draft, envelope.bytes())?;
    print!("{}", told(&args.draft, document.version, old, new));
    if complete {
        println!("Complete: sha256:{}", envelope.digest());
    }
    Ok(())
}

fn told(path: &Path, version: u64, old: Tally, new: Tally) -> String {
    let missing = if old.met() && new.met() {
        ""
    } else {
        "Not complete: further root keys must sign it.\n"
    };
    format!(
        "{}: version {version}\n  keys of version {}  {} of {} signed\n  keys of version {version}  {} of {} signed\n{missing}",
        safe(&path.display().to_string()),
        version.saturating_sub(1),
        old.got,
        old.want,
        new.got,
        new.want,
    )
}

pub(super) fn publish(args: &PublishArgs) -> Result<(), Failure> {
    match &args.hub {
        Some(hub) => to_hub(hub, args),
        None => to_store(args),
    }
}

/// Hands it to a hub that runs.
fn to_hub(hub: &Url, args: &PublishArgs) -> Result<(), Failure> {
    let root = change::current(&args.file)?;
    let client = entry::client(hub, args.ca.as_deref())?;
    let request = client
        .post(entry::below(hub, "log/trust")?)
        .body(root.bytes().to_vec());
    let answer = entry::send(hub, request)?;
    let taken: TrustTaken = serde_json::from_slice(&answer)
        .map_err(|e| Failure::Fault(format!("the hub's answer: {e}")))?;
    let ours = format!("sha256:{}", root.digest());
    if taken.digest != ours {
        return Err(Failure::Negative(
            "the hub's answer is about another document".to_owned(),
        ));
    }
    println!(
        "Version {} {}: {ours}",
        taken.version,
        if taken.new {
            "is in the hub's store, and takes effect now"
        } else {
            "was in the hub's store already"
        }
    );
    Ok(())
}

fn to_store(args: &PublishArgs) -> Result<(), Failure> {
    let pinned = args
        .trust
        .clone()
        .unwrap_or_else(|| args.data.join("trust.json"));
    let folder = args
        .store
        .clone()
        .unwrap_or_else(|| args.data.join("store"))
        .join("trust");
    let refused = |path: &Path, refusal: countersign_ledger::Refusal| {
        let text = format!("{}: {refusal} ({})", path.display(), refusal.code());
        Failure::Negative(safe(&text).to_string())
    };
    let mut roots = Roots::new(change::current(&pinned)?);
    let bytes = std::fs::read(&args.file).map_err(|e| Failure::file(&args.file, &e))?;
    loop {
        let version = roots.newest().version().saturating_add(1);
        let path = folder.join(format!("{version}.json"));
        match std::fs::read(&path) {
            Ok(held) => roots
                .extend(&held, &RingVerifier)
                .map_err(|refusal| refused(&path, refusal))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => break,
            Err(e) => return Err(Failure::file(&path, &e)),
        }
    }
    if roots.iter().any(|root| root.bytes() == bytes) {
        println!("The store holds it already.");
        return Ok(());
    }
    roots
        .extend(&bytes, &RingVerifier)
        .map_err(|refusal| refused(&args.file, refusal))?;
    let version = roots.newest().version();
    std::fs::create_dir_all(&folder).map_err(|e| Failure::file(&folder, &e))?;
    let path = folder.join(format!("{version}.json"));
    if !files::create(&path, &bytes)? {
        return Err(Failure::Negative(format!(
            "{}: another version {version} came first; nothing was written",
            path.display()
        )));
    }
    std::fs::File::open(&folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| Failure::file(&folder, &e))?;
    println!(
        "Version {version} is in the store: {}\nPut new online keys into the hub's keys folder, then restart the hub; it takes the version up and agents follow.",
        safe(&path.display().to_string())
    );
    Ok(())
}
