//! `countersign trust init`: the first trust root of a fleet, with the keys that are made here and those that Vault or a KMS
//! holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::{FileKey, PublicKey, Sign, SignFault};
use countersign_ledger::name;
use countersign_ledger::trust::TrustRootError;
use countersign_ledger::trust::init::{FirstRoot, Held, InitError, Material};
use countersign_signer::Signer;
use jiff::Timestamp;

use super::clusters::clusters;
use super::{authority, files};
use crate::exit::Failure;
use crate::key;
use crate::output::safe;

/// Arguments.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The fleet's name: a-z, 0-9 and "-". It can't be changed later.
    #[arg(long, value_name = "NAME")]
    pub(super) fleet: String,
    /// Folder to write to; it must be new or empty.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Take the clusters and their environments from this fleet repository.
    #[arg(long, value_name = "PATH")]
    pub(super) repo: Option<PathBuf>,
    /// A cluster, its environment and level; may be said often, and beside --repo.
    #[arg(
        long,
        value_name = "NAME=ENV[:LEVEL]",
        required_unless_present = "repo"
    )]
    pub(super) cluster: Vec<String>,
    /// Whose the root key is, for people to read.
    #[arg(long, value_name = "TEXT", default_value = "operator")]
    pub(super) owner: String,
    /// Encrypt root.key with a passphrase (COUNTERSIGN_KEY_PASSPHRASE_FILE, COUNTERSIGN_KEY_PASSPHRASE, or you are asked).
    #[arg(long, conflicts_with = "root_key")]
    pub(super) encrypt: bool,
    /// The root key, if it is elsewhere; it signs the trust root now.
    #[arg(long, value_name = "KEY")]
    pub(super) root_key: Option<String>,
    /// The sealer key of an environment, if it is elsewhere; may be said often.
    #[arg(long, value_name = "ENV=KEY")]
    pub(super) sealer_key: Vec<String>,
    /// The log's key, if it is elsewhere.
    #[arg(long, value_name = "KEY")]
    pub(super) log_key: Option<String>,
    /// The agent CA's key, if it is elsewhere.
    #[arg(long, value_name = "KEY")]
    pub(super) agent_ca_key: Option<String>,
}

/// A key that is not here, as the ledger asks for signatures.
struct Remote(Box<dyn Signer>);

