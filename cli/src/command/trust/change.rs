//! `countersign trust add`, `rotate`, `revoke`, `threshold`: the next trust root as a draft that root keys then sign.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::{FileKey, PublicKey, RingVerifier, Sign as _};
use countersign_ledger::name;
use countersign_ledger::tlog::note::{KeyKind, Vkey};
use countersign_ledger::trust::document::PAYLOAD_TYPE;
use countersign_ledger::trust::draft::{Change, ChangeError, KeyRole, apply, begin};
use countersign_ledger::trust::{LogTrust, Person, PersonKey, TrustRoot, VerifiedRoot, log_name};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::files;
use crate::exit::Failure;
use crate::output::safe;

/// The files between which a change is made.
#[derive(Debug, Args)]
pub struct Files {
    /// The trust root in effect.
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    current: PathBuf,
    /// The draft of the next one. If it exists, the change is added to it, and signatures on it are dropped.
    #[arg(long, value_name = "FILE", default_value = "trust.next.json")]
    draft: PathBuf,
}

/// What can be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Entry {
    /// A key that signs trust roots.
    Root,
    /// A key that seals for an environment.
    Sealer,
    /// The log's key; it takes the place of the one before.
    Log,
    /// A file with the witness policy; it takes the place of the one before.
    WitnessPolicy,
    /// A key with which the hub says which clusters may speak.
    AgentCa,
    /// A person's key that signs overrides.
    Overrider,
    /// The key of a second renderer.
    Reproducer,
    /// A key of CI.
    Ci,
    /// A person's commit key (OpenSSH line or armored OpenPGP) and paths.
    Person,
    /// A cluster as NAME=ENV[:LEVEL]; also changes the environment or level of one.
    Cluster,
}

/// Arguments of `add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// What to add.
    #[arg(value_enum)]
    what: Entry,
    /// The key in base64, vault:<mount>/<key> or awskms:<arn>; for log a vkey or one of these two, for witness-policy a file, for person a key's text, for cluster NAME=ENV[:LEVEL].
    #[arg(value_name = "VALUE", required_unless_present_any = ["generate", "key_file"])]
    value: Option<String>,
    /// Read the value from this file (an armored OpenPGP key, an OpenSSH .pub file).
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    key_file: Option<PathBuf>,
    /// Make a new key and write it to this file, which must not exist; only its owner may read it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["value", "key_file"])]
    generate: Option<PathBuf>,
    /// Encrypt the new key with a passphrase.
    #[arg(long, requires = "generate")]
    encrypt: bool,
    /// Whose the key is; for root, overrider, reproducer, ci and person.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The environment; for sealer.
    #[arg(long, value_name = "ENV")]
    environment: Option<String>,
    /// A path that the person may change, "apps/cart/" for a folder, "/" for everything; may be said often.
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// The person is a forge, whose key counts for clean merges only.
    #[arg(long)]
    forge: bool,
    /// Where the log's files are served; for log.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    files: Files,
}

/// A role with keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Signs trust roots.
    Root,
    /// Seals for an environment.
    Sealer,
    /// Says which clusters may speak.
    AgentCa,
    /// Signs overrides.
    Overrider,
    /// A second renderer.
    Reproducer,
    /// CI.
    Ci,
}

/// Arguments of `rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The role.
    #[arg(value_enum)]
    role: RoleName,
    /// The key that goes, in base64.
    #[arg(value_name = "OLD")]
    old: String,
    /// The key that comes, in base64, vault:<mount>/<key> or awskms:<arn>.
    #[arg(value_name = "NEW", required_unless_present = "generate")]
    new: Option<String>,
    /// Make the new key and write it to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "new")]
    generate: Option<PathBuf>,
    /// Encrypt the new key with a passphrase.
    #[arg(long, requires = "generate")]
    encrypt: bool,
    /// The environment; for sealer.
    #[arg(long, value_name = "ENV")]
    environment: Option<String>,
    #[command(flatten)]
    files: Files,
}

/// Arguments of `revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The key in base64, or a person's key as it stands in the trust root.
    #[arg(value_name = "KEY")]
    key: String,
    /// Why; shown, for the words with which the signers are asked. It does not stand in the trust root.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    files: Files,
}

/// Arguments of `threshold`.
#[derive(Debug, Args)]
pub struct ThresholdArgs {
    /// How many root keys must sign.
    #[arg(value_name = "N")]
    threshold: usize,
    #[command(flatten)]
    files: Files,
}

