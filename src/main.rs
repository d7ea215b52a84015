//! The `ringroad` command: arguments in, exit code out. Everything else is in the library.

use std::io;
use std::process::ExitCode;

use clap::Parser as _;
use ringroad::cli::{self, Cli, Command, Failure};
use ringroad::{app, bench};

fn main() -> ExitCode {
    if let Some(args) = cli::mcrouter::called(std::env::args_os()) {
        return cli::mcrouter::main(&args);
    }
    match Cli::parse().command {
        Command::Mcrouter(args) => cli::mcrouter::main(&args.args),
        command => cli::finish(run(command)),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    match command {
        Command::Run(args) => app::run(args),
        Command::Demo(args) => app::demo(args),
        Command::Check(args) => cli::check(&args, &mut out, &mut err),
        Command::Explain(args) => cli::explain(&args, &mut out, &mut err),
        Command::Convert(args) => cli::convert(&args, &mut out, &mut err),
        Command::Members(args) => cli::members(&args, &mut out, &mut err),
        Command::Plan(args) => cli::plan(&args, &mut out, &mut err),
        Command::Health(args) => cli::health(&args, &mut out, &mut err),
        Command::Replay(args) => cli::replay(&args, &mut out, &mut err),
        Command::Bench(args) => {
            bench::run(*args).map_err(|error| Failure::Runtime(error.to_string()))
        }
        // It has exit codes of its own.
        Command::Mcrouter(_) => Ok(()),
        Command::Completions(args) => cli::completions(&args, &mut out),
    }
}
