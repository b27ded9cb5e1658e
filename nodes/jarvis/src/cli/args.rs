//! What can be written on the command line. The words are promises: see INTERFACES.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::automation::AutomationCommand;

/// A home's assistant that does not go down with a machine.
#[derive(Debug, Parser)]
#[command(
    name = "jarvis",
    version,
    arg_required_else_help = true,
    after_help = "A cluster on this machine:  jarvis up\n\
                  A real one:                 jarvis init && jarvis run      on the first machine\n\
                  \x20                           jarvis invite                  there, once a further machine\n\
                  \x20                           jarvis join TOKEN --run        on that machine"
)]
pub struct Cli {
    /// One JSON document on stdout and nothing else
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where a node's data is.
#[derive(Debug, Clone, Args)]
pub struct DataArg {
    /// Data folder [default: ~/.local/share/jarvis, or /var/lib/jarvis as root]
    #[arg(long, value_name = "DIR", env = "JARVIS_DATA")]
    pub data: Option<PathBuf>,
}

/// How a client command finds a node.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Where the node's data is.
    #[command(flatten)]
    pub data: DataArg,
    /// Speak to this node rather than the local one, such as http://192.168.1.10:8007
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Bearer token for --server
    #[arg(long, value_name = "T", env = "JARVIS_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// How a node is called and met.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// The node's name [default: the machine's]
    #[arg(long, value_name = "N")]
    pub name: Option<String>,
    /// Where it listens, TCP and UDP [default: 0.0.0.0:8007]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where others meet it [default: this machine's address]
    #[arg(long, value_name = "ADDR:PORT", value_parser = host_and_port)]
    pub advertise: Option<String>,
}

/// The commands there are.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A whole cluster on this machine, one process a node
    #[command(after_help = "Example: jarvis up --nodes 3 --data /tmp/jarvis")]
    Up(UpArgs),
    /// Makes the first node of a new cluster
    #[command(after_help = "Example: jarvis init --name kitchen && jarvis run")]
    Init(InitArgs),
    /// Runs this node in the foreground; SIGTERM hands its work over and stops it
    #[command(after_help = "Example: jarvis run --config /etc/jarvis/jarvis.toml")]
    Run(RunArgs),
    /// Prints the line that makes another machine a member; good once, for a while
    #[command(after_help = "Example: jarvis invite --role worker --ttl 1h")]
    Invite(InviteArgs),
    /// Makes this machine a member
    #[command(after_help = "Example: jarvis join AQK3… --name attic --run")]
    Join(JoinArgs),
    /// Nodes, leader, where everything runs, and what is degraded
    #[command(after_help = "Example: jarvis status --watch")]
    Status(StatusArgs),
    /// Moves everything away from a node, so that it can be rebooted
    #[command(after_help = "Example: jarvis drain attic --timeout 1m")]
    Drain(DrainArgs),
    /// Lets a drained node serve again
    #[command(after_help = "Example: jarvis undrain attic")]
    Undrain(NodeCommandArgs),
    /// Takes a node out of the cluster for good
    #[command(after_help = "Example: jarvis remove attic")]
    Remove(RemoveArgs),
    /// Brings the cluster up again from this node alone, when the majority is gone for good
    #[command(after_help = "Example: jarvis recover --data /var/lib/jarvis")]
    Recover(RecoverArgs),
    /// Talks to Jarvis in the terminal; reads lines from a pipe too
    #[command(after_help = "Examples: jarvis chat\n          echo 'what is 6 times 7?' | jarvis chat")]
    Chat(ChatArgs),
    /// Puts faults into the running cluster and checks that nobody noticed
    #[command(
        after_help = "Examples: jarvis drill list\n          jarvis drill kill-leader --rounds 10 --yes\n          jarvis drill partition --server http://192.168.1.10:8007 --token T"
    )]
    Drill(DrillArgs),
    /// Where an actor runs, since when, and why there
    #[command(after_help = "Example: jarvis why session/01J9ZQ5M3V8N2X4C6B7D8F9G0H")]
    Why(WhyArgs),
    /// People who may log in
    #[command(subcommand, after_help = "Example: jarvis user add ada")]
    User(UserCommand),
    /// Bearer tokens for programs
    #[command(
        subcommand,
        after_help = "Example: jarvis token create --label prometheus --ttl 365d"
    )]
    Token(TokenCommand),
    /// Automations: what they do, did, and wait for
    #[command(
        subcommand,
        after_help = "Examples: jarvis automation check automations.yaml\n          \
                      jarvis automation load automations.yaml\n          jarvis automation trace night_lights"
    )]
    Automation(AutomationCommand),
    /// What is configured, and what is wrong with it
    #[command(
        subcommand,
        after_help = "Example: jarvis config check /etc/jarvis/jarvis.toml"
    )]
    Config(ConfigCommand),
    /// Becomes another program, which ends when the process PID, its parent, does
    #[command(hide = true, after_help = "Example: jarvis with-parent 4711 sleep 60")]
    WithParent(WithParentArgs),
    /// Completions for a shell
    #[command(after_help = "Example: jarvis completions bash > /etc/bash_completion.d/jarvis")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `jarvis up`.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub nodes: u8,
    /// Data folder [default: up below ~/.local/share/jarvis, or below /var/lib/jarvis as root]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Port of the first node; each further one is ten higher
    #[arg(long, default_value_t = 8007, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Begins anew: everything in the data folder is deleted
    #[arg(long)]
    pub reset: bool,
    /// Does not ask before --reset deletes
    #[arg(long)]
    pub yes: bool,
    /// Leaves a node that died dead
    #[arg(long)]
    pub no_restart: bool,
    /// Listens on all of this machine's addresses rather than on 127.0.0.1 only
    #[arg(long)]
    pub listen_all: bool,
    /// Settings for all nodes
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Starts no MQTT broker, even where none is configured
    #[arg(long)]
    pub no_broker: bool,
    /// The broker to start where none is configured [default: mosquitto, where it is installed]
    #[arg(long, value_name = "PROGRAM", conflicts_with = "no_broker")]
    pub mosquitto: Option<PathBuf>,
    /// Shows the nodes' logs here rather than only in DATA/nodeN/jarvis.log
    #[arg(long)]
    pub verbose: bool,
}

