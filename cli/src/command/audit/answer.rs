//! An answer: rows, what they rest on, and the forms in which a person or a program takes them.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::exit::Failure;
use crate::log::Signed;
use crate::output::{Form, Style, Table, safe, write, write_value};

/// Form of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum AnswerForm {
    /// Columns for a person, and below them what they rest on.
    #[default]
    Table,
    /// One JSON object: rows, proof, notes.
    Json,
    /// One JSON object a row.
    Jsonl,
    /// RFC 4180, one header row, times in UTC.
    Csv,
}

/// What an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// The log's name.
    pub origin: String,
    /// Entries under the checkpoint.
    pub size: u64,
    /// Its root.
    pub root: String,
    /// Who cosigned it.
    pub witnesses: Vec<String>,
    /// The entries that were looked at: from one index to below another.
    pub range: (u64, u64),
}

impl Basis {
    /// All entries under a checkpoint.
    pub fn of(head: &Signed) -> Self {
        Self {
            origin: head.checkpoint.origin.clone(),
            size: head.checkpoint.size,
            root: head.checkpoint.root.to_string(),
            witnesses: head.witnesses.keys().cloned().collect(),
            range: (0, head.checkpoint.size),
        }
    }

    /// As one sentence.
    pub fn sentence(&self, rows: usize) -> String {
        let (from, to) = self.range;
        let by = if self.witnesses.is_empty() {
            "no witness".to_owned()
        } else {
            self.witnesses.join(", ")
        };
        format!(
            "{rows} rows: all there are among the entries {from} to {} of the {} of {}, root {}, cosigned by {by}.",
            to.saturating_sub(1),
            self.size,
            self.origin,
            self.root,
        )
    }

    fn value(&self, rows: usize) -> Value {
        json!({
            "origin": self.origin, "size": self.size, "root": self.root, "witnesses": self.witnesses,
            "fromIndex": self.range.0, "toIndex": self.range.1, "rows": rows,
        })
    }
}

/// Rows with their columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The question in words.
    pub title: String,
    /// Names of the columns, `camelCase`.
    pub columns: Vec<&'static str>,
    /// The cells.
    pub rows: Vec<Vec<Value>>,
    /// What they rest on.
    pub basis: Basis,
    /// What a reader must know beside them.
    pub notes: Vec<String>,
    /// Entries that it rests on beside those that its rows name.
    pub also: Vec<u64>,
}

