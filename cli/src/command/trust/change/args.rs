//! What a change of the trust root is said with.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The files between which a change is made.
#[derive(Debug, Args)]
pub struct Files {
    /// The trust root in effect.
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    pub(super) current: PathBuf,
    /// The draft of the next one. If it exists, the change is added to it, and signatures on it are dropped.
    #[arg(long, value_name = "FILE", default_value = "trust.next.json")]
    pub(super) draft: PathBuf,
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
    pub(super) what: Entry,
    /// The key in base64, vault:<mount>/<key> or awskms:<arn>; for log a vkey or one of these two, for witness-policy a file, for person a key's text, for cluster NAME=ENV[:LEVEL].
    #[arg(value_name = "VALUE", required_unless_present_any = ["generate", "key_file"])]
    pub(super) value: Option<String>,
    /// Read the value from this file (an armored OpenPGP key, an OpenSSH .pub file).
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub(super) key_file: Option<PathBuf>,
    /// Make a new key and write it to this file, which must not exist; only its owner may read it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["value", "key_file"])]
    pub(super) generate: Option<PathBuf>,
    /// Encrypt the new key with a passphrase.
    #[arg(long, requires = "generate")]
    pub(super) encrypt: bool,
    /// Whose the key is; for root, overrider, reproducer, ci and person.
    #[arg(long, value_name = "TEXT")]
    pub(super) name: Option<String>,
    /// The environment; for sealer.
    #[arg(long, value_name = "ENV")]
    pub(super) environment: Option<String>,
    /// A path that the person may change, "apps/cart/" for a folder, "/" for everything; may be said often.
    #[arg(long, value_name = "PATH")]
    pub(super) path: Vec<String>,
    /// The person is a forge, whose key counts for clean merges only.
    #[arg(long)]
    pub(super) forge: bool,
    /// Where the log's files are served; for log.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    #[command(flatten)]
    pub(super) files: Files,
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
    pub(super) role: RoleName,
    /// The key that goes, in base64.
    #[arg(value_name = "OLD")]
    pub(super) old: String,
    /// The key that comes, in base64, vault:<mount>/<key> or awskms:<arn>.
    #[arg(value_name = "NEW", required_unless_present = "generate")]
    pub(super) new: Option<String>,
    /// Make the new key and write it to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "new")]
    pub(super) generate: Option<PathBuf>,
    /// Encrypt the new key with a passphrase.
    #[arg(long, requires = "generate")]
    pub(super) encrypt: bool,
    /// The environment; for sealer.
    #[arg(long, value_name = "ENV")]
    pub(super) environment: Option<String>,
    #[command(flatten)]
    pub(super) files: Files,
}

/// Arguments of `revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The key in base64, or a person's key as it stands in the trust root.
    #[arg(value_name = "KEY")]
    pub(super) key: String,
    /// Why; shown, for the words with which the signers are asked. It does not stand in the trust root.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) files: Files,
}

/// Arguments of `threshold`.
#[derive(Debug, Args)]
pub struct ThresholdArgs {
    /// How many root keys must sign.
    #[arg(value_name = "N")]
    pub(super) threshold: usize,
    #[command(flatten)]
    pub(super) files: Files,
}