pub(super) fn add(args: &AddArgs) -> Result<(), Failure> {
    let base = args.files.base()?;
    let role = match args.what {
        Entry::Root => KeyRole::Root,
        Entry::Sealer => KeyRole::Sealer(environment(args.environment.as_deref())?),
        Entry::AgentCa => KeyRole::AgentCa,
        Entry::Overrider => KeyRole::Overrider,
        Entry::Reproducer => KeyRole::Reproducer,
        Entry::Ci => KeyRole::Ci,
        Entry::Log | Entry::WitnessPolicy | Entry::Person | Entry::Cluster => {
            let change = other(args, &base)?;
            return args.files.write(&base, change, None);
        }
    };
    let name = match role {
        KeyRole::Sealer(_) | KeyRole::AgentCa => String::new(),
        _ => needed("--name", args.name.as_deref())?,
    };
    let made = args
        .generate
        .as_deref()
        .map(|path| Made::new(path, args.encrypt))
        .transpose()?;
    let key = match &made {
        Some(made) => made.key.public(),
        None => public("VALUE", &args.text()?)?,
    };
    args.files
        .write(&base, Change::Add { role, key, name }, made)
}

/// A change that is not a key in a role.
fn other(args: &AddArgs, base: &TrustRoot) -> Result<Change, Failure> {
    if args.generate.is_some() && args.what != Entry::Log {
        return Err(Failure::Mistake(
            "--generate: only for keys of roles; a person makes a commit key with ssh-keygen or gpg"
                .to_owned(),
        ));
    }
    match args.what {
        Entry::Log => {
            if args.generate.is_some() {
                return Err(Failure::Mistake(
                    "--generate: a log's key is made by `countersign trust init`; give the vkey of another"
                        .to_owned(),
                ));
            }
            let vkey = log_vkey(base, args.text()?.trim())?;
            let url = args.url.clone();
            Ok(Change::Log(LogTrust { vkey, url }))
        }
        Entry::WitnessPolicy => {
            let path = match (&args.key_file, &args.value) {
                (Some(path), _) => path.clone(),
                (None, value) => PathBuf::from(value.clone().unwrap_or_default()),
            };
            Ok(Change::Witnesses(read_text(&path)?))
        }
        Entry::Cluster => {
            let (name, trust) = super::clusters::parse_cluster(args.text()?.trim())?;
            Ok(Change::Cluster(name, trust))
        }
        _ => {
            let name = needed("--name", args.name.as_deref())?;
            let known = base.people.iter().any(|person| person.name == name);
            if args.path.is_empty() && !known {
                return Err(Failure::Mistake(
                    "--path: say what the person may change; \"/\" is everything".to_owned(),
                ));
            }
            let key = PersonKey {
                key: args.text()?.trim().to_owned(),
                valid_after: None,
                valid_before: None,
            };
            Ok(Change::Person(Person {
                name,
                keys: vec![key],
                paths: args.path.clone(),
                forge: args.forge,
            }))
        }
    }
}

pub(super) fn rotate(args: &RotateArgs) -> Result<(), Failure> {
    let base = args.files.base()?;
    let role = match args.role {
        RoleName::Root => KeyRole::Root,
        RoleName::Sealer => KeyRole::Sealer(environment(args.environment.as_deref())?),
        RoleName::AgentCa => KeyRole::AgentCa,
        RoleName::Overrider => KeyRole::Overrider,
        RoleName::Reproducer => KeyRole::Reproducer,
        RoleName::Ci => KeyRole::Ci,
    };
    let old = public("OLD", &args.old)?;
    let made = args
        .generate
        .as_deref()
        .map(|path| Made::new(path, args.encrypt))
        .transpose()?;
    let new = match &made {
        Some(made) => made.key.public(),
        None => public("NEW", args.new.as_deref().unwrap_or_default())?,
    };
    args.files
        .write(&base, Change::Rotate { role, old, new }, made)
}

pub(super) fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let base = args.files.base()?;
    if args.reason.trim().is_empty() {
        return Err(Failure::Mistake("--reason: must say why".to_owned()));
    }
    let change = match args.key.trim().parse::<PublicKey>() {
        Ok(key) => Change::Revoke(key),
        Err(_) => Change::RevokePerson(args.key.clone()),
    };
    args.files.write(&base, change, None)?;
    println!("Reason: {}", safe(&args.reason));
    Ok(())
}

pub(super) fn threshold(args: &ThresholdArgs) -> Result<(), Failure> {
    let base = args.files.base()?;
    args.files
        .write(&base, Change::Threshold(args.threshold), None)
}

impl AddArgs {
    fn text(&self) -> Result<String, Failure> {
        match &self.key_file {
            Some(path) => read_text(path),
            None => Ok(self.value.clone().unwrap_or_default()),
        }
    }
}

impl Files {
    /// What the change is made to: the draft if there is one, else the root after the current one.
    fn base(&self) -> Result<TrustRoot, Failure> {
        let current = current(&self.current)?;
        if !self.draft.exists() {
            let now = Timestamp::now();
            let issued = now.round(jiff::Unit::Second).unwrap_or(now).to_string();
            return begin(current.document(), &issued).map_err(refused);
        }
        let (document, _) = draft(&self.draft)?;
        follows(&current, &document, &self.draft)?;
        Ok(document)
    }

