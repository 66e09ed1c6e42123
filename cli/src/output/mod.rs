//! What a terminal or a program reads. All text that comes from Git, clusters or agents passes [`safe`] on its way out.

mod safe;
mod style;
mod table;

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::exit::Failure;

pub use safe::{safe, safe_value};
pub use style::{ColorChoice, Style, health_style, sync_style};
pub use table::Table;

/// Form of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Columns for a person.
    #[default]
    Table,
    /// JSON, as the hub gives it.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Writes a value for a program. Nothing in it can steer a terminal: what could is escaped.
pub fn write_value<T: Serialize>(
    form: Form,
    value: &T,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let bug = |error: &dyn std::fmt::Display| {
        Failure::Fault(format!("the output can't be written: {error}"))
    };
    let text = match form {
        Form::Table | Form::Json => {
            let text = serde_json::to_string_pretty(value).map_err(|e| bug(&e))?;
            format!("{}\n", safe::safe_json(&text))
        }
        Form::Yaml => {
            let mut value = serde_json::to_value(value).map_err(|e| bug(&e))?;
            safe_value(&mut value);
            serde_saphyr::to_string(&value).map_err(|e| bug(&e))?
        }
    };
    write(out, &text)
}

/// Writes text. A reader that went away (`| head`) ends the program quietly.
pub fn write(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Fault(format!("output: {error}"))),
    }
}
