//! `countersign health -f FILE`: judges any objects offline, by the same rules as the agent.
//!
//! Called by main.rs. Reads files or standard input, writes to the output it is given, and talks to nobody.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use countersign_health::{Health, HealthStatus, Rules, judge_with_pods, rollup, rules, selects};
use serde::Serialize;
use serde_json::Value;

/// Largest input, bytes: what a list of all pods of a large cluster takes.
const INPUT_MAX: u64 = 256 << 20;

/// Most objects judged at once.
const OBJECTS_MAX: usize = 500_000;

/// Lists inside of lists are followed this deep.
const LISTS_MAX: usize = 4;

/// Judge objects offline: `NAME KIND STATUS MESSAGE`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl get deployments,pods -A -o yaml | countersign health -f -
  countersign health -f rendered.yaml -o json
  countersign health -f live.json --rules policies/health/rollouts.yaml

A workload is explained by its pods where the input holds them.

Exit codes:
  0  all healthy, or suspended on purpose
  1  something is degraded or missing
  2  wrong usage, or objects or rules that can't be read
  3  the output can't be written
  4  not yet: nothing is worse than progressing or unknown")]
pub struct HealthArgs {
    /// File of objects, `-` for standard input; YAML or JSON, any number of documents and lists.
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    filename: Vec<PathBuf>,
    /// File of health rules (`kind: HealthRules`).
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Columns for a person.
    Table,
    /// One document for a program.
    Json,
}

/// Why nothing can be judged.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// A file or standard input can't be read.
    #[error("{file}: {source}")]
    Read {
        /// Its name.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than a limit.
    #[error("{file}: more than {INPUT_MAX} bytes")]
    TooLarge {
        /// Its name.
        file: String,
    },
    /// It is neither YAML nor JSON.
    #[error("{file}: {problem}")]
    Syntax {
        /// Its name.
        file: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// More objects than a limit.
    #[error("more than {OBJECTS_MAX} objects, or lists nested more deeply than {LISTS_MAX}")]
    TooMany,
    /// Rules that are refused, all at once.
    #[error("{0}")]
    Rules(String),
    /// The output is gone.
    #[error("output: {0}")]
    Write(#[from] std::io::Error),
}

impl HealthError {
    /// The exit status that stands for it: 2 for a mistake in what was given, 3 for a fault.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Syntax { .. }
            | Self::TooMany
            | Self::Rules(_) => 2,
            Self::Write(_) => 3,
        }
    }
}

/// One judged object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    group: String,
    kind: String,
    namespace: String,
    name: String,
    status: HealthStatus,
    message: String,
}

#[derive(Serialize)]
struct Report<'r> {
    status: HealthStatus,
    message: &'r str,
    objects: &'r [Row],
}

