//! `countersign trust`: the trust roots of a fleet: the first one, those after it, and what one says.

mod authority;
mod change;
mod explain;
mod files;
mod sign;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use countersign_fleet::document;
use countersign_fleet::load::load;
use countersign_fleet::tree::WorkTree;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::{FileKey, RingVerifier};
use countersign_ledger::name;
use countersign_ledger::trust::init::FirstRoot;
use countersign_ledger::trust::{ClusterTrust, Level, VerifiedRoot};
use jiff::Timestamp;

use crate::exit::{CODES, Failure};
use crate::output::{Form, safe, write, write_value};

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign trust init --fleet acme --out keys --repo .
  countersign trust show keys/trust.json

{CODES}"))]
pub struct TrustArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make the first trust root of a fleet, and the hub's online keys.
    #[command(after_help = "\
Examples:
  countersign trust init --fleet acme --out keys --repo .
  countersign trust init --fleet acme --out keys --cluster metal-fra=prod --cluster lab=test:signed

Run it on your own machine. It writes
  OUT/root.key      signs the next trust roots: keep it offline, never give it to the hub
  OUT/trust.json    the trust root: public; agents pin its digest
  OUT/hub/          copy it to the hub's data folder, then delete it here

The fleet's name is final. Level is signed, witnessed, authored or reproduced; signed if not said.
With --repo a cluster's environment is its label \"env\".")]
    Init {
        /// The fleet's name: a-z, 0-9 and "-". It can't be changed later.
        #[arg(long, value_name = "NAME")]
        fleet: String,
        /// Folder to write to; it must be new or empty.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Take the clusters and their environments from this fleet repository.
        #[arg(long, value_name = "PATH")]
        repo: Option<PathBuf>,
        /// A cluster, its environment and level; may be said often, and beside --repo.
        #[arg(
            long,
            value_name = "NAME=ENV[:LEVEL]",
            required_unless_present = "repo"
        )]
        cluster: Vec<String>,
        /// Whose the root key is, for people to read.
        #[arg(long, value_name = "TEXT", default_value = "operator")]
        owner: String,
        /// Encrypt root.key with a passphrase (COUNTERSIGN_KEY_PASSPHRASE_FILE, COUNTERSIGN_KEY_PASSPHRASE, or you are asked).
        #[arg(long)]
        encrypt: bool,
    },
    /// Check a trust root and show what it says.
    #[command(after_help = "\
Examples:
  countersign trust show keys/trust.json
  countersign trust show trust.json --digest sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

The answer is no (exit code 1) if its signatures or its digest are not right.")]
    Show {
        /// The document.
        file: PathBuf,
        /// The digest that it must have.
        #[arg(long, value_name = "DIGEST")]
        digest: Option<Digest>,
        /// Form of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Form,
    },
    /// Add a key, person, cluster, log or witness policy to a draft of the next trust root.
    #[command(after_help = "\
Examples:
  countersign trust add root --name zoe --generate zoe.key
  countersign trust add sealer --environment production --generate sealer-production.key
  countersign trust add sealer --environment staging vault:transit/staging
  countersign trust add person --name ada --path apps/cart/ --key-file ada.pub
  countersign trust add witness-policy witnesses.txt
  countersign trust add cluster metal-fra=production:witnessed

A draft counts for nothing until root keys have signed it: `countersign trust sign`.")]
    Add(change::AddArgs),
    /// Put another key in the place of one, in a draft.
    #[command(after_help = "\
Examples:
  countersign trust rotate sealer OLD NEW --environment production
  countersign trust rotate root OLD --generate new-root.key")]
    Rotate(change::RotateArgs),
    /// Take a key out of its role, or from its person, in a draft.
    #[command(after_help = "\
Examples:
  countersign trust revoke KEY --reason 'laptop stolen'

The last sealer key of an environment and root keys that the threshold needs are not taken away: add the next first.")]
    Revoke(change::RevokeArgs),
    /// Change how many root keys must sign, in a draft.
    #[command(after_help = "\