impl Answer {
    /// An answer without rows yet.
    pub fn new(title: impl Into<String>, columns: &[&'static str], basis: Basis) -> Self {
        Self {
            title: title.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
            basis,
            notes: Vec::new(),
            also: Vec::new(),
        }
    }

    fn object(&self, row: &[Value]) -> Map<String, Value> {
        let names = self.columns.iter().map(|name| (*name).to_owned());
        names.zip(row.iter().cloned()).collect()
    }

    /// Every entry that it rests on.
    pub fn entries(&self) -> BTreeSet<u64> {
        let names = |name: &str| {
            matches!(
                name,
                "index" | "sourceIndex" | "receiptIndex" | "fromIndex" | "untilIndex" | "endIndex"
            )
        };
        let columns = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, name)| names(name));
        let columns: Vec<usize> = columns.map(|(at, _)| at).collect();
        let cells = self
            .rows
            .iter()
            .flat_map(|row| columns.iter().filter_map(|at| row.get(*at)));
        cells
            .filter_map(Value::as_u64)
            .chain(self.also.iter().copied())
            .collect()
    }

    /// One JSON object a line.
    pub fn jsonl(&self) -> Result<String, Failure> {
        let mut text = String::new();
        for row in &self.rows {
            let mut line = Vec::new();
            write_compact(&self.object(row), &mut line)?;
            text.push_str(&String::from_utf8_lossy(&line));
            text.push('\n');
        }
        Ok(text)
    }

    /// RFC 4180. A cell that a spreadsheet would take for a formula is put behind an apostrophe.
    pub fn csv(&self) -> String {
        let mut text = self.columns.join(",");
        text.push_str("\r\n");
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| csv_cell(&shown(cell))).collect();
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
        text
    }

    /// Rows, proof and notes.
    pub fn value(&self) -> Value {
        let rows: Vec<Map<String, Value>> = self.rows.iter().map(|row| self.object(row)).collect();
        json!({"question": self.title, "rows": rows, "basis": self.basis.value(rows.len()), "notes": self.notes})
    }

    /// Writes it to standard output.
    pub fn write(&self, form: AnswerForm, color: bool) -> Result<(), Failure> {
        let mut out = std::io::stdout();
        match form {
            AnswerForm::Json => write_value(Form::Json, &self.value(), &mut out),
            AnswerForm::Jsonl => write(&mut out, &self.jsonl()?),
            AnswerForm::Csv => write(&mut out, &self.csv()),
            AnswerForm::Table => write(&mut out, &self.table(color)),
        }?;
        if matches!(form, AnswerForm::Jsonl | AnswerForm::Csv) {
            eprintln!("{}", safe(&self.basis.sentence(self.rows.len())));
        }
        Ok(())
    }

    fn table(&self, color: bool) -> String {
        let heading: Vec<String> = self.columns.iter().map(|name| spaced(name)).collect();
        let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
        let mut table = Table::new(&heading);
        for row in &self.rows {
            table.row(
                row.iter()
                    .map(|cell| (shortened(&shown(cell)), Style::Plain)),
            );
        }
        let mut text = String::new();
        if !self.rows.is_empty() {
            text.push_str(&table.text(color));
            text.push('\n');
        }
        text.push_str(&safe(&self.basis.sentence(self.rows.len())));
        text.push('\n');
        for note in &self.notes {
            text.push_str(&safe(note));
            text.push('\n');
        }
        text
    }
}

fn write_compact(object: &Map<String, Value>, line: &mut Vec<u8>) -> Result<(), Failure> {
    let mut value = Value::Object(object.clone());
    crate::output::safe_value(&mut value);
    serde_json::to_writer(line, &value).map_err(|e| Failure::Fault(e.to_string()))
}

/// A cell as text.
pub fn shown(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A long digest in a table: its beginning tells it apart. The other forms have it whole.
fn shortened(text: &str) -> String {
    let hex = text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match text.get(..12) {
        Some(head) if hex => head.to_owned(),
        _ => text.to_owned(),
    }
}

fn spaced(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('-');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

fn csv_cell(text: &str) -> String {
    let text = safe(text);
    let formula = text.starts_with(['=', '+', '-', '@']);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let basis = Basis {
            origin: "log".into(),
            size: 9,
            root: "r".into(),
            witnesses: vec!["w".into()],
            range: (2, 5),
        };
        let mut answer = Answer::new("q", &["clusterName", "what"], basis);
        answer.rows.push(vec!["a\x1b[2J".into(), "=1+1".into()]);
        answer.rows.push(vec!["a,\"b\"".into(), Value::Null]);
        answer
    }

    #[test]
    fn no_form_lets_a_name_steer_a_terminal_or_a_spreadsheet() {
        let answer = answer();
        assert_eq!(
            answer.csv(),
            "clusterName,what\r\na\\u{1b}[2J,'=1+1\r\n\"a,\"\"b\"\"\",\r\n"
        );
        for text in [answer.jsonl().unwrap(), answer.table(false)] {
            assert!(!text.contains('\x1b'), "{text}");
        }
        assert!(answer.table(false).contains("CLUSTER-NAME"));
    }

    #[test]
    fn the_basis_says_that_nothing_is_left_out() {
        let sentence = answer().basis.sentence(2);
        assert_eq!(
            sentence,
            "2 rows: all there are among the entries 2 to 4 of the 9 of log, root r, cosigned by w."
        );
    }
}
