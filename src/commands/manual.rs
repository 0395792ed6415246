//! `livekit-otel completions` and `livekit-otel man`: made from the same definitions as the help.

use std::io::{self, Write};

use clap::CommandFactory;

use super::Failure;
use crate::cli::{Cli, CompletionsArgs, ManArgs};

const NAME: &str = "livekit-otel";

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    // Into memory first: the generator panics if its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    Ok(io::stdout().write_all(&script)?)
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let page = page(&args.command).ok_or_else(|| {
        let names: Vec<_> =
            Cli::command().get_subcommands().map(|it| it.get_name().to_owned()).collect();
        let (asked, names) = (args.command.join(" "), names.join(", "));
        Failure::Usage(format!("livekit-otel: there is no command {asked}: one of {names}"))
    })?;
    let mut text = Vec::new();
    page.render(&mut text)?;
    Ok(io::stdout().write_all(&text)?)
}

// The page of the program, or of a command and its subcommand.
fn page(path: &[String]) -> Option<clap_mangen::Man> {
    let mut command = Cli::command();
    // Gives the commands their whole names.
    command.build();
    for name in path {
        command = command.find_subcommand(name)?.clone();
    }
    let title = command.get_bin_name().unwrap_or(NAME).replace(' ', "-");
    Some(clap_mangen::Man::new(command).title(title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_and_others_have_none() {
        let rendered = |path: &[&str]| {
            let path: Vec<_> = path.iter().map(|name| (*name).to_owned()).collect();
            let mut text = Vec::new();
            page(&path)?.render(&mut text).unwrap();
            String::from_utf8(text).ok()
        };
        let program = rendered(&[]).unwrap();
        assert!(program.contains("OpenTelemetry for LiveKit"), "{program}");
        for command in Cli::command().get_subcommands() {
            assert!(rendered(&[command.get_name()]).is_some(), "{}", command.get_name());
        }
        let retry = rendered(&["deadletter", "retry"]).unwrap();
        assert!(retry.contains("Send dead letters again"), "{retry}");
        assert_eq!(rendered(&["no-such-command"]), None);
    }
}
