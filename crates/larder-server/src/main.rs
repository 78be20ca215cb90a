//! The `larder` binary: reads the command line, does it, and ends with a documented code.
//!
//! Everything else is in the library beside it, so that tests can start the server in-process.

use std::process::ExitCode;

use clap::Parser as _;
use larder_server::{cli::Cli, command, log};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::install();
    command::run(cli.command).into()
}
