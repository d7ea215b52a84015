//! The command line: what may be typed, and the commands that need no sockets.
//!
//! The types here are clap's; `check` and `explain` write to whatever they are given, so that tests read what a
//! user would. What runs a router (`run`, `demo`) is started by `main` with the arguments from here.
//!
//! Exit codes, decided by [`finish`] alone: 0 all is well, 1 a configuration or the system is at fault, 2 the
//! command line is. [`mcrouter`] has those of that program.

mod check;
mod convert;
mod explain;
mod health;
pub mod mcrouter;
mod members;
mod plan;
mod replay;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{self, Config, Listen, LoadError, LogFormat, Warning};

pub use check::check;
pub use convert::convert;
pub use explain::explain;
pub use health::health;
pub use members::members;
pub use plan::plan;
pub use replay::{ReplayArgs, run as replay};

/// One memcached endpoint in front of many memcached servers.
#[derive(Debug, Parser)]
#[command(
    name = "ringroad",
    version,
    about,
    after_help = "\
Examples:
  ringroad demo                               try it: a router and three caches
  ringroad check config/ringroad.toml         is this right, what does it mean?
  ringroad run --config config/ringroad.toml  route
  ringroad explain user:42                    which server has this key, and why?
  ringroad members                            who is in each pool?
  ringroad plan --add cache-3                 which keys would move?
  ringroad health                             does it work?

`ringroad COMMAND --help` has examples for each command."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Route requests as a configuration file says
    Run(RunArgs),
    /// Try it without any memcached: a router and small cache servers in one process
    Demo(DemoArgs),
    /// Check a configuration file and explain what it means
    Check(CheckArgs),
    /// Tell which server owns a key, and why
    Explain(ExplainArgs),
    /// List the members of each pool: name, address, state, share of the keys
    Members(MembersArgs),
    /// Tell which keys would move if servers came or went
    Plan(PlanArgs),
    /// Ask a running ringroad whether clients may be sent to it
    Health(HealthArgs),
    /// Print an mcrouter configuration as TOML
    Convert(ConvertArgs),
    /// Run as mcrouter: its command line, its configuration
    #[command(disable_help_flag = true)]
    Mcrouter(McrouterArgs),
    /// Deliver deletions that were written down while servers were down
    Replay(ReplayArgs),
    /// Drive a memcached endpoint and measure it
    Bench(Box<crate::bench::Args>),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

/// Logging, for the commands that run on.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArgs {
    /// Level, or list of MODULE=LEVEL [default: info, unless the file has one]
    #[arg(long, value_name = "FILTER", env = "RINGROAD_LOG", value_parser = log_filter)]
    pub log_level: Option<String>,
    /// Form of the log lines [default: auto, unless the file has one]
    #[arg(long, value_name = "FORMAT", env = "RINGROAD_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad run --config config/ringroad.toml
  ringroad run --config config/ringroad.toml --workers 4 --log-format json
  RINGROAD_CONFIG=/etc/ringroad.toml RINGROAD_LOG=debug ringroad run

The file is read again when it changes and on SIGHUP. A file that is wrong
changes nothing; the log says why. SIGTERM lets requests in flight finish.")]
pub struct RunArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", env = "RINGROAD_CONFIG", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
    /// Worker threads, instead of what the file says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad demo
  ringroad demo --servers 5 --memory 16MiB
  ringroad demo --listen 127.0.0.1:11211

Then, in another terminal:
  telnet localhost 5000
  set mykey 0 0 5
  hello
  get mykey
  quit")]
pub struct DemoArgs {
    /// Where clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5000")]
    pub listen: Listen,
    /// Cache servers to start
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub servers: u8,
    /// Memory of each cache server
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = memory)]
    pub memory: usize,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Arguments of `check`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad check config/ringroad.toml
  ringroad check --toml config/minimal.toml   every setting, with its default
  ringroad check - < config/ringroad.toml     from standard input

Exits with 0 if the file can be used and with 1 if not; every error is listed
with its place.")]
pub struct CheckArgs {
    /// The configuration file, or - for standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print the configuration as TOML with every default, rather than explain it
    #[arg(long)]
    pub toml: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad explain user:42
  ringroad explain --config config/ringroad.toml user:42 user:43
  ringroad explain --pool cache user:42       as if this pool were the route
  ringroad explain --json user:42 | jq -r '.[].pools[].owner.name'

Without --config it is ringroad.toml or config/ringroad.toml here, or
/etc/ringroad/ringroad.toml. No cache server is asked: where a key belongs follows
from the names of the pool's servers. For a pool that discovers them these are the
ones of `ringroad members`.")]
pub struct ExplainArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", env = "RINGROAD_CONFIG", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Only this pool, whatever the route says
    #[arg(long, short, value_name = "POOL")]
    pub pool: Option<String>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// The keys
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<OsString>,
}

