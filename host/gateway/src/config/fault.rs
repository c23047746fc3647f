//! What is wrong with a configuration: every fault with its key, place, value, limit and remedy,
//! drawn at its line.

use std::fmt::{self, Write as _};

use miette::{Diagnostic, GraphicalReportHandler, LabeledSpan, NamedSource, SourceCode};

use super::value::Provenance;
use crate::nearest::nearest;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigFault {
    /// The key: `listeners.vstp.idle-timeout`. Empty where the text is no TOML at all.
    pub path: String,
    /// Where it is written; `None` when the whole file is meant.
    pub place: Option<Provenance>,
    /// Lower case, names the value and the limit.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Everything that is wrong with one file and its environment twins, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Faults {
    /// The file's name as it was given.
    pub file: String,
    /// What stands in it.
    pub text: String,
    /// At least one.
    pub faults: Vec<ConfigFault>,
}

/// A place as people count: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextPosition {
    pub line: usize,
    pub column: usize,
}

impl Faults {
    pub(crate) fn new(file: &str, text: &str, mut faults: Vec<ConfigFault>) -> Self {
        faults.sort_by_key(|fault| match &fault.place {
            Some(Provenance::File(span)) => (0, span.start),
            Some(Provenance::Environment(_)) => (1, 0),
            None => (2, 0),
        });
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            faults,
        }
    }

    /// Where a fault stands in the file; `None` for the environment.
    #[must_use]
    pub(crate) fn position(&self, fault: &ConfigFault) -> Option<TextPosition> {
        match &fault.place {
            Some(Provenance::File(span)) => Some(position(&self.text, span.start)),
            Some(Provenance::Environment(_)) | None => None,
        }
    }

    /// Every fault with a drawing of its place, and how many there are.
    #[must_use]
    pub(crate) fn draw(&self, colour: bool) -> String {
        let theme = if colour {
            miette::GraphicalTheme::unicode()
        } else {
            miette::GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_context_lines(1)
            .with_links(false);
        let mut drawing = String::new();
        for fault in &self.faults {
            let drawn = Drawn {
                fault,
                source: NamedSource::new(&self.file, self.text.clone()),
            };
            // Writing to a `String` does not fail; a fault that cannot be drawn is still told.
            if handler.render_report(&mut drawing, &drawn).is_err() {
                drawing.push_str(&drawn.to_string());
            }
            drawing.push('\n');
        }
        let n = self.faults.len();
        let _ = writeln!(
            drawing,
            "{n} {} in {}",
            if n == 1 { "fault" } else { "faults" },
            self.file
        );
        drawing
    }

    /// One object per fault, for programs.
    #[must_use]
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let fault = |fault: &ConfigFault| {
            let position = self.position(fault);
            let variable = match &fault.place {
                Some(Provenance::Environment(variable)) => Some(variable),
                Some(Provenance::File(_)) | None => None,
            };
            serde_json::json!({
                "file": self.file,
                "line": position.map(|position| position.line),
                "column": position.map(|position| position.column),
                "variable": variable,
                "key": fault.path,
                "message": fault.message,
                "remedy": fault.remedy,
            })
        };
        self.faults.iter().map(fault).collect()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, fault) in self.faults.iter().enumerate() {
            if idx > 0 {
                f.write_str("; ")?;
            }
            if let Some(TextPosition { line, column }) = self.position(fault) {
                write!(f, "{}:{line}:{column}: ", self.file)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Provenance::Environment(variable)) = &self.place {
            write!(f, "{variable}: ")?;
        } else if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// A fault together with the text that it is drawn in.
#[derive(Debug)]
struct Drawn<'a> {
    fault: &'a ConfigFault,
    source: NamedSource<String>,
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.fault.remedy))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        matches!(self.fault.place, Some(Provenance::File(_))).then_some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Some(Provenance::File(span)) = &self.fault.place else {
            return None;
        };
        let label = LabeledSpan::new_with_span(Some("here".to_owned()), span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

/// The name among `known` that was probably meant.
pub(crate) fn suggest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    nearest(&name.replace('_', "-"), known.iter().copied())
}

/// Line and column of an octet; the end of the text for what lies behind it.
pub(crate) fn position(text: &str, at: usize) -> TextPosition {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    TextPosition { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_columns_from_one() {
        let text = "a = 1\nä = 2\n";
        assert_eq!(position(text, 0), TextPosition { line: 1, column: 1 });
        assert_eq!(position(text, 6), TextPosition { line: 2, column: 1 });
        assert_eq!(
            position(text, 9),
            TextPosition { line: 2, column: 3 },
            "ä is one column"
        );
        assert_eq!(position(text, 99), TextPosition { line: 3, column: 1 });
    }

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let known = ["timeout", "timeout-max", "depth-max"];
        assert_eq!(suggest("timout", &known), Some("timeout"));
        assert_eq!(suggest("timeout_max", &known), Some("timeout-max"));
        assert_eq!(suggest("zebra", &known), None);
    }
}
