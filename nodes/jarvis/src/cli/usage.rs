//! Wrong usage for programs: clap's words as a failure.

use std::ffi::OsString;

use clap::error::ErrorKind;

use crate::fail::Failure;

/// The failure that a wrong command line is, where it asked for JSON; none where clap's own words are for people, or where
/// nothing is wrong (`--help`).
pub fn usage_failure(error: &clap::Error, args: impl Iterator<Item = OsString>) -> Option<Failure> {
    let wants_json = args.take_while(|arg| arg != "--").any(|arg| arg == "--json");
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !wants_json || is_help {
        return None;
    }
    let text = error.render().to_string();
    let why = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "a command is missing"
        }
        // The first paragraph; below it stands how to write it.
        _ => text.split("\n\n").next().unwrap_or_default(),
    };
    let why = why.trim().trim_start_matches("error: ");
    Some(
        Failure::new("the command line is wrong", why)
            .next("see `jarvis --help`, or `jarvis COMMAND --help`")
            .usage(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn failure(line: &[&str]) -> Option<Failure> {
        let error = Cli::try_parse_from(line).expect_err("wrong");
        usage_failure(&error, line.iter().map(OsString::from))
    }

    #[test]
    fn wrong_usage_is_a_document_where_one_was_asked_for() {
        let table: [(&[&str], &str); 4] = [
            (
                &["jarvis", "up", "--json", "--nodes", "x"],
                "invalid value 'x' for '--nodes",
            ),
            (
                &["jarvis", "--json", "stauts"],
                "unrecognized subcommand 'stauts'",
            ),
            (&["jarvis", "--json"], "a command is missing"),
            (
                &["jarvis", "drain", "--json"],
                "required arguments were not provided",
            ),
        ];
        for (line, expected) in table {
            let failure = failure(line).unwrap_or_else(|| panic!("{line:?}"));
            assert!(failure.why.contains(expected), "{line:?}: {failure}");
            assert!(failure.code == 2 && !failure.why.contains("Usage"), "{failure}");
        }
    }

    #[test]
    fn people_get_the_words_of_the_command_line_itself() {
        assert_eq!(failure(&["jarvis", "stauts"]), None);
        assert_eq!(failure(&["jarvis", "up", "--json", "--help"]), None);
        assert_eq!(failure(&["jarvis", "up", "--", "--json"]), None);
    }
}
