//! `countersign audit`: an auditor's questions, answered from the signed log. A command a question; [`open`] brings the
//! log from its files to an audited index, [`answer`] gives rows and what they rest on.

mod answer;
mod authority;
mod changes;
mod disagreement;
mod exceptions;
mod export;
mod open;
mod running;
mod times;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::exit::{CODES, Failure};
use answer::AnswerForm;
use changes::Which;
use open::LogArgs;

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign audit verify --log /media/copy --trust sha256:9f86…
  countersign audit changes --log https://hub.example/log --from 2026-10-01 --to 2027-01-01 -o csv > changes.csv
  countersign audit at --cluster metal-fra --time 2026-11-24T20:00:00Z
  countersign audit history sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae

Works without network on a copied folder. The trust root is the only thing that you must have from elsewhere.

{CODES}"))]
pub struct AuditArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    log: LogArgs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: AnswerForm,
}

/// A time and a place.
#[derive(Debug, Args)]
struct WhichArgs {
    /// From this time on: a date, a time, or "30 days ago".
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// One cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// One environment.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check the whole log: hashes, signatures, chains, receipts, gaps.
    #[command(after_help = "\
Examples:
  countersign audit verify --log /media/copy --trust trust.json
  countersign audit verify --log s3://ledger/acme --rebuild -o jsonl

It goes on where the last audit ended, after a check that the log still begins with what was audited then; --rebuild reads
everything again. The answer is no (exit code 1) if anything contradicts the record; with --strict also on notices.")]
    Verify {
        /// The answer is no on notices too: silence, late receipts, overrides, refusals.
        #[arg(long)]
        strict: bool,
    },
    /// Show what a cluster ran at a time, by its own signed word.
    #[command(after_help = "\
Examples:
  countersign audit at --cluster metal-fra --time 2026-11-24T20:00:00Z
  countersign audit at --cluster metal-fra --time now -o json")]
    At {
        /// The cluster.
        #[arg(long, value_name = "NAME")]
        cluster: String,
        /// When.
        #[arg(long, value_name = "TIME", default_value = "now")]
        time: String,
    },
    /// Show who is behind what runs: commit, author, signer, permits, policies, receipt.
    #[command(after_help = "\
Examples:
  countersign audit who Deployment.apps/shop/cart
  countersign audit who cart --cluster metal-fra
  countersign audit who --app cart
  countersign audit who registry.example/cart:1.4.2")]
    Who {
        /// An object, its name, the digest of a content, or an image.
        #[arg(value_name = "OBJECT|DIGEST", required_unless_present_any = ["cluster", "app"])]
        object: Option<String>,
        /// On one cluster.
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// Of one app.
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
    },
    /// List every change of a time: the population, with count and proof of completeness.
    #[command(after_help = "\
Examples:
  countersign audit changes --from 2026-10-01 --to 2027-01-01 --env production -o csv
  countersign audit changes --cluster metal-fra --from \"30 days ago\"")]
    Changes(WhichArgs),
    /// List overrides, permits, refusals, attacks, silences, gaps, unhealed drift, unverified commits, self-approvals.
    #[command(after_help = "\
Examples:
  countersign audit exceptions --from 2026-10-01
  countersign audit exceptions --env production -o csv")]
    Exceptions(WhichArgs),
    /// Show what differs between two states.
    #[command(after_help = "\
Examples:
  countersign audit diff metal-fra@41 metal-fra@42
  countersign audit diff --cluster metal-fra 2026-10-01 2027-01-01
  countersign audit diff metal-fra@42 eks-dub@17")]
    Diff {
        /// Of the times.
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// A state: an index of the log, CLUSTER@GENERATION, the digest of a statement, or a time.
        a: String,
        /// The other one.
        b: String,
    },
    /// List drift: what, when, by whom, healed how fast.
    #[command(after_help = "\
Examples:
  countersign audit drift --from \"7 days ago\"
  countersign audit drift --unhealed")]
    Drift {
        #[command(flatten)]
        which: WhichArgs,
        /// Only what is not healed yet.
        #[arg(long)]
        unhealed: bool,
    },
    /// Show where an object, a content or an image is and ever was.
    #[command(after_help = "\
Examples:
  countersign audit history Deployment.apps/shop/cart
  countersign audit history sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
  countersign audit history registry.example/cart:1.4.2")]
    History {
        /// An object, its name, a digest, or an image.
        #[arg(value_name = "OBJECT|DIGEST")]
        object: String,
    },
    /// Show who could deploy where at a time, and with which keys.
    #[command(after_help = "\
Examples:
  countersign audit access
  countersign audit access --time 2026-10-01 -o csv")]
    Access {
        /// When; now, if not said.
        #[arg(long, value_name = "TIME")]
        time: Option<String>,
    },
    /// Prove that the log was not edited since an earlier checkpoint.
    #[command(after_help = "\
Examples:
  countersign audit consistency --since last-year/checkpoint")]
    Consistency {
        /// The checkpoint of the last audit, a file.
        #[arg(long, value_name = "CHECKPOINT")]
        since: PathBuf,
    },
    /// Write an evidence pack: lists, report, envelopes, proofs, checkpoint, trust roots, and how to check them.
    #[command(after_help = "\
Examples:
  countersign audit export --from 2026-10-01 --to 2027-01-01 --out q4")]
    Export {
        #[command(flatten)]
        which: WhichArgs,
        /// A folder; it must be new or empty.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Runs it.
pub fn run(args: &AuditArgs, color: bool) -> Result<(), Failure> {
    let now = Timestamp::now();
    let ms = |text: &str| times::parse(text, now);
    let which = |args: &WhichArgs| -> Result<Which, Failure> {
        Ok(Which {
            from: args.from.as_deref().map(ms).transpose()?,
            to: args.to.as_deref().map(ms).transpose()?,
            cluster: args.cluster.clone(),
            environment: args.env.clone(),
        })
    };
    open::with(&args.log, |audit| {
        if let What::Verify { strict } = &args.what {
            return verify::run(audit, args.output, *strict, color);
        }
        audit.sound()?;
        let answer = match &args.what {
            What::Verify { .. } => return Ok(()),
            What::At { cluster, time } => running::at(audit, cluster, ms(time)?)?,
            What::Who {
                object,
                cluster,
                app,
            } => running::who(audit, object.as_deref(), cluster.as_deref(), app.as_deref())?,
            What::Changes(args) => changes::changes(audit, &which(args)?)?,
            What::Exceptions(args) => exceptions::exceptions(audit, &which(args)?)?,
            What::Diff { cluster, a, b } => {
                let a = running::state(audit, a, cluster.as_deref(), ms)?;
                let b = running::state(audit, b, cluster.as_deref(), ms)?;
                running::diff(audit, &a, &b)?
            }
            What::Drift {
                which: args,
                unhealed,
            } => changes::drift(audit, &which(args)?, *unhealed)?,
            What::History { object } => running::history(audit, object)?,
            What::Access { time } => {
                let time = time.as_deref().map(ms).transpose()?;
                authority::access(audit, time)?
            }
            What::Consistency { since } => authority::consistency(audit, since)?,
            What::Export { which: args, out } => return export::run(audit, &which(args)?, out),
        };
        answer.write(args.output, color)?;
        match &args.log.proofs {
            Some(folder) => audit.write_proofs(folder, &answer.entries()),
            None => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests;
