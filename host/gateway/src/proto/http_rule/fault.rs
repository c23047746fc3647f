//! What is wrong with the rules of a schema, and where.

use std::{fmt, ops::Range};

use postern_core::route::PathTemplateError;
use prost_reflect::MethodDescriptor;

use super::field::FieldError;
use crate::config::{ConfigFault, Faults, Provenance};

/// One thing that is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto) struct RuleFault {
    /// The file of the schema, by its name there.
    file: String,
    /// The line of the method, from 1, where the schema came with its source.
    line: Option<usize>,
    /// `library.v1.Library.GetBook`, and which of its bindings.
    place: String,
    problem: RuleProblem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RuleProblem {
    #[error("the rule names no method of HTTP: write get, put, post, delete, patch or custom")]
    NoPattern,
    #[error("the rule has additional bindings within additional bindings")]
    Nested,
    #[error("{0:?} is no method of HTTP")]
    Verb(String),
    #[error(transparent)]
    Path(#[from] PathTemplateError),
    #[error("{{{name}}} of the path: {error}")]
    Variable { name: String, error: FieldError },
    #[error("{{{name}}} of the path is {what}; a path has single values only")]
    VariableType { name: String, what: &'static str },
    #[error("body {name:?}: {error}")]
    Body { name: String, error: FieldError },
    #[error("body {name:?} is {what}; a body is one field of the request itself")]
    BodyType { name: String, what: &'static str },
    #[error("{name:?} is the body and stands in the path")]
    BodyInPath { name: String },
    #[error("response_body {name:?}: {error}")]
    ResponseBody { name: String, error: FieldError },
    #[error("it takes the same requests as {other}")]
    Taken { other: String },
}

impl RuleFault {
    pub(super) fn of(method: &MethodDescriptor, number: usize, problem: RuleProblem) -> Self {
        Self {
            file: method.parent_file().name().to_owned(),
            line: line_of(method),
            place: place_name(method, number),
            problem,
        }
    }
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: {}", self.place, self.problem)
    }
}

/// The faults of the first file that has any, each at its line where `text` has the source of it.
pub(in crate::proto) fn drawn<'t>(
    faults: &[RuleFault],
    text: impl Fn(&str) -> Option<&'t str>,
) -> Faults {
    let file = faults.first().map_or("", |fault| &fault.file);
    let source = text(file);
    let told = faults.iter().filter(|fault| fault.file == file);
    let told = told.map(|fault| {
        let line = source.zip(fault.line);
        let span = line.and_then(|(source, line)| span_of(source, line));
        ConfigFault {
            path: String::new(),
            place: span.map(Provenance::File),
            message: format!("{}: {}", fault.place, fault.problem),
            remedy: REMEDY.to_owned(),
        }
    });
    Faults::new(file, source.unwrap_or_default(), told.collect())
}

/// What stands in a line, from 1.
fn span_of(source: &str, line: usize) -> Option<Range<usize>> {
    let mut lines = source.split_inclusive('\n');
    let before: usize = lines
        .by_ref()
        .take(line.checked_sub(1)?)
        .map(str::len)
        .sum();
    let text = lines.next()?;
    let start = before + text.len() - text.trim_start().len();
    Some(start..start + text.trim().len())
}

/// A binding of a method for people: the rule itself is number 0.
pub(super) fn place_name(method: &MethodDescriptor, number: usize) -> String {
    match number {
        0 => method.full_name().to_owned(),
        number => format!("{}, additional binding {number}", method.full_name()),
    }
}

fn line_of(method: &MethodDescriptor) -> Option<usize> {
    let file = method.parent_file();
    let source = file.file_descriptor_proto().source_code_info.as_ref()?;
    let mut locations = source.location.iter();
    let location = locations.find(|location| location.path == method.path())?;
    // google/protobuf/descriptor.proto, "SourceCodeInfo": lines are counted from 0.
    Some(usize::try_from(*location.span.first()?).ok()? + 1)
}

const REMEDY: &str = "mend option (google.api.http); what served before serves until then";
