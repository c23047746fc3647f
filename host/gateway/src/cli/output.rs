//! Where answers go: text for people, JSON for programs, colours only at terminals.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde_json::Value as Json;

use super::failure::{CommandFailure, FailureKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// The process's outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
    is_terminal: bool,
    is_error_terminal: bool,
    /// `NO_COLOR` (<https://no-color.org>) is not set.
    colours: bool,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            is_terminal: io::stdout().is_terminal(),
            is_error_terminal: io::stderr().is_terminal(),
            colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person reads the answer.
    pub(super) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether a person sees what goes on.
    pub(super) fn shows_progress(&self) -> bool {
        self.is_error_terminal && !self.is_json()
    }

    pub(super) const fn colours_errors(&self) -> bool {
        self.colours && self.is_error_terminal
    }

    /// The answer, as it is.
    pub(super) fn text(&self, text: &str) -> Result<(), CommandFailure> {
        self.octets(text.as_bytes())
    }

    /// One line of the answer.
    pub(super) fn line(&self, line: &str) -> Result<(), CommandFailure> {
        self.octets(format!("{line}\n").as_bytes())
    }

    /// The answer for programs, on one line; for people spread over many.
    pub(super) fn json(&self, json: &Json) -> Result<(), CommandFailure> {
        if self.is_terminal {
            self.line(&format!("{json:#}"))
        } else {
            self.line(&json.to_string())
        }
    }

    pub(super) fn octets(&self, octets: &[u8]) -> Result<(), CommandFailure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(octets).and_then(|()| stdout.flush());
        written.map_err(|error| CommandFailure::unwritten(&error))
    }

    /// Rows below a head. Long cells are broken only where a terminal has an edge.
    pub(super) fn table(
        &self,
        head: &[&str],
        rows: Vec<Vec<String>>,
    ) -> Result<(), CommandFailure> {
        let mut table = Table::new();
        table
            .load_style(NOTHING)
            .set_header(head.to_vec())
            .add_rows(rows);
        if self.is_terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        let lines: Vec<_> = table
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        self.line(&lines.join("\n"))
    }

    /// Something beside the answer.
    pub(super) fn note(&self, note: &str) {
        if !self.is_json() {
            self.error_text(&format!("{note}\n"));
        }
    }

    pub(super) fn failure(&self, failure: &CommandFailure) {
        if failure.kind == FailureKind::NotRead {
            return;
        }
        if self.is_json() {
            // Nobody is left to tell when this cannot be written either.
            let _ = self.json(&failure.to_json());
            return;
        }
        let mut text = match &failure.drawing {
            Some(drawing) => drawing.clone(),
            None => format!(
                "{} {}\n",
                self.styled("error:", AnsiColor::Red),
                failure.message
            ),
        };
        if let Some(remedy) = &failure.remedy {
            text.push_str(&format!(
                "{} {remedy}\n",
                self.styled(" help:", AnsiColor::Cyan)
            ));
        }
        self.error_text(&text);
    }

    fn styled(&self, word: &str, colour: AnsiColor) -> String {
        if !self.colours_errors() {
            return word.to_owned();
        }
        let style = Style::new().bold().fg_color(Some(colour.into()));
        format!("{style}{word}{style:#}")
    }

    fn error_text(&self, text: &str) {
        // Whoever closed the error output does not want to be told.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}