    fn write(&self, base: &TrustRoot, change: Change, made: Option<Made>) -> Result<(), Failure> {
        let next = apply(base, change).map_err(refused)?;
        let payload = next.payload().map_err(|e| refused(e.into()))?;
        let envelope = Envelope::assemble(PAYLOAD_TYPE, &payload, &[]);
        // The key first: a draft must not name a key that nobody has.
        if let Some(made) = &made {
            files::secret(&made.path, made.pem.as_bytes())?;
            println!("New key  {}  {}", made.key.public(), shown(&made.path));
        }
        files::replace(&self.draft, envelope.bytes())?;
        println!(
            "Draft of version {}: {}. It counts once enough root keys have signed it:\n  countersign trust sign {} --current {} --key FILE",
            next.version,
            shown(&self.draft),
            shown(&self.draft),
            shown(&self.current),
        );
        Ok(())
    }
}

/// A new key that is not written yet.
struct Made {
    path: PathBuf,
    key: FileKey,
    pem: Zeroizing<String>,
}

impl Made {
    fn new(path: &Path, encrypt: bool) -> Result<Self, Failure> {
        let key = FileKey::generate(&ring::rand::SystemRandom::new())
            .map_err(|e| Failure::Fault(format!("--generate: {e}")))?;
        let path = path.to_owned();
        let pem = if encrypt {
            crate::key::encrypted(&key, &shown(&path))?
        } else {
            key.to_pem()
        };
        Ok(Self { path, key, pem })
    }
}

/// Reads the trust root in effect.
pub(super) fn current(path: &Path) -> Result<VerifiedRoot, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    VerifiedRoot::parse(&bytes, &RingVerifier).map_err(|refusal| {
        let text = format!("{}: {refusal} ({})", path.display(), refusal.code());
        Failure::Negative(safe(&text).to_string())
    })
}

/// Reads a draft; its signatures are not looked at.
pub(super) fn draft(path: &Path) -> Result<(TrustRoot, Envelope), Failure> {
    let mistake =
        |why: &dyn std::fmt::Display| Failure::Mistake(format!("{}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    let envelope = Envelope::parse(&bytes, &Limits::trust_root()).map_err(|e| mistake(&e))?;
    if envelope.payload_type() != PAYLOAD_TYPE {
        return Err(mistake(&"payloadType: is no trust root"));
    }
    let document =
        TrustRoot::parse(envelope.payload()).map_err(|e| mistake(&safe(&e.to_string())))?;
    Ok((document, envelope))
}

/// A draft must be of the version after the current root, of the same fleet.
pub(super) fn follows(
    current: &VerifiedRoot,
    draft: &TrustRoot,
    path: &Path,
) -> Result<(), Failure> {
    if draft.fleet == current.fleet() && current.version().checked_add(1) == Some(draft.version) {
        return Ok(());
    }
    Err(Failure::Mistake(format!(
        "{}: is version {} of fleet {}; after the current root comes version {} of {}",
        path.display(),
        draft.version,
        safe(&draft.fleet),
        current.version().saturating_add(1),
        safe(current.fleet()),
    )))
}

/// Whether a key service holds the key.
fn is_held(text: &str) -> bool {
    text.starts_with("vault:") || text.starts_with("awskms:")
}

/// The log's key under the name that it has in this fleet; a vkey stays as it is.
fn log_vkey(base: &TrustRoot, text: &str) -> Result<String, Failure> {
    if !is_held(text) {
        return Ok(text.to_owned());
    }
    let key = crate::key::load(text)?.public();
    let vkey = Vkey::new(&log_name(&base.fleet), KeyKind::Ed25519, key)
        .map_err(|e| Failure::Mistake(safe(&e.to_string()).to_string()))?;
    Ok(vkey.to_string())
}

/// Reads a public key: base64, a vkey of kind 0x01, or what a key service says.
fn public(field: &str, text: &str) -> Result<PublicKey, Failure> {
    let text = text.trim();
    if is_held(text) {
        return Ok(crate::key::load(text)?.public());
    }
    if let Ok(vkey) = text.parse::<Vkey>() {
        return if vkey.kind() == KeyKind::Ed25519 {
            Ok(*vkey.key())
        } else {
            Err(Failure::Mistake(format!(
                "{field}: is a witness's key; witnesses stand in the witness policy"
            )))
        };
    }
    text.parse()
        .map_err(|e| Failure::Mistake(format!("{field}: {e}, or a vkey")))
}

fn environment(said: Option<&str>) -> Result<String, Failure> {
    let environment = needed("--environment", said)?;
    name::check("environment", &environment)
        .map_err(|e| Failure::Mistake(format!("--environment: {e}")))?;
    Ok(environment)
}

fn needed(field: &str, said: Option<&str>) -> Result<String, Failure> {
    match said.filter(|text| !text.trim().is_empty()) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Failure::Mistake(format!(
            "{field}: is needed for this role"
        ))),
    }
}

fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))
}

fn refused(error: ChangeError) -> Failure {
    Failure::Mistake(safe(&error.to_string()).to_string())
}

fn shown(path: &Path) -> String {
    safe(&path.display().to_string()).to_string()
}
