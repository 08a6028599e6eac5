//! `quorate completions` and `quorate man`: what shells and manual readers are told about the command line.
//!
//! Both follow from the very definition that arguments are parsed by, so neither can lag behind it.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::CommandLine;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;

/// Prints a completion script.
#[derive(Clone, Copy, Debug, Args)]
pub struct Completions {
    /// The shell that shall complete.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints a manual page, in roff.
#[derive(Clone, Debug, Args)]
pub struct Manual {
    /// The command that the page shall be about, or `config check` in two words [default: quorate itself].
    command: Vec<String>,
}

/// No command is called so.
#[derive(Debug, thiserror::Error)]
#[error("there is no command {name:?}")]
struct UnknownCommand {
    name: String,
}

/// Prints the script for a shell.
///
/// # Errors
/// [`CliError::Stdout`].
pub fn completions(command: Completions) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut CommandLine::command(), "quorate", &mut script);
    output::print_bytes(&script)?;
    Ok(Exit::Ok)
}

/// Prints a page.
///
/// # Errors
/// Exit 2 if there is no such command; [`CliError::Stdout`].
pub fn manual(command: &Manual) -> Result<Exit, CliError> {
    let mut page = Vec::new();
    let subject = subject(&command.command)?;
    Man::new(subject).render(&mut page).expect("a Vec takes all bytes");
    output::print_bytes(&page)?;
    Ok(Exit::Ok)
}

/// The definition of a command, with the options that it inherits.
fn subject(names: &[String]) -> Result<clap::Command, CliError> {
    let mut command = CommandLine::command();
    command.build();
    for name in names {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| CliError::new(Exit::Usage, UnknownCommand { name: name.clone() }))?;
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn pages_have_the_full_name_of_their_command_and_the_exit_codes() {
        let page = |text: &str| {
            let mut page = Vec::new();
            Man::new(subject(&names(text)).expect(text)).render(&mut page).expect("rendered");
            String::from_utf8(page).expect("roff is text")
        };
        assert!(page("config check").contains(".TH quorate-config-check 1"), "{}", page("config check"));
        assert!(page("").contains("outcome unknown") && page("").contains("unavailable, and not applied"), "{}", page(""));
        let refused = subject(&names("git")).expect_err("no such command");
        assert_eq!((refused.to_string(), refused.exit()), ("there is no command \"git\"".to_owned(), Exit::Usage));
    }
}
