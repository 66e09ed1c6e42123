//! `countersign completions`, `countersign man`: made from the command line's own description.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Failure;
use crate::output::write;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign completions bash > /etc/bash_completion.d/countersign
  countersign completions zsh > \"${fpath[1]}/_countersign\"
  countersign completions fish > ~/.config/fish/completions/countersign.fish")]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign man | man -l -
  countersign man --out /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Write one page a command into this folder; without it the main page is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "countersign", &mut text);
    write(&mut std::io::stdout(), &String::from_utf8_lossy(&text))
}

/// Prints or writes manual pages.
pub fn man(args: &ManArgs) -> Result<(), Failure> {
    match &args.out {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|e| Failure::file(folder, &e))?;
            clap_mangen::generate_to(Cli::command(), folder).map_err(|e| Failure::file(folder, &e))
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut text)
                .map_err(|e| Failure::Fault(format!("manual: {e}")))?;
            write(&mut std::io::stdout(), &String::from_utf8_lossy(&text))
        }
    }
}