Examples:
  countersign trust threshold 2")]
    Threshold(change::ThresholdArgs),
    /// Sign a draft; it is the next trust root once the old and the new threshold are met.
    #[command(after_help = "\
Examples:
  countersign trust sign trust.next.json --current trust.json --key root.key
  countersign trust sign trust.next.json --key root.key --key zoe.key

Each signer may do it on a machine of their own: send the draft on. Exit code 0 says that the signatures were added.")]
    Sign(sign::SignArgs),
    /// Give a completely signed trust root to the hub, which takes it up at once; or put it into a stopped hub's store.
    #[command(after_help = "\
Examples:
  countersign trust publish trust.next.json --hub https://hub.example:8443 --ca hub-ca.crt
  countersign trust publish trust.next.json --data data --trust keys/trust.json

With --hub nobody signs in: the root keys' signatures are the proof. Put the hub's new online keys in their places first; an
environment whose key is missing waits, the others go on. The document is checked against all before it first. For a store in a bucket, copy the file to trust/VERSION.json there.")]
    Publish(sign::PublishArgs),
    /// Say in plain words who can deploy what with which keys, and what a thief of each could do.
    #[command(after_help = "\
Examples:
  countersign trust explain
  countersign trust explain keys/trust.json")]
    Explain {
        /// The document.
        #[arg(default_value = "trust.json")]
        file: PathBuf,
    },
}

/// Runs it.
pub fn run(args: &TrustArgs) -> Result<(), Failure> {
    match &args.what {
        What::Init {
            fleet,
            out,
            repo,
            cluster,
            owner,
            encrypt,
        } => {
            let clusters = clusters(repo.as_deref(), cluster)?;
            init(fleet, out, clusters, owner, *encrypt)
        }
        What::Show {
            file,
            digest,
            output,
        } => show(file, digest.as_ref(), *output),
        What::Add(args) => change::add(args),
        What::Rotate(args) => change::rotate(args),
        What::Revoke(args) => change::revoke(args),
        What::Threshold(args) => change::threshold(args),
        What::Sign(args) => sign::sign(args),
        What::Publish(args) => sign::publish(args),
        What::Explain { file } => {
            let root = change::current(file)?;
            write(&mut std::io::stdout(), &explain::explain(root.document()))
        }
    }
}

/// The clusters of a repository and of the arguments; the arguments win.
fn clusters(
    repo: Option<&Path>,
    said: &[String],
) -> Result<BTreeMap<String, ClusterTrust>, Failure> {
    let mut clusters = match repo {
        Some(path) => of_repository(path)?,
        None => BTreeMap::new(),
    };
    for text in said {
        let (name, trust) = parse_cluster(text)?;
        clusters.insert(name, trust);
    }
    if clusters.is_empty() {
        return Err(Failure::Mistake(
            "no cluster: name one with --cluster NAME=ENV, or a repository with a folder clusters/"
                .to_owned(),
        ));
    }
    Ok(clusters)
}

fn of_repository(path: &Path) -> Result<BTreeMap<String, ClusterTrust>, Failure> {
    let fault =
        |error: &dyn std::fmt::Display| Failure::Mistake(format!("{}: {error}", path.display()));
    let tree = WorkTree::open(path).map_err(|e| fault(&e))?;
    let (fleet, _) = load(&tree).map_err(|e| fault(&e))?;
    if let Some((name, mistakes)) = fleet.broken_clusters.iter().next() {
        let first = mistakes
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        return Err(Failure::Mistake(format!(
            "cluster {} has a mistake: {}; `countersign lint` shows all",
            safe(name),
            safe(&first)
        )));
    }
    let mut clusters = BTreeMap::new();
    for (name, cluster) in &fleet.clusters {
        let environment = cluster.labels.get("env").ok_or_else(|| {
            Failure::Mistake(format!(
                "clusters/{name} has no label \"env\"; write it in clusters/{name}/cluster.yaml, or say --cluster {name}=ENV without --repo"
            ))
        })?;
        let level = fleet
            .levels
            .get(environment)
            .copied()
            .map_or_else(Level::default, asked);
        clusters.insert(
            name.clone(),
            ClusterTrust {
                environment: environment.clone(),
                level,
            },
        );
    }
    Ok(clusters)
}

