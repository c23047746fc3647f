//! What of a request does not fit, field by field, as Google's APIs tell it: `google.rpc.BadRequest`
//! (google/rpc/error_details.proto).

use postern_core::{Error, json};

/// Fields, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Violations {
    shown: Vec<(String, String)>,
    n_more: usize,
}

impl Violations {
    pub(super) fn push(&mut self, field: &str, description: impl Into<String>) {
        match self.shown.len() < SHOWN_MAX {
            true => self.shown.push((shorten(field), description.into())),
            false => self.n_more += 1,
        }
    }

    /// # Errors
    /// `invalid-argument`, where there is any.
    pub(super) fn check(self) -> Result<(), Error> {
        let Some((field, description)) = self.shown.first() else {
            return Ok(());
        };
        let n_more = self.shown.len() - 1 + self.n_more;
        let message = match n_more {
            0 => format!("{field}: {description}"),
            n_more => format!("{field}: {description}; and {n_more} more"),
        };
        Err(Error::invalid_argument(message).with_details(self.details()))
    }

    fn details(&self) -> Vec<u8> {
        let mut out = Vec::from(
            b"[{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":[",
        );
        for (idx, (field, description)) in self.shown.iter().enumerate() {
            if idx > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"field\":");
            json::push_string(&mut out, field);
            out.extend_from_slice(b",\"description\":");
            json::push_string(&mut out, description);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}]");
        out
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// Fields that are told; further ones are counted.
const SHOWN_MAX: usize = 32;
const SHOWN_CHARS_MAX: usize = 100;
