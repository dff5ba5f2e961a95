//! The `fuseboard` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut config = fuseboard::config::Config::default();
    let mut arguments = std::env::args();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--manual-clock" => config.manual_clock = true,
            "--address" => {
                config.address = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(config.address)
            }
            _ => {}
        }
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match fuseboard::server::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