/// The level that a fleet's own files ask for.
const fn asked(level: document::Level) -> Level {
    match level {
        document::Level::Signed => Level::Signed,
        document::Level::Witnessed => Level::Witnessed,
        document::Level::Authored => Level::Authored,
        document::Level::Reproduced => Level::Reproduced,
    }
}

/// Reads NAME=ENV[:LEVEL].
fn parse_cluster(text: &str) -> Result<(String, ClusterTrust), Failure> {
    let mistake =
        |why: &dyn std::fmt::Display| Failure::Mistake(format!("--cluster {}: {why}", safe(text)));
    let (cluster, rest) = text
        .split_once('=')
        .ok_or_else(|| mistake(&"must be NAME=ENV[:LEVEL]"))?;
    let (environment, level) = match rest.split_once(':') {
        Some((environment, level)) => (
            environment,
            level.parse::<Level>().map_err(|e| mistake(&e))?,
        ),
        None => (rest, Level::default()),
    };
    name::check("cluster", cluster).map_err(|e| mistake(&e))?;
    name::check("environment", environment).map_err(|e| mistake(&e))?;
    let trust = ClusterTrust {
        environment: environment.to_owned(),
        level,
    };
    Ok((cluster.to_owned(), trust))
}

fn init(
    fleet: &str,
    out: &Path,
    clusters: BTreeMap<String, ClusterTrust>,
    owner: &str,
    encrypt: bool,
) -> Result<(), Failure> {
    let now = Timestamp::now();
    name::check("fleet", fleet).map_err(|e| Failure::Mistake(format!("--fleet: {e}")))?;
    let authority = authority::make(fleet, now)?;
    let environments: Vec<String> = clusters
        .values()
        .map(|trust| trust.environment.clone())
        .collect();
    let names: Vec<String> = clusters.keys().cloned().collect();
    let first = FirstRoot {
        fleet: fleet.to_owned(),
        issued: now.round(jiff::Unit::Second).unwrap_or(now).to_string(),
        owner: owner.to_owned(),
        hub_ca: authority.fingerprint,
        clusters,
    };
    let material = first
        .make(&ring::rand::SystemRandom::new())
        .map_err(|e| Failure::Mistake(e.to_string()))?;
    let trust = material.trust.bytes();
    let digest = Digest::of(trust);

    let root_key = if encrypt {
        let key = FileKey::from_pem(&material.root_key)
            .map_err(|e| Failure::Fault(format!("root.key: {e}")))?;
        crate::key::encrypted(&key, "root.key")?
    } else {
        material.root_key.clone()
    };
    let folder = files::Folder::create(out)?;
    folder.secret("root.key", root_key.as_bytes())?;
    folder.public("trust.json", trust)?;
    folder.folder("hub")?;
    folder.folder("hub/keys")?;
    folder.public("hub/trust.json", trust)?;
    for (environment, key) in &material.sealer_keys {
        folder.secret(
            &format!("hub/keys/sealer-{environment}.key"),
            key.as_bytes(),
        )?;
    }
    folder.secret("hub/keys/log.key", material.log_key.as_bytes())?;
    folder.secret("hub/keys/agent-ca.key", material.agent_ca_key.as_bytes())?;
    folder.secret("hub/keys/hub-ca.key", authority.key.as_bytes())?;
    folder.public("hub/keys/hub-ca.crt", authority.certificate.as_bytes())?;
    folder.sync()?;

    let mut seen = environments;
    seen.sort();
    seen.dedup();
    print!("{}", told(fleet, out, &digest, &names, &seen));
    Ok(())
}

