//! The log: one subscriber for the process, on stderr, so that stdout is free for data.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{Config, LogFormat};

/// Starts the log as configured. A process has one: where it has begun already, it goes on as it is.
pub fn init(config: &Config) {
    // The filter was checked when the configuration was read.
    let filter = EnvFilter::builder().parse_lossy(&config.log);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.log_format {
        LogFormat::Text => registry.with(lines.with_ansi(is_coloured())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_current_span(false)).try_init(),
    };
    if started.is_err() {
        tracing::warn!("a log is running already: log and log_format of this configuration are not used");
    }
}

/// Colours are for people: on a terminal, unless they asked for none (<https://no-color.org>).
fn is_coloured() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}
