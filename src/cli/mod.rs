//! The `fuseboard` command: what was typed, and the exit code.
//!
//! Data goes to stdout, messages to stderr. The exit code is 0 when all went well, 1 when something failed while it ran,
//! and 2 when what was typed or configured is wrong; the operators' verbs have some more.

mod operate;

use std::{
    ffi::OsString,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    config::{self, Config, Loaded},
    preflight, server,
    store::inspect::{self, Adjusted, InspectError},
    telemetry,
};

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

const EXAMPLES: &str = "\
Each setting can be a flag, an environment variable or a key of the configuration file; a flag wins over the
environment, the environment over the file. Limits are keys of its table [limits]. See docs/configuration.md.

Exit codes: 0 all went well, 1 it failed while it ran, 2 the arguments or the configuration are wrong. The commands for operators
also: 3 the call was rejected, 4 the server is not reached, 5 there is no such thing, 6 you may not.

Examples:
  fuseboard                                       serve on 127.0.0.1:50051
  fuseboard --config fuseboard.toml --log debug   serve with a file and a chatty log
  fuseboard --check-config --config fuseboard.toml
  fuseboard list --state open                     what is open, on a server
  fuseboard store check /var/lib/fuseboard        verify a data directory while no server runs on it
";

/// A circuit breaker for services in any language, over gRPC. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "fuseboard", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
#[command(max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "it says what can be typed, and is never made")]
enum Verb {
    /// Serve, which is also what happens without a command.
    #[command(after_help = EXAMPLES)]
    Serve(Serve),

    #[command(flatten)]
    Operate(operate::Verb),

    /// Look into a data directory, or mend its clock, while no server runs on it.
    #[command(subcommand)]
    Store(StoreVerb),
}

#[derive(Debug, Subcommand)]
enum StoreVerb {
    /// Verify everything in it and print a report. Nothing is changed. The exit code is 1 where something is wrong.
    Check(Directory),
    /// Print everything in it, one JSON object a line. Nothing is changed.
    Dump(Directory),
    /// Accept the machine's clock, which is much later than the time stored last, as after a long stop. What has expired by then is gone
    /// at the next start.
    AcceptClock(Directory),
    /// Put a stored time that is ahead of the machine's clock back to it, after a server has run with a wrong clock.
    RepairClock(Directory),
}

#[derive(Debug, Args)]
struct Directory {
    /// The data directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file, TOML. On SIGHUP the policies in it are read again; a bad file changes nothing.
    #[arg(long, env = "FUSEBOARD_CONFIG", value_name = "PATH", help_heading = "Configuration")]
    config: Option<PathBuf>,

    /// Print the configuration in force with the origin of each value, and exit; or print everything that is wrong, in the files of
    /// certificates, tokens and secrets too. Secrets are not printed.
    #[arg(long, help_heading = "Configuration")]
    check_config: bool,

    #[command(flatten)]
    settings: Config,
}

/// Runs the command that was typed, to its end.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match command().try_get_matches_from(arguments) {
        Ok(matches) => match matches.subcommand() {
            Some(("store", matches)) => store(matches),
            Some(("serve", matches)) => serve(matches),
            Some(_) => operate::run(&matches),
            None => serve(&matches),
        },
        Err(error) => {
            // Help and version are errors to clap. There is nobody to tell that a pipe is closed.
            _ = error.print();
            if error.use_stderr() { ExitCode::from(MISUSED) } else { ExitCode::SUCCESS }
        }
    }
}

fn command() -> clap::Command {
    config::unread(Cli::command()).mut_subcommand("serve", config::unread)
}

fn serve(matches: &ArgMatches) -> ExitCode {
    let loaded = match config::load(matches) {
        Ok(loaded) => loaded,
        Err(errors) => {
            for error in errors.iter() {
                eprintln!("error: {error}");
            }
            return ExitCode::from(MISUSED);
        }
    };
    if matches.get_flag("check_config") { check(&loaded) } else { start(&loaded) }
}

fn store(matches: &ArgMatches) -> ExitCode {
    let outcome = match StoreVerb::from_arg_matches(matches) {
        Ok(StoreVerb::Check(Directory { directory })) => check_store(&directory),
        Ok(StoreVerb::Dump(Directory { directory })) => dump_store(&directory),
        Ok(StoreVerb::AcceptClock(Directory { directory })) => inspect::accept_clock(&directory).and_then(print),
        Ok(StoreVerb::RepairClock(Directory { directory })) => inspect::repair_clock(&directory).and_then(print),
        Err(error) => error.exit(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(FAILED)
    })
}

fn print(adjusted: Adjusted) -> Result<ExitCode, InspectError> {
    let printed = read_to_the_end(writeln!(io::stdout(), "{adjusted}"));
    printed.map_err(|source| InspectError::Io { path: "standard output".into(), source })?;
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// A reader that leaves early, as `head` does, has read all that it wants: that is no error, and does not undo what was asked for.
fn read_to_the_end(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        written => written,
    }
}

fn dump_store(directory: &Path) -> Result<ExitCode, InspectError> {
    match inspect::dump(directory, &mut BufWriter::new(io::stdout().lock())) {
        Err(InspectError::Io { source, .. }) if is_broken_pipe(&source) => Ok(ExitCode::SUCCESS),
        dumped => dumped.map(|()| ExitCode::SUCCESS),
    }
}

fn check_store(directory: &Path) -> Result<ExitCode, InspectError> {
    let report = inspect::check(directory)?;
    let printed = read_to_the_end(io::stdout().write_all(report.to_string().as_bytes()));
    printed.map_err(|source| InspectError::Io { path: "standard output".into(), source })?;
    Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Prints the configuration, for `--check-config`.
fn check(loaded: &Loaded) -> ExitCode {
    let errors = preflight::errors(loaded);
    if !errors.is_empty() {
        for error in errors {
            eprintln!("error: {error}");
        }
        return ExitCode::from(MISUSED);
    }
    for warning in loaded.warnings.iter().chain(&preflight::warnings(&loaded.config)) {
        eprintln!("warning: {warning}");
    }
    match read_to_the_end(io::stdout().write_all(loaded.to_toml().as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the configuration is valid, but cannot be printed: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Serves until it is told to stop.
fn start(loaded: &Loaded) -> ExitCode {
    telemetry::init(&loaded.config);
    for warning in loaded.warnings.iter().chain(&preflight::warnings(&loaded.config)) {
        tracing::warn!("{warning}");
    }
    let code = match server::run(&loaded.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(FAILED)
        }
    };
    telemetry::flush();
    code
}
