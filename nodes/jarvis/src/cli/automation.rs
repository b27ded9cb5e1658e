//! `jarvis automation …`: what can be written after it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use super::args::{Target, duration};

/// `jarvis automation …`.
#[derive(Debug, Clone, Subcommand)]
pub enum AutomationCommand {
    /// Lists all automations
    #[command(after_help = "Example: jarvis automation list")]
    List {
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Shows one automation: where it stands, what it waits for, what it says
    #[command(after_help = "Example: jarvis automation show night_lights --json")]
    Show {
        /// Its id, as `jarvis automation list` shows it
        id: String,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Says what is wrong with files, line by line; needs no running node
    #[command(after_help = "Example: jarvis automation check automations.yaml")]
    Check {
        /// Files, or folders of *.yaml and *.yml
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Loads files, in the place of what was loaded from them before
    #[command(after_help = "Examples: jarvis automation load automations.yaml\n          \
                            jarvis automation load /etc/jarvis/automations")]
    Load {
        /// Files, or folders of *.yaml and *.yml
        #[arg(required = true, value_name = "FILE|DIR")]
        files: Vec<PathBuf>,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Switches an automation on
    #[command(after_help = "Example: jarvis automation enable night_lights")]
    Enable {
        /// Its id
        id: String,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Switches an automation off; runs under way end
    #[command(after_help = "Example: jarvis automation disable night_lights")]
    Disable {
        /// Its id
        id: String,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Runs an automation once
    #[command(
        after_help = "Examples: jarvis automation trigger night_lights --wait\n          \
                            jarvis automation trigger greet --var name=Ada --var loud=true --skip-conditions"
    )]
    Trigger {
        /// Its id
        id: String,
        /// A variable that its templates see; numbers, true, false and other JSON are taken as such
        #[arg(long = "var", value_name = "K=V", value_parser = pair)]
        variables: Vec<(String, Value)>,
        /// Even where its conditions do not hold
        #[arg(long)]
        skip_conditions: bool,
        /// Waits for its end, and prints what it did
        #[arg(long)]
        wait: bool,
        /// How long --wait waits
        #[arg(long, default_value = "1m", value_parser = duration)]
        timeout: Duration,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Shows what a run did, step by step, and on which node
    #[command(after_help = "Example: jarvis automation trace night_lights")]
    Trace {
        /// The automation's id
        id: String,
        /// Which run [default: the latest]
        #[arg(long, value_name = "RUN")]
        run: Option<String>,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Removes an automation; its runs end
    #[command(after_help = "Example: jarvis automation remove night_lights")]
    Remove {
        /// Its id
        id: String,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Lists messages that could not be decided on; tries one again, or forgets it
    #[command(after_help = "Example: jarvis automation letters --replay 01J9ZQ5M3V8N2X4C6B7D8F9G0H")]
    Letters {
        /// Tries this one again
        #[arg(long, value_name = "ID", conflicts_with = "forget")]
        replay: Option<String>,
        /// Forgets this one
        #[arg(long, value_name = "ID")]
        forget: Option<String>,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Lists entities with their states
    #[command(after_help = "Example: jarvis automation states light.")]
    States {
        /// Only those that have this in their id or name
        filter: Option<String>,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Calls a service, as an automation would
    #[command(
        after_help = "Example: jarvis automation call light.turn_on entity_id=light.kitchen brightness=120"
    )]
    Call {
        /// Which
        #[arg(value_name = "DOMAIN.SERVICE", value_parser = service)]
        service: (String, String),
        /// With what; numbers, true, false and other JSON are taken as such
        #[arg(value_name = "K=V", value_parser = pair)]
        fields: Vec<(String, Value)>,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
}

fn pair(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            Ok((key.to_owned(), value))
        }
        _ => Err("expected KEY=VALUE, such as brightness=120".to_owned()),
    }
}

fn service(text: &str) -> Result<(String, String), String> {
    match text.split_once('.') {
        Some((domain, service)) if !domain.is_empty() && !service.is_empty() => {
            Ok((domain.to_owned(), service.to_owned()))
        }
        _ => Err("expected DOMAIN.SERVICE, such as light.turn_on".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_taken_for_what_they_look_like() {
        for (text, key, value) in [
            ("a=1", "a", json!(1)),
            ("a=true", "a", json!(true)),
            ("a=light.x", "a", json!("light.x")),
            ("a=[1, 2]", "a", json!([1, 2])),
            ("a=\"1\"", "a", json!("1")),
            ("a=b=c", "a", json!("b=c")),
            ("a=", "a", json!("")),
        ] {
            assert_eq!(pair(text), Ok((key.to_owned(), value)), "{text}");
        }
        assert!(pair("a").is_err() && pair("=1").is_err());
        assert!(service("light").is_err() && service(".x").is_err() && service("x.").is_err());
    }
}