/// `jarvis with-parent`.
#[derive(Debug, Clone, Args)]
pub struct WithParentArgs {
    /// Whose end is to be its end
    #[arg(value_name = "PID")]
    pub parent: i32,
    /// The program and its arguments
    #[arg(
        value_name = "PROGRAM",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub program: Vec<OsString>,
}

/// `jarvis init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Where the node's data goes.
    #[command(flatten)]
    pub data: DataArg,
    /// How it is called and met.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `jarvis run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Where the node's data is.
    #[command(flatten)]
    pub data: DataArg,
    /// Settings [default: DATA/jarvis.toml, else /etc/jarvis/jarvis.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Stops when stdin ends: a child of `jarvis up` must not outlive it.
    #[arg(long, hide = true)]
    pub supervised: bool,
}

/// What an invited node will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Votes, where the number of voters allows, and carries actors
    Voter,
    /// Carries actors, never votes
    Worker,
    /// Votes, carries no actors
    Witness,
}

impl RoleArg {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            RoleArg::Voter => "voter",
            RoleArg::Worker => "worker",
            RoleArg::Witness => "witness",
        }
    }
}

/// `jarvis invite`.
#[derive(Debug, Clone, Args)]
pub struct InviteArgs {
    /// What the new node will be
    #[arg(long, value_enum, default_value = "voter")]
    pub role: RoleArg,
    /// How long the invitation is good
    #[arg(long, default_value = "15m", value_parser = duration)]
    pub ttl: Duration,
    /// Which node to ask.
    #[command(flatten)]
    pub target: Target,
}

/// `jarvis join`.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// What `jarvis invite` printed
    pub token: String,
    /// Where the node's data goes.
    #[command(flatten)]
    pub data: DataArg,
    /// How it is called and met.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Goes straight on to run
    #[arg(long)]
    pub run: bool,
}

/// `jarvis status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Shows it again every second
    #[arg(long)]
    pub watch: bool,
    /// Which node to ask.
    #[command(flatten)]
    pub target: Target,
}

/// `jarvis drain`.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// The node's name
    pub node: String,
    /// How long to wait until everything has moved
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Which node to ask.
    #[command(flatten)]
    pub target: Target,
}

/// A command about one node.
#[derive(Debug, Clone, Args)]
pub struct NodeCommandArgs {
    /// The node's name
    pub node: String,
    /// Which node to ask.
    #[command(flatten)]
    pub target: Target,
}

/// `jarvis remove`.
#[derive(Debug, Clone, Args)]
pub struct RemoveArgs {
    /// The node's name
    pub node: String,
    /// Even while it still carries actors
    #[arg(long)]
    pub force: bool,
    /// Which node to ask.
    #[command(flatten)]
    pub target: Target,
}

/// `jarvis recover`.
#[derive(Debug, Clone, Args)]
pub struct RecoverArgs {
    /// Where the node's data is.
    #[command(flatten)]
    pub data: DataArg,
    /// Does not ask
    #[arg(long)]
    pub yes: bool,
    /// Even though another member answers and serves
    #[arg(long)]
    pub force: bool,
}

/// `jarvis chat`.
#[derive(Debug, Clone, Args)]
pub struct ChatArgs {
    /// Resumes this conversation
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Which node to ask.
    #[command(flatten)]
    pub target: Target,
}

