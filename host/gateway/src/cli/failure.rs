//! Why a command failed, for people and for programs.

use std::process::ExitCode;

use postern_core::Error;
use serde_json::{Value as Json, json};

use super::output::Output;
use crate::config::Faults;

/// A command that did not do what it was asked for.
#[derive(Debug)]
pub(super) struct CommandFailure {
    /// One sentence in lower case.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Shown to people in the place of the message: a drawing, or somebody else's words.
    pub drawing: Option<String>,
    /// Shown to programs in the place of the message.
    pub json: Option<Json>,
    pub kind: FailureKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    Failed,
    /// What was asked for makes no sense.
    Usage,
    /// Whoever read the answer has seen enough: `postern ... | head`.
    NotRead,
}

impl CommandFailure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        let kind = FailureKind::Failed;
        Self {
            message: message.into(),
            remedy: None,
            drawing: None,
            json: None,
            kind,
        }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Usage,
            ..Self::new(message)
        }
    }

    /// The answer could not be written.
    pub(super) fn unwritten(error: &std::io::Error) -> Self {
        let kind = if error.kind() == std::io::ErrorKind::BrokenPipe {
            FailureKind::NotRead
        } else {
            FailureKind::Failed
        };
        Self {
            kind,
            ..Self::new(format!("the answer cannot be written: {error}"))
        }
    }

    pub(super) fn faults(faults: &Faults, output: &Output) -> Self {
        let drawing = faults.draw(output.colours_errors());
        let json = json!({ "faults": faults.to_json() });
        let drawing = Some(drawing);
        Self {
            drawing,
            json: Some(json),
            ..Self::new(faults.to_string())
        }
    }

    /// A call that failed. People and programs get the same JSON: kind, number, text, details.
    pub(super) fn call(error: &Error) -> Self {
        let mut json: Json = serde_json::from_slice(&error.to_json()).unwrap_or_default();
        if let Some(object) = json.as_object_mut() {
            object.insert("status".into(), error.kind.name().into());
        }
        let drawing = format!("{json:#}\n");
        let failure = Self {
            drawing: Some(drawing),
            json: Some(json),
            ..Self::new(error.to_string())
        };
        match remedy_of(error) {
            Some(remedy) => failure.with_remedy(remedy),
            None => failure,
        }
    }

    /// The admin listener refused, or is not there.
    pub(super) fn admin(error: &Error) -> Self {
        let failure = Self::new(error.message.to_string());
        match remedy_of(error) {
            Some(remedy) => failure.with_remedy(remedy),
            None => failure,
        }
    }

    pub(super) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self.kind {
            FailureKind::Failed => ExitCode::from(1),
            FailureKind::Usage => ExitCode::from(2),
            FailureKind::NotRead => ExitCode::SUCCESS,
        }
    }

    pub(super) fn to_json(&self) -> Json {
        let mut json = self
            .json
            .clone()
            .unwrap_or_else(|| json!({ "error": self.message }));
        if let (Some(remedy), Some(object)) = (&self.remedy, json.as_object_mut()) {
            object.insert("remedy".into(), remedy.as_str().into());
        }
        json
    }
}

fn remedy_of(error: &Error) -> Option<&'static str> {
    let text = error.to_string().to_lowercase();
    let is_refused = text.contains("connection refused") || text.contains("does not answer");
    is_refused.then_some("is the gateway running? start it with `postern run`")
}