/// Judges what `args` name and writes it to `output`; gives the exit status (see `--help`).
///
/// # Errors
/// [`HealthError`]: nothing was judged; the exit status is its [`HealthError::code`].
pub fn run(
    args: &HealthArgs,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Result<u8, HealthError> {
    let rules = load_rules(&args.rules)?;
    let mut objects = Vec::new();
    for file in &args.filename {
        let name = file.display().to_string();
        let text = read(file, input)?;
        for document in documents(&name, &text)? {
            flatten(document, 0, &mut objects)?;
        }
    }
    let rows = judge_all(&objects, &rules);
    let whole = sum_up(&rows);
    match args.output {
        Form::Table => table(&rows, output)?,
        Form::Json => json(&rows, &whole, output)?,
    }
    Ok(exit_status(whole.status))
}

/// The exit status that stands for a verdict.
pub fn exit_status(status: HealthStatus) -> u8 {
    match status {
        HealthStatus::Healthy | HealthStatus::Suspended => 0,
        HealthStatus::Degraded | HealthStatus::Missing => 1,
        HealthStatus::Progressing | HealthStatus::Unknown => 4,
    }
}

fn read(file: &Path, input: &mut dyn Read) -> Result<String, HealthError> {
    let name = file.display().to_string();
    let failed = |source| HealthError::Read {
        file: name.clone(),
        source,
    };
    let mut text = String::new();
    if file == Path::new("-") {
        input
            .take(INPUT_MAX + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
    } else {
        std::fs::File::open(file)
            .and_then(|file| file.take(INPUT_MAX + 1).read_to_string(&mut text))
            .map_err(failed)?;
    }
    if text.len() as u64 > INPUT_MAX {
        return Err(HealthError::TooLarge { file: name });
    }
    Ok(text)
}

fn load_rules(files: &[PathBuf]) -> Result<Rules, HealthError> {
    let mut all = Vec::new();
    let mut wrong = Vec::new();
    for file in files {
        let text = read(file, &mut std::io::empty())?;
        match rules::parse(&text) {
            Ok(rules) => all.extend(rules),
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    let (compiled, mistakes) = Rules::compile(&all);
    wrong.extend(mistakes.iter().map(ToString::to_string));
    if wrong.is_empty() {
        Ok(compiled)
    } else {
        Err(HealthError::Rules(wrong.join("\n")))
    }
}

/// All documents of a text: JSON values one after the other if it starts like JSON, YAML otherwise.
fn documents(file: &str, text: &str) -> Result<Vec<Value>, HealthError> {
    let wrong = |problem: String| HealthError::Syntax {
        file: file.to_owned(),
        problem,
    };
    if text.trim_start().starts_with(['{', '[']) {
        let json: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text)
            .into_iter()
            .collect();
        if let Ok(values) = json {
            return Ok(values);
        }
    }
    let mut options = serde_saphyr::Options::default();
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    if let Some(budget) = options.budget.as_mut() {
        budget.max_depth = 100;
        budget.max_nodes = usize::MAX;
        budget.max_events = usize::MAX;
        budget.max_documents = OBJECTS_MAX;
        budget.max_total_scalar_bytes = usize::MAX;
        budget.max_aliases = 1_000;
    }
    options.alias_limits.max_total_replayed_events = 100_000;
    let values: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| wrong(error.without_snippet().to_string()))?;
    Ok(values
        .into_iter()
        .filter(|value| !value.is_null())
        .collect())
}

/// Lists become their items; an item of a typed list takes its kind from it.
fn flatten(document: Value, depth: usize, objects: &mut Vec<Value>) -> Result<(), HealthError> {
    if depth > LISTS_MAX || objects.len() >= OBJECTS_MAX {
        return Err(HealthError::TooMany);
    }
    let Value::Object(mut fields) = document else {
        if let Value::Array(items) = document {
            return items
                .into_iter()
                .try_for_each(|item| flatten(item, depth + 1, objects));
        }
        objects.push(document);
        return Ok(());
    };
    let of = fields
        .get("kind")
        .and_then(Value::as_str)
        .and_then(|kind| kind.strip_suffix("List"))
        .map(str::to_owned);
    let Some((of, Some(Value::Array(items)))) = of.map(|of| (of, fields.remove("items"))) else {
        objects.push(Value::Object(fields));
        return Ok(());
    };
    let version = fields.remove("apiVersion").unwrap_or_default();
    items.into_iter().try_for_each(|mut item| {
        if let Value::Object(item) = &mut item
            && !of.is_empty()
        {
            item.entry("kind")
                .or_insert_with(|| Value::from(of.as_str()));
            item.entry("apiVersion").or_insert_with(|| version.clone());
        }
        flatten(item, depth + 1, objects)
    })
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn judge_all(objects: &[Value], rules: &Rules) -> Vec<Row> {
    let pods: Vec<&Value> = objects
        .iter()
        .filter(|object| text(object, "/kind") == "Pod" && text(object, "/apiVersion") == "v1")
        .collect();
    objects
        .iter()
        .map(|object| {
            let mut health = countersign_health::judge(object, rules);
            if !pods.is_empty() && health.status > HealthStatus::Suspended {
                let own: Vec<Value> = pods
                    .iter()
                    .filter(|pod| selects(object, pod))
                    .take(countersign_health::limits::PODS_MAX)
                    .map(|pod| (*pod).clone())
                    .collect();
                health = judge_with_pods(object, &own, rules);
            }
            Row {
                group: text(object, "/apiVersion")
                    .split_once('/')
                    .map(|(group, _)| group.to_owned())
                    .unwrap_or_default(),
                kind: text(object, "/kind").to_owned(),
                namespace: text(object, "/metadata/namespace").to_owned(),
                name: text(object, "/metadata/name").to_owned(),
                status: health.status,
                message: health.message,
            }
        })
        .collect()
}

impl Row {
    fn place(&self) -> String {
        match (self.namespace.as_str(), self.name.as_str()) {
            ("", "") => "-".to_owned(),
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        }
    }
}

fn sum_up(rows: &[Row]) -> Health {
    let parts: Vec<(String, Health)> = rows
        .iter()
        .map(|row| {
            let name = format!("{} {}", row.kind, row.place());
            (name, Health::new(row.status, &row.message))
        })
        .collect();
    rollup::roll_up(
        parts
            .iter()
            .map(|(name, health)| rollup::Part { name, health }),
    )
}

fn table(rows: &[Row], output: &mut dyn Write) -> std::io::Result<()> {
    let cells: Vec<[String; 4]> =
        std::iter::once(["NAME", "KIND", "STATUS", "MESSAGE"].map(str::to_owned))
            .chain(rows.iter().map(|row| {
                [
                    printable(&row.place()),
                    printable(if row.kind.is_empty() { "-" } else { &row.kind }),
                    row.status.word().to_owned(),
                    printable(&row.message),
                ]
            }))
            .collect();
    let width = |column: usize| {
        cells
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let (name, kind, status) = (width(0), width(1), width(2));
    for [a, b, c, d] in &cells {
        let line = format!("{a:name$}  {b:kind$}  {c:status$}  {d}");
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}

fn json(rows: &[Row], whole: &Health, output: &mut dyn Write) -> Result<(), HealthError> {
    let report = Report {
        status: whole.status,
        message: &whole.message,
        objects: rows,
    };
    let text = serde_json::to_string_pretty(&report).map_err(std::io::Error::from)?;
    // Only texts can hold such characters, and there an escape means the same.
    for part in text.split_inclusive(|c: char| c != '\n' && steers(c)) {
        let mut kept = part;
        let mut escape = String::new();
        if let Some(last) = part
            .chars()
            .next_back()
            .filter(|c| *c != '\n' && steers(*c))
        {
            kept = &part[..part.len() - last.len_utf8()];
            escape = format!("\\u{:04x}", u32::from(last));
        }
        write!(output, "{kept}{escape}")?;
    }
    writeln!(output)?;
    Ok(())
}

/// A character that steers a terminal or turns the direction of text, rather than showing something.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text with each steering character written out, so that a name can't move the cursor or hide another.
fn printable(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut shown, c| {
            if steers(c) {
                shown.extend(c.escape_unicode());
            } else {
                shown.push(c);
            }
            shown
        })
}

#[cfg(test)]
mod tests;