fn told(
    fleet: &str,
    out: &Path,
    digest: &Digest,
    clusters: &[String],
    environments: &[String],
) -> String {
    let out = safe(&out.display().to_string());
    let next = clusters.first().map_or("NAME", String::as_str);
    format!(
        "Trust root of fleet {fleet}, version 1: sha256:{digest}\n\
         Clusters: {clusters}. Environments: {environments}.\n\n\
         \x20 {out}/root.key     keep it with you, offline: it signs the next trust roots\n\
         \x20 {out}/trust.json   public; agents pin its digest\n\
         \x20 {out}/hub/         copy it into the hub's data folder, then delete it here:\n\
         \x20                      cp -r {out}/hub/. DATA/ && rm -r {out}/hub\n\n\
         Then start the hub and let a cluster join:\n\
         \x20 countersign-hub serve --repo URL --data DATA\n\
         \x20 countersign cluster add {next} --data DATA\n",
        clusters = clusters.join(", "),
        environments = environments.join(", "),
    )
}

fn show(file: &Path, digest: Option<&Digest>, form: Form) -> Result<(), Failure> {
    let bytes = std::fs::read(file).map_err(|e| Failure::file(file, &e))?;
    let verified = match digest {
        Some(digest) => VerifiedRoot::pinned(&bytes, digest, &RingVerifier),
        None => VerifiedRoot::parse(&bytes, &RingVerifier),
    };
    let root = verified.map_err(|refusal| {
        Failure::Negative(format!(
            "{}: {} ({})",
            file.display(),
            safe(&refusal.to_string()),
            refusal.code()
        ))
    })?;
    let mut out = std::io::stdout();
    match form {
        Form::Table => write(&mut out, &summary(&root)),
        Form::Json | Form::Yaml => write_value(form, root.document(), &mut out),
    }
}

fn summary(root: &VerifiedRoot) -> String {
    let document = root.document();
    let mut text = format!(
        "Fleet    {}\nVersion  {}\nIssued   {}\nDigest   sha256:{}\nHub CA   sha256:{}\nRoot     {} of {} keys sign\n",
        safe(&document.fleet),
        document.version,
        safe(&document.issued),
        root.digest(),
        document.hub_ca,
        document.root.threshold,
        document.root.keys.len(),
    );
    for key in &document.root.keys {
        text.push_str(&format!("         {}  {}\n", key.key, safe(&key.name)));
    }
    for (environment, keys) in &document.sealers {
        for key in keys {
            text.push_str(&format!("Sealer   {}  {}\n", key.key, safe(environment)));
        }
    }
    if let Some(log) = &document.log {
        text.push_str(&format!("Log      {}\n", safe(&log.vkey)));
    }
    for key in &document.agent_cas {
        text.push_str(&format!("Agents   {}\n", key.key));
    }
    if let Some(witnesses) = &document.witnesses {
        for line in witnesses
            .policy
            .lines()
            .filter(|line| !line.trim().is_empty())
        {
            text.push_str(&format!("Witness  {}\n", safe(line)));
        }
    }
    for (role, keys) in [
        ("Override", &document.overriders),
        ("Renderer", &document.reproducers),
        ("CI      ", &document.ci),
    ] {
        for key in keys {
            text.push_str(&format!("{role} {}  {}\n", key.key, safe(&key.name)));
        }
    }
    for person in &document.people {
        let kind = if person.forge { "Forge " } else { "Person" };
        text.push_str(&format!(
            "{kind}   {}  {} keys, may change {}\n",
            safe(&person.name),
            person.keys.len(),
            safe(&person.paths.join(" ")),
        ));
    }
    for (name, cluster) in &document.clusters {
        text.push_str(&format!(
            "Cluster  {}  {} ({})\n",
            safe(name),
            safe(&cluster.environment),
            cluster.level
        ));
    }
    text
}

#[cfg(test)]
mod tests;