impl Sign for Remote {
    fn public(&self) -> PublicKey {
        self.0.public()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignFault> {
        key::signature(self.0.as_ref(), message).map_err(|failure| SignFault(failure.to_string()))
    }
}

/// The keys of the arguments, opened.
struct Named {
    root: Option<Remote>,
    sealers: BTreeMap<String, PublicKey>,
    log: Option<PublicKey>,
    agent_ca: Option<PublicKey>,
}

impl Named {
    fn open(args: &InitArgs) -> Result<Self, Failure> {
        let public = |reference: &Option<String>| -> Result<Option<PublicKey>, Failure> {
            let opened = reference.as_deref().map(key::load).transpose()?;
            Ok(opened.map(|signer| signer.public()))
        };
        let mut sealers = BTreeMap::new();
        for text in &args.sealer_key {
            let mistake = |why: &dyn std::fmt::Display| {
                Failure::Mistake(format!("--sealer-key {}: {why}", safe(text)))
            };
            let (environment, reference) = text
                .split_once('=')
                .ok_or_else(|| mistake(&"must be ENV=KEY"))?;
            name::check("environment", environment).map_err(|e| mistake(&e))?;
            let key = key::load(reference)?.public();
            if sealers.insert(environment.to_owned(), key).is_some() {
                return Err(mistake(&"the environment has another already"));
            }
        }
        let root = args.root_key.as_deref().map(key::load).transpose()?;
        Ok(Self {
            root: root.map(Remote),
            sealers,
            log: public(&args.log_key)?,
            agent_ca: public(&args.agent_ca_key)?,
        })
    }
}

pub(super) fn init(args: &InitArgs) -> Result<(), Failure> {
    let clusters = clusters(args.repo.as_deref(), &args.cluster)?;
    let now = Timestamp::now();
    name::check("fleet", &args.fleet).map_err(|e| Failure::Mistake(format!("--fleet: {e}")))?;
    let named = Named::open(args)?;
    let authority = authority::make(&args.fleet, now)?;
    let mut environments: Vec<String> = clusters
        .values()
        .map(|trust| trust.environment.clone())
        .collect();
    environments.sort();
    environments.dedup();
    let names: Vec<String> = clusters.keys().cloned().collect();
    let first = FirstRoot {
        fleet: args.fleet.clone(),
        issued: now.round(jiff::Unit::Second).unwrap_or(now).to_string(),
        owner: args.owner.clone(),
        hub_ca: authority.fingerprint,
        clusters,
    };
    let held = Held {
        root: named.root.as_ref().map(|root| root as &dyn Sign),
        sealers: named.sealers,
        log: named.log,
        agent_ca: named.agent_ca,
    };
    let material = first
        .make_with(&ring::rand::SystemRandom::new(), held)
        .map_err(|error| match &error {
            InitError::Document(TrustRootError::Sign(_)) => Failure::Fault(error.to_string()),
            _ => Failure::Mistake(safe(&error.to_string())),
        })?;
    write(args, &material, &authority)?;
    print!(
        "{}",
        told(
            args,
            &Digest::of(material.trust.bytes()),
            &names,
            &environments
        )
    );
    Ok(())
}

fn write(
    args: &InitArgs,
    material: &Material,
    authority: &authority::Authority,
) -> Result<(), Failure> {
    let encrypted;
    let root_key = match &material.root_key {
        Some(pem) if args.encrypt => {
            let key =
                FileKey::from_pem(pem).map_err(|e| Failure::Fault(format!("root.key: {e}")))?;
            encrypted = key::encrypted(&key, "root.key")?;
            Some(&encrypted)
        }
        plain => plain.as_ref(),
    };
    let trust = material.trust.bytes();
    let folder = files::Folder::create(&args.out)?;
    let secret = |name: &str, key: Option<&zeroize::Zeroizing<String>>| match key {
        Some(key) => folder.secret(name, key.as_bytes()),
        None => Ok(()),
    };
    secret("root.key", root_key)?;
    folder.public("trust.json", trust)?;
    folder.folder("hub")?;
    folder.folder("hub/keys")?;
    folder.public("hub/trust.json", trust)?;
    for (environment, key) in &material.sealer_keys {
        secret(&format!("hub/keys/sealer-{environment}.key"), Some(key))?;
    }
    secret("hub/keys/log.key", material.log_key.as_ref())?;
    secret("hub/keys/agent-ca.key", material.agent_ca_key.as_ref())?;
    secret("hub/keys/hub-ca.key", Some(&authority.key))?;
    folder.public("hub/keys/hub-ca.crt", authority.certificate.as_bytes())?;
    folder.sync()
}

fn told(args: &InitArgs, digest: &Digest, clusters: &[String], environments: &[String]) -> String {
    let out = safe(&args.out.display().to_string());
    let next = clusters.first().map_or("NAME", String::as_str);
    let root = match &args.root_key {
        None => format!(
            "\x20 {out}/root.key     keep it with you, offline: it signs the next trust roots\n"
        ),
        Some(key) => format!(
            "\x20 {}  signs the next trust roots; the hub must not be able to use it\n",
            safe(key)
        ),
    };
    let mut serve = "countersign-hub serve --repo URL --data DATA".to_owned();
    if !args.sealer_key.is_empty() {
        serve.push_str(&format!(
            " --sealer-keys {}",
            safe(&args.sealer_key.join(","))
        ));
    }
    for (flag, key) in [
        ("--log-key", &args.log_key),
        ("--agent-ca-key", &args.agent_ca_key),
    ] {
        if let Some(key) = key {
            serve.push_str(&format!(" {flag} {}", safe(key)));
        }
    }
    format!(
        "Trust root of fleet {fleet}, version 1: sha256:{digest}\n\
         Clusters: {clusters}. Environments: {environments}.\n\n\
         {root}\
         \x20 {out}/trust.json   public; agents pin its digest\n\
         \x20 {out}/hub/         copy it into the hub's data folder, then delete it here:\n\
         \x20                      cp -r {out}/hub/. DATA/ && rm -r {out}/hub\n\n\
         Then start the hub and let a cluster join:\n\
         \x20 {serve}\n\
         \x20 countersign cluster add {next} --data DATA\n",
        fleet = args.fleet,
        clusters = clusters.join(", "),
        environments = environments.join(", "),
    )
}
