//! `countersign trust add`, `rotate`, `revoke`, `threshold`: the next trust root as a draft that root keys then sign.

mod args;

use std::path::{Path, PathBuf};

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

use args::Files;
pub use args::{AddArgs, Entry, RevokeArgs, RoleName, RotateArgs, ThresholdArgs};

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