/// Arguments of `members`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad members
  ringroad members --config config/kubernetes.toml --pool cache
  ringroad members --json | jq -r '.[].members[] | select(.state == \"absent\").name'

The ringroad that runs with this configuration is asked by its admin port. If it
has none or does not answer, the sources are asked from here, and what only it
knows (who is absent, ages) is not shown.")]
pub struct MembersArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", env = "RINGROAD_CONFIG", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Only this pool
    #[arg(long, short, value_name = "POOL")]
    pub pool: Option<String>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `plan`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad plan --add cache-3
  ringroad plan --pool cache --add cache-3 --add cache-4
  ringroad plan --pool cache --remove cache-0
  ringroad plan --remove cache-0 --add cache-9   one takes another's place

The members are those of `ringroad members`. Nothing is changed.")]
pub struct PlanArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", env = "RINGROAD_CONFIG", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The pool; not needed if there is just one
    #[arg(long, short, value_name = "POOL")]
    pub pool: Option<String>,
    /// A server that would join, by its name
    #[arg(long, value_name = "NAME")]
    pub add: Vec<String>,
    /// A member that would leave, by its name
    #[arg(long, value_name = "NAME")]
    pub remove: Vec<String>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `health`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad health --admin 127.0.0.1:5001
  ringroad health --admin unix:/run/ringroad/admin.sock
  ringroad health --config config/ringroad.toml
  ringroad health --live                      does every thread turn?

Asks for /readyz of the admin port, or with --live for /healthz, prints the answer
and exits with 0 if it is yes and with 1 if it is no or does not come within 2
seconds. In a Dockerfile:
  HEALTHCHECK CMD [\"/ringroad\", \"health\", \"--admin\", \"127.0.0.1:5001\"]

--config reads the file, which must be right for that. With --admin it does not
matter.")]
pub struct HealthArgs {
    /// The admin port
    #[arg(long, value_name = "ADDR", env = "RINGROAD_ADMIN")]
    pub admin: Option<Listen>,
    /// The configuration file that names the admin port, if --admin does not
    #[arg(long, short, value_name = "FILE", env = "RINGROAD_CONFIG", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Ask only whether the process turns, not whether it can serve
    #[arg(long)]
    pub live: bool,
}

/// Arguments of `convert`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad convert /etc/mcrouter/config.json > ringroad.toml
  ringroad convert - < config.json            from standard input
  ringroad convert config.json | ringroad check -

The TOML routes every key as the JSON does. What mcrouter's command line says
(ports, timeouts) is not in the JSON: look through `listen` and the pools.")]
pub struct ConvertArgs {
    /// mcrouter's configuration, or - for standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
}

/// Arguments of `mcrouter`, which it takes apart itself: see [`mcrouter::called`].
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad mcrouter -p 5000 --config file:/etc/mcrouter/config.json
  ringroad mcrouter --validate-config --config-file=config.json
  ringroad mcrouter --help                    every flag, and what becomes of it
  ln -s /usr/bin/ringroad /usr/local/bin/mcrouter")]
pub struct McrouterArgs {
    /// As for mcrouter; --help lists them
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub args: Vec<OsString>,
}

/// Arguments of `completions`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  source <(ringroad completions bash)         for this shell
  ringroad completions zsh > ~/.zfunc/_ringroad
  ringroad completions fish > ~/.config/fish/completions/ringroad.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration can't be read or used.
    #[error("{0}")]
    Config(#[from] LoadError),
    /// The command line asks for something that is not there.
    #[error("{0}")]
    Usage(String),
    /// Something failed while running.
    #[error("{0}")]
    Runtime(String),
    /// The output could not be written.
    #[error("can't write the output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Runtime(_) => 1,
            Self::Usage(_) => 2,
            // Whoever reads (`head`, a pager) has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => 1,
        }
    }
}

/// Reports a failure on standard error, if there is one to report, and gives the exit code.
#[must_use]
pub fn finish(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    let code = failure.code();
    if code != 0 {
        // A configuration's errors come with their own heading each.
        let lead = if matches!(failure, Failure::Config(LoadError::Invalid(_))) {
            ""
        } else {
            "ringroad: "
        };
        let _ = writeln!(io::stderr(), "{lead}{failure}");
    }
    ExitCode::from(code)
}

impl RunArgs {
    /// Puts what the command line says over what the file says; also needed after a reload.
    pub fn apply(&self, config: &mut Config) {
        if let Some(workers) = self.workers {
            config.workers = Some(usize::from(workers));
        }
        self.log.apply(&mut config.log);
    }
}

impl LogArgs {
    /// Puts what the command line says over `log`.
    pub fn apply(&self, log: &mut config::Log) {
        if let Some(level) = &self.log_level {
            log.level.clone_from(level);
        }
        if let Some(format) = self.log_format {
            log.format = format;
        }
    }
}

