//! The `ringroad` command: arguments in, exit code out. Everything else is in the library.

use std::io;
use std::process::ExitCode;

use clap::Parser as _;
use ringroad::cli::{self, Cli, Command, Failure};

fn main() -> ExitCode {
    cli::finish(run(Cli::parse().command))
}

fn run(command: Command) -> Result<(), Failure> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    match command {
        Command::Run(args) => {
            args.load()?;
            Err(Failure::Runtime(
                "this build can't route yet; `ringroad check` and `ringroad explain` work"
                    .to_owned(),
            ))
        }
        Command::Demo(_) => Err(Failure::Runtime("this build has no demo yet".to_owned())),
        Command::Check(args) => cli::check(&args, &mut out, &mut err),
        Command::Explain(args) => cli::explain(&args, &mut out, &mut err),
        Command::Completions(args) => cli::completions(&args, &mut out),
    }
}
