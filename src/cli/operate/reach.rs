//! How a verb reaches the server, and how it shows what it finds.

use std::{fs, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use fuseboard_client::{Operator, Options, Tls};

use super::{
    Failure,
    paint::{Output, Screen},
};

/// Options of every verb that asks a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server and output")]
pub(in crate::cli) struct Reach {
    /// The server: HOST:PORT, or https://HOST:PORT for TLS.
    #[arg(long, env = "FUSEBOARD_ADDRESS", hide_env_values = true, default_value = "127.0.0.1:50051")]
    address: String,
    /// File with the token. Else the variable FUSEBOARD_TOKEN holds it.
    #[arg(long, env = "FUSEBOARD_TOKEN_FILE", hide_env_values = true, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// Authorities to trust, a PEM file, in the place of the machine's; means TLS.
    #[arg(long, env = "FUSEBOARD_CA", hide_env_values = true, value_name = "PATH")]
    ca: Option<PathBuf>,
    /// Certificate of one's own, a PEM file, with its --key.
    #[arg(long, env = "FUSEBOARD_CERT", hide_env_values = true, value_name = "PATH", requires = "key")]
    cert: Option<PathBuf>,
    /// Key of --cert, a PEM file.
    #[arg(long, env = "FUSEBOARD_KEY", hide_env_values = true, value_name = "PATH", requires = "cert")]
    key: Option<PathBuf>,
    /// Name in the server's certificate, where it is not the address's.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Longest wait for an answer.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    timeout: Duration,
    /// table for people, or json: the API's own messages, one a line.
    #[arg(long, short, value_enum, default_value_t = Output::Table, hide_possible_values = true)]
    output: Output,
    /// When to colour: auto (on a terminal, unless NO_COLOR is set), always or never.
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", hide_possible_values = true)]
    color: Colour,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

impl Reach {
    /// The way to the server.
    pub(super) fn operator(&self) -> Result<Operator, Failure> {
        let text = |path: &PathBuf| {
            fs::read_to_string(path).map_err(|error| Failure::Misused(format!("{}: {error}", path.display())))
        };
        let mut options = Options::new(&self.address);
        if let Some(path) = &self.token_file {
            options.token = Some(text(path)?.trim().to_owned());
        }
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((text(cert)?, text(key)?)),
            _ => None,
        };
        let roots = self.ca.as_ref().map(text).transpose()?;
        if roots.is_some() || identity.is_some() || self.server_name.is_some() {
            options.tls = Some(Tls { roots, identity, server_name: self.server_name.clone() });
        }
        Operator::new(options, self.timeout).map_err(|error| Failure::Misused(error.to_string()))
    }

    /// The server's address, as it was given.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether people read what is shown.
    pub(super) fn is_for_people(&self) -> bool {
        self.output == Output::Table
    }

    /// Where answers are shown.
    pub(super) fn screen(&self) -> Screen {
        let choice = match self.color {
            Colour::Auto => anstream::ColorChoice::Auto,
            Colour::Always => anstream::ColorChoice::Always,
            Colour::Never => anstream::ColorChoice::Never,
        };
        Screen::new(self.output, choice)
    }
}
