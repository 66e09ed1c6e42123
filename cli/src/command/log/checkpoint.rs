//! `countersign log checkpoint`.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::{put, read};
use crate::exit::Failure;
use crate::log::{Known, KnownArgs, Log, Signed, SourceArgs};
use crate::output::{Form, safe, write, write_value};

/// What is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    origin: String,
    size: u64,
    root: String,
    signatures: Vec<Signature>,
    /// When a quorum had cosigned it; null if no witness was asked for.
    witnessed: Option<String>,
    /// Size of the earlier checkpoint that it was proven to continue; null if none was named.
    continues: Option<u64>,
    /// Signatures of keys that are not known.
    unknown: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Signature {
    name: String,
    vkey: String,
    time: Option<String>,
}

pub(super) fn run(
    source: &SourceArgs,
    known: &KnownArgs,
    since: Option<&Path>,
    raw: bool,
    form: Form,
) -> Result<(), Failure> {
    let known = Known::from_args(known)?;
    let files = source.open()?;
    let log = Log::open(files.as_ref(), &known)?;
    let signed = log.head();
    let continues = since
        .map(|file| continued(&log, file, &known))
        .transpose()?;
    if raw {
        return put(None, &signed.note.bytes());
    }
    let witnessed = signed.witnessed();
    let shown = shown(
        signed,
        witnessed.as_ref().ok().copied().flatten(),
        continues,
    );
    let mut out = std::io::stdout();
    match form {
        Form::Table => write(&mut out, &text(&shown, &known))?,
        Form::Json | Form::Yaml => write_value(form, &shown, &mut out)?,
    }
    witnessed.map(|_| ())
}

fn shown(signed: &Signed, witnessed: Option<u64>, continues: Option<u64>) -> Shown {
    let verified = signed.opened.verified().iter();
    let unknown = signed.opened.unknown().iter();
    Shown {
        origin: signed.checkpoint.origin.clone(),
        size: signed.checkpoint.size,
        root: signed.checkpoint.root.to_string(),
        signatures: verified
            .map(|verified| Signature {
                name: verified.key.name().to_owned(),
                vkey: verified.key.to_string(),
                time: verified.time.map(moment),
            })
            .collect(),
        witnessed: witnessed.map(moment),
        continues,
        unknown: unknown
            .map(|signature| format!("{}+{:08x}", signature.name, signature.id))
            .collect(),
    }
}

/// The size of an earlier checkpoint, once it is proven that the log continues it.
fn continued(log: &Log<'_>, file: &Path, known: &Known) -> Result<u64, Failure> {
    let earlier = Signed::read(&read(file)?, known)?.checkpoint;
    let origin = &log.head().checkpoint.origin;
    if earlier.origin != *origin {
        return Err(Failure::Mistake(format!(
            "{}: is of the log {}, not {}",
            file.display(),
            safe(&earlier.origin),
            safe(origin)
        )));
    }
    log.consistency(earlier.size, &earlier.root)?;
    Ok(earlier.size)
}

fn text(shown: &Shown, known: &Known) -> String {
    let mut out = format!(
        "Log        {}\nEntries    {}\nRoot       {}\n",
        safe(&shown.origin),
        shown.size,
        shown.root
    );
    for signature in &shown.signatures {
        let what = match &signature.time {
            None => "the log".to_owned(),
            Some(time) => format!("witness, {time}"),
        };
        out.push_str(&format!("Signed by  {}  ({what})\n", safe(&signature.name)));
    }
    if let Some(size) = shown.continues {
        out.push_str(&format!(
            "Continues  the checkpoint of {size} entries: proven\n"
        ));
    }
    for name in &shown.unknown {
        out.push_str(&format!("Not known  {}\n", safe(name)));
    }
    out.push_str(&match (&known.policy, &shown.witnessed) {
        (None, _) => "Witnesses  none asked for\n".to_owned(),
        (Some(_), Some(time)) => format!("Witnesses  a quorum had cosigned it at {time}\n"),
        (Some(_), None) => "Witnesses  no quorum has cosigned it\n".to_owned(),
    });
    out
}

/// Seconds since 1970 as a person reads them.
pub(super) fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("second {seconds}"), |time| time.to_string())
}
