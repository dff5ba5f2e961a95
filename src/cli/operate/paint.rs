//! What is shown: JSON for programs, or tables for people, in colours where these are wanted.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde_json::Value;

use crate::words::is_hidden;

/// How answers are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
}

/// Standard output, as it is wanted.
pub(super) struct Screen {
    pub(super) output: Output,
    stream: AutoStream<io::Stdout>,
}

impl Screen {
    pub(super) fn new(output: Output, choice: ColorChoice) -> Self {
        Self { output, stream: AutoStream::new(io::stdout(), choice) }
    }

    /// An answer, as a line of JSON.
    pub(super) fn json(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.stream, "{value}")?;
        self.stream.flush()
    }

    /// A line for people.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.stream, "{line}")?;
        self.stream.flush()
    }

    /// Rows below their headings, each column as wide as its widest cell.
    pub(super) fn table(&mut self, headings: &[&str], rows: &[Vec<Cell>]) -> io::Result<()> {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
            cells.chain([headings[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        let headings: Vec<Cell> = headings.iter().map(|heading| Cell::soft(heading)).collect();
        for row in [&headings].into_iter().chain(rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let gap = " ".repeat(width - cell.text.chars().count().min(*width) + 2);
                line.push_str(&format!("{}{}{:#}{gap}", cell.style, cell.text, cell.style));
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Names with what they are, one below the other.
    pub(super) fn list(&mut self, pairs: &[(&str, Cell)]) -> io::Result<()> {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let soft = Cell::soft("").style;
        for (name, cell) in pairs {
            self.line(&format!("{soft}{name:width$}{soft:#}  {}{}{:#}", cell.style, cell.text, cell.style))?;
        }
        Ok(())
    }
}

/// A text in a style.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn new(text: impl AsRef<str>) -> Self {
        Self { text: plain(text.as_ref()), style: Style::new() }
    }

    /// What is there for orientation only.
    pub(super) fn soft(text: &str) -> Self {
        Self { style: Style::new().dimmed(), ..Self::new(text) }
    }

    /// The same with more text behind it.
    pub(super) fn with(mut self, text: &str) -> Self {
        self.text.push_str(&plain(text));
        self
    }

    /// A state or an override, in its colour.
    pub(super) fn state(text: &str) -> Self {
        let colour = match text {
            "closed" => AnsiColor::Green,
            "open" | "forced open" => AnsiColor::Red,
            "half-open" => AnsiColor::Yellow,
            _ => AnsiColor::Magenta,
        };
        Self { style: Style::new().fg_color(Some(colour.into())).bold(), ..Self::new(text) }
    }
}

/// A text that does nothing to a terminal: names and reasons come from strangers.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hidden(char) { plain.extend(char.escape_default()) } else { plain.push(char) }
    }
    plain
}