/// `jarvis drill`.
#[derive(Debug, Clone, Args)]
pub struct DrillArgs {
    /// Which drill; `list` names them
    pub name: String,
    /// How often
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub report: PathBuf,
    /// Does not ask before it begins
    #[arg(long)]
    pub yes: bool,
    /// Conversations that go on meanwhile
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub sessions: u32,
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
}

/// `jarvis why`.
#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    /// The actor, as KIND/KEY
    #[arg(value_name = "KIND/KEY", value_parser = entity)]
    pub entity: (String, String),
    /// Which node to ask.
    #[command(flatten)]
    pub target: Target,
}

/// `jarvis user …`.
#[derive(Debug, Clone, Subcommand)]
pub enum UserCommand {
    /// Adds a user; asks for a password, or reads it from stdin
    #[command(after_help = "Example: jarvis user add ada")]
    Add {
        /// The login name
        name: String,
        /// May administer the cluster
        #[arg(long)]
        admin: bool,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Lists users
    #[command(after_help = "Example: jarvis user list")]
    List {
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Removes a user with all their credentials
    #[command(after_help = "Example: jarvis user remove ada")]
    Remove {
        /// The login name
        name: String,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Sets a user's password; asks for it, or reads it from stdin
    #[command(after_help = "Example: jarvis user password admin")]
    Password {
        /// The login name
        name: String,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
}

/// `jarvis token …`.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Makes a token; it is shown once
    #[command(after_help = "Example: jarvis token create --label prometheus --ttl 365d")]
    Create {
        /// What it is for
        #[arg(long, default_value = "cli")]
        label: String,
        /// How long it is good
        #[arg(long, default_value = "90d", value_parser = duration)]
        ttl: Duration,
        /// Whose it is [default: the caller's]
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Lists tokens; the secrets are not known
    #[command(after_help = "Example: jarvis token list")]
    List {
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Ends a token
    #[command(after_help = "Example: jarvis token revoke 3f2a…")]
    Revoke {
        /// Its id, as `jarvis token list` shows it
        id: String,
        /// Which node to ask.
        #[command(flatten)]
        target: Target,
    },
}

/// `jarvis config …`.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Says what is wrong with a file, key and line
    #[command(after_help = "Example: jarvis config check /etc/jarvis/jarvis.toml")]
    Check {
        /// The file
        file: PathBuf,
    },
    /// Shows the settings in force, secrets masked
    #[command(after_help = "Example: jarvis config show --data /var/lib/jarvis")]
    Show {
        /// Where the node's data is.
        #[command(flatten)]
        data: DataArg,
        /// Settings [default: DATA/jarvis.toml, else /etc/jarvis/jarvis.toml]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    jarvis_config::parse_duration(text)
        .filter(|d| !d.is_zero())
        .ok_or_else(|| "expected a duration such as 15m, 1h30m or 7d".to_owned())
}

fn host_and_port(text: &str) -> Result<String, String> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or("expected host:port, such as 192.168.1.10:8007")?;
    let port_fits = port.parse::<u16>().is_ok_and(|port| port != 0);
    let unspecified = text
        .parse::<SocketAddr>()
        .is_ok_and(|address| address.ip().is_unspecified());
    if host.is_empty() || !port_fits || unspecified {
        return Err("expected host:port that others can reach, such as 192.168.1.10:8007".to_owned());
    }
    Ok(text.to_owned())
}

fn entity(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((kind, key)) if !kind.is_empty() && !key.is_empty() => Ok((kind.to_owned(), key.to_owned())),
        _ => Err("expected KIND/KEY, such as session/01J9ZQ5M3V8N2X4C6B7D8F9G0H".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has no example", sub.get_name());
                check(sub);
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn bad_values_are_wrong_usage() {
        let table: [&[&str]; 10] = [
            &["jarvis", "up", "--port", "0"],
            &["jarvis", "up", "--port", "65536"],
            &["jarvis", "up", "--nodes", "0"],
            &["jarvis", "up", "--nodes", "10"],
            &["jarvis", "invite", "--ttl", "soon"],
            &["jarvis", "init", "--advertise", "0.0.0.0:8007"],
            &["jarvis", "init", "--listen", "8007"],
            &["jarvis", "why", "session"],
            &["jarvis", "backup"],
            &["jarvis", "drill", "kill-owner", "--rounds", "0"],
        ];
        for line in table {
            assert_eq!(
                Cli::try_parse_from(line).expect_err("refused").exit_code(),
                2,
                "{line:?}"
            );
        }
    }

    #[test]
    fn json_is_understood_before_and_behind_the_command() {
        for line in [["jarvis", "--json", "status"], ["jarvis", "status", "--json"]] {
            assert!(Cli::try_parse_from(line).expect("right").json);
        }
    }
}
