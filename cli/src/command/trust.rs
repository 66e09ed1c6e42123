//! `countersign trust`: the trust roots of a fleet: the first one, those after it, and what one says.

mod authority;
mod change;
mod clusters;
mod explain;
mod files;
mod init;
mod sign;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::trust::VerifiedRoot;

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
  countersign trust init --fleet acme --out keys --repo . --root-key vault:transit/root --sealer-key prod=vault:transit/prod --log-key awskms:ARN

Run it on your own machine. It writes
  OUT/root.key      signs the next trust roots: keep it offline, never give it to the hub
  OUT/trust.json    the trust root: public; agents pin its digest
  OUT/hub/          copy it to the hub's data folder, then delete it here

A key that is named (PATH, vault:<mount>/<key> or awskms:<arn>) is listed, and no file of it is written. The hub takes the same
names: --sealer-keys, --log-key, --agent-ca-key.

The fleet's name is final. Level is signed, witnessed, authored or reproduced; signed if not said.
With --repo a cluster's environment is its label \"env\".")]
    Init(init::InitArgs),
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
        What::Init(args) => init::init(args),
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
