//! Reading the options, from wherever they stand, and listing them.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser as _};

use super::{Args, Command, ConfigError};

impl Args {
    /// Reads arguments, environment and the file that either names.
    ///
    /// # Errors
    /// [`ConfigError`] with what is wrong and where.
    pub fn read(
        arguments: Vec<std::ffi::OsString>,
        environment: Option<std::ffi::OsString>,
    ) -> Result<Self, ConfigError> {
        let file = named_file(&arguments).or(environment.map(PathBuf::from));
        let Some(file) = file else {
            return Self::try_parse_from(arguments)?.checked();
        };
        let name = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|error| ConfigError::File {
            file: name.clone(),
            problem: error.to_string(),
        })?;
        let table: toml::Table =
            text.parse()
                .map_err(|error: toml::de::Error| ConfigError::File {
                    file: name.clone(),
                    problem: error.to_string(),
                })?;
        let command = Self::command();
        let known: Vec<String> = listed(&command).map(|(name, _)| name.to_owned()).collect();
        // What the file says becomes the default of its option, so that flag and environment win by clap's own order.
        let mut defaults = Vec::new();
        for (key, value) in table {
            if !known.contains(&key) || key == "config" {
                return Err(ConfigError::UnknownKey {
                    file: name,
                    key,
                    known: known.join(", "),
                });
            }
            let values: Vec<String> = match value {
                toml::Value::Array(items) => items.into_iter().map(as_text).collect(),
                other => vec![as_text(other)],
            };
            defaults.push((key, values));
        }
        let command = command.mut_subcommand("run", |mut run| {
            for (key, values) in defaults {
                let id = key.replace('-', "_");
                run = run.mut_arg(id, |arg| {
                    // clap keeps defaults for the whole life of the process, and they are read once.
                    let values = values
                        .into_iter()
                        .map(|value| &*Box::leak(value.into_boxed_str()));
                    arg.required(false).default_values(values)
                });
            }
            run
        });
        let matches = command.try_get_matches_from(arguments)?;
        <Self as clap::FromArgMatches>::from_arg_matches(&matches)?.checked()
    }

    /// What clap can't say where some of it stands in a file.
    fn checked(self) -> Result<Self, ConfigError> {
        let Command::Run(options) = &self.command;
        let by_files = options.import_dir.is_some();
        if options.hub.is_some() == by_files || (options.export_dir.is_some() && !by_files) {
            return Err(ConfigError::Hub);
        }
        Ok(self)
    }
}

fn as_text(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}

fn named_file(arguments: &[std::ffi::OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = argument
            .to_str()
            .and_then(|text| text.strip_prefix("--config="))
        {
            return Some(PathBuf::from(path));
        }
    }
    None
}

/// Every option of `run`, by its name.
fn listed(command: &clap::Command) -> impl Iterator<Item = (&str, &clap::Arg)> {
    command
        .find_subcommand("run")
        .into_iter()
        .flat_map(clap::Command::get_arguments)
        .filter_map(|argument| Some((argument.get_long()?, argument)))
        .filter(|(name, _)| !matches!(*name, "help" | "version"))
}

/// The table of options as Markdown, for the documentation.
#[must_use]
pub fn reference() -> String {
    let command = Args::command();
    let mut out = String::from("| option | environment | default | meaning |\n|---|---|---|---|\n");
    for (name, argument) in listed(&command) {
        let environment = argument
            .get_env()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let default: Vec<String> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let help = argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        out.push_str(&format!(
            "| `--{name}` | `{environment}` | {} | {help} |\n",
            default.join(", ")
        ));
    }
    out
}