/// Prints the completions for a shell.
///
/// # Errors
/// The output can't be written.
pub fn completions(args: &CompletionsArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ringroad", &mut script);
    out.write_all(&script)?;
    Ok(())
}

/// Writes warnings, each with its place.
fn write_warnings(err: &mut dyn Write, warnings: &[Warning]) -> io::Result<()> {
    warnings
        .iter()
        .try_for_each(|warning| writeln!(err, "{warning}"))
}

/// Reads the runtime variables that the configuration names, so that keys are shown where they are; what is wrong with
/// them is a warning, as it is for a router that runs.
fn read_variables(config: &Config, err: &mut dyn Write) -> io::Result<()> {
    let Some(path) = &config.runtime_vars else {
        return Ok(());
    };
    let file = path.display();
    match config::vars::read(path) {
        Ok(odd) => odd
            .iter()
            .try_for_each(|odd| writeln!(err, "warning: the runtime variables in {file}: {odd}")),
        Err(why) => writeln!(
            err,
            "warning: the runtime variables in {file} can't be used: {why}"
        ),
    }
}

/// The files that are looked for when none is given, in this order.
const USUAL_FILES: &[&str] = &[
    "ringroad.toml",
    "config/ringroad.toml",
    "/etc/ringroad/ringroad.toml",
];

/// The file that was given, else the first of the usual ones that is there.
fn config_file(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return Ok(path.to_path_buf());
    }
    USUAL_FILES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let list = USUAL_FILES.join(", ");
            Failure::Usage(format!(
                "no configuration file: give one with --config FILE (looked for {list})"
            ))
        })
}

/// Reads that file and writes what it probably does not mean.
fn open_config(given: Option<&Path>, err: &mut dyn Write) -> Result<(PathBuf, Config), Failure> {
    let file = config_file(given)?;
    let (config, warnings) = config::load(&file)?;
    write_warnings(err, &warnings)?;
    Ok((file, config))
}

fn log_filter(text: &str) -> Result<String, String> {
    crate::log::check_filter(text).map(|()| text.trim().to_owned())
}

fn memory(text: &str) -> Result<usize, String> {
    const MIB: u64 = 1 << 20;
    let bytes = config::parse_size(text)?;
    match usize::try_from(bytes) {
        Ok(size) if (MIB..=64 * 1024 * MIB).contains(&bytes) => Ok(size),
        _ => Err("a cache server can have from 1MiB to 64GiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_takes_what_it_documents() {
        let cli = parse(
            "ringroad run --config f.toml --workers 4 --log-level debug,a=info --log-format json",
        )
        .unwrap();
        let Command::Run(args) = cli.command else {
            panic!()
        };
        let mut config = Config::single_pool(Vec::new(), config::Pool::new("p", Vec::new()));
        args.apply(&mut config);
        assert_eq!(config.workers, Some(4));
        assert_eq!(
            (config.log.level.as_str(), config.log.format),
            ("debug,a=info", LogFormat::Json)
        );
    }

    #[test]
    fn demo_has_defaults() {
        let Command::Demo(args) = parse("ringroad demo").unwrap().command else {
            panic!()
        };
        assert_eq!(
            (args.listen.to_string().as_str(), args.servers, args.memory),
            ("127.0.0.1:5000", 3, 64 << 20)
        );
    }

    #[test]
    fn mistakes_are_usage_errors_that_say_what_is_right() {
        for (line, part) in [
            ("ringroad", "Usage"),
            ("ringroad rum", "run"),
            ("ringroad run --config f --workers 0", "1..=1024"),
            (
                "ringroad run --config f --log-level loud",
                "off, error, warn",
            ),
            ("ringroad demo --memory 64MB", "64MiB"),
            ("ringroad demo --memory 1KiB", "from 1MiB"),
            ("ringroad demo --listen localhost:5000", "127.0.0.1:5000"),
            ("ringroad demo --servers 0", "1..=64"),
            ("ringroad check", "<FILE>"),
            ("ringroad explain", "<KEY>"),
            ("ringroad health --admin 5001", "--admin"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn every_command_teaches_by_example() {
        for command in Cli::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.lines().all(|line| line.len() <= 100), "{help}");
            assert!(
                help.lines()
                    .filter(|line| line.starts_with("  ") && line.contains("ringroad "))
                    .count()
                    >= 3,
                "{}: {help}",
                command.get_name()
            );
        }
    }

    #[test]
    fn completions_name_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            completions(&CompletionsArgs { shell }, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            for word in ["explain", "demo", "check"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        assert_eq!(
            Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).code(),
            0
        );
        assert_eq!(
            Failure::from(io::Error::from(io::ErrorKind::StorageFull)).code(),
            1
        );
        assert_eq!(Failure::Usage(String::new()).code(), 2);
    }
}
