//! The lines of a recording. Pure: octets in, headers and calls out.

use std::{collections::BTreeMap, sync::Arc};

use postern_wasm::{RecordedCall, RecordedGeneration, ReplayTerms};
use serde::{Deserialize, Serialize};

/// The version of the format that is written and read.
pub(crate) const VERSION: u64 = 1;
/// Longest line, in octets. A call holds 16 MiB at most; JSON takes up to six octets for one.
pub(crate) const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Headers that say who somebody is: left out of recordings unless they are asked for.
pub(crate) const CREDENTIAL_HEADERS: [&str; 8] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-vsp-api-key",
];

/// What the calls behind it share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RecordingHeader {
    /// Version of the format.
    pub postern_calls: u64,
    pub plugin: String,
    /// Digest of the component, 64 hex digits.
    pub component: String,
    /// Digest of its manifest; none where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Version of the gateway that made it.
    pub made_by: String,
    /// When it was begun, in seconds since 1970.
    pub made: u64,
    /// Names of headers that are not in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The environment of the guest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether callers were told what the guest said before it trapped, as `postern dev` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tells_callers: bool,
}

/// A line of a recording.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RecordedLine {
    Header(Arc<RecordingHeader>),
    Call(Box<RecordedCall>),
}

/// Why a line is none of a recording.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordedLineFault {
    #[error("it is no recording: the first line is no header with \"postern-calls\"")]
    Foreign,
    #[error(
        "it is of version {0} of the format, this postern reads {VERSION}: use the one that made it, or a newer one"
    )]
    Newer(u64),
    #[error("line {line}: {reason}")]
    Wrong { line: u64, reason: String },
    #[error("line {line} exceeds the limit of {LINE_BYTES_MAX} octets")]
    TooLong { line: u64 },
    #[error(
        "line {line} ends after {octets} octets without its end: the file is cut off; remove that line to use what is before it"
    )]
    Truncated { line: u64, octets: usize },
}

/// Reads lines in their order.
#[derive(Debug, Default)]
pub(crate) struct RecordingReader {
    n_lines: u64,
    has_header: bool,
}

/// What tells headers and versions apart.
#[derive(Deserialize)]
struct Marked {
    #[serde(rename = "postern-calls")]
    version: Option<u64>,
}

impl RecordingHeader {
    pub(crate) fn new(
        plugin: &str,
        generation: &RecordedGeneration,
        manifest: Option<String>,
        left_out: &[String],
        made: u64,
    ) -> Self {
        Self {
            postern_calls: VERSION,
            plugin: plugin.to_owned(),
            component: generation.component.to_string(),
            manifest,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            made,
            left_out: left_out.to_vec(),
            env: generation.env.clone(),
            tells_callers: generation.tells_callers,
        }
    }

    pub(crate) fn terms(&self) -> ReplayTerms {
        ReplayTerms {
            env: self.env.clone(),
            left_out: self.left_out.clone().into(),
            tells_callers: self.tells_callers,
        }
    }
}

impl RecordingReader {
    /// Reads the next line, which ends with LF unless it was cut off. `None` of one that is empty.
    ///
    /// # Errors
    /// Everything in `RecordedLineFault`.
    pub(crate) fn read(&mut self, line: &[u8]) -> Result<Option<RecordedLine>, RecordedLineFault> {
        self.n_lines += 1;
        let number = self.n_lines;
        if line.len() > LINE_BYTES_MAX {
            return Err(RecordedLineFault::TooLong { line: number });
        }
        let Some(text) = line.strip_suffix(b"\n") else {
            let octets = line.len();
            // What never was a recording is not called a part of one.
            return Err(match self.has_header {
                true => RecordedLineFault::Truncated {
                    line: number,
                    octets,
                },
                false => RecordedLineFault::Foreign,
            });
        };
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let wrong = |error: serde_json::Error| RecordedLineFault::Wrong {
            line: number,
            reason: error.to_string(),
        };
        if !text.trim_ascii_start().starts_with(b"{") && !self.has_header {
            return Err(RecordedLineFault::Foreign);
        }
        let marked: Marked = match serde_json::from_slice(text) {
            Ok(marked) => marked,
            Err(_) if !self.has_header => return Err(RecordedLineFault::Foreign),
            Err(error) => return Err(wrong(error)),
        };
        match marked.version {
            Some(VERSION) => {
                let header = serde_json::from_slice(text).map_err(wrong)?;
                self.has_header = true;
                Ok(Some(RecordedLine::Header(Arc::new(header))))
            }
            Some(version) => Err(RecordedLineFault::Newer(version)),
            None if !self.has_header => Err(RecordedLineFault::Foreign),
            None => {
                let call = serde_json::from_slice(text).map_err(wrong)?;
                Ok(Some(RecordedLine::Call(Box::new(call))))
            }
        }
    }

    /// Lines read so far.
    pub(crate) const fn n_lines(&self) -> u64 {
        self.n_lines
    }

    /// Whether there was a header.
    pub(crate) const fn has_header(&self) -> bool {
        self.has_header
    }
}

/// A header or a call as a line.
///
/// # Errors
/// None that is known: everything in it can be written as JSON.
pub(super) fn to_line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
pub(super) mod tests {
    use postern_wasm::{RecordedHost, RecordedOutcome, RecordedReply, RecordedRequest};

    use super::*;

    pub(crate) fn header() -> RecordingHeader {
        RecordingHeader {
            postern_calls: VERSION,
            plugin: "users".to_owned(),
            component: "ab".repeat(32),
            manifest: None,
            made_by: "0.1.0".to_owned(),
            made: 1,
            left_out: vec!["cookie".to_owned()],
            env: BTreeMap::new(),
            tells_callers: false,
        }
    }

    pub(crate) fn call(method: &str) -> RecordedCall {
        RecordedCall {
            request: RecordedRequest {
                service: "users".to_owned(),
                method: method.to_owned(),
                ..RecordedRequest::default()
            },
            host: RecordedHost::default(),
            outcome: RecordedOutcome::Reply(RecordedReply::default()),
        }
    }

    fn lines() -> (Vec<u8>, Vec<u8>) {
        let header = to_line(&header()).expect("JSON");
        (header, to_line(&call("Get")).expect("JSON"))
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        let (head, one) = lines();
        let mut reader = RecordingReader::default();
        let read = reader.read(&head).expect("a line");
        assert_eq!(read, Some(RecordedLine::Header(Arc::new(header()))));
        assert_eq!(reader.read(b" \n").expect("nothing"), None);
        let read = reader.read(&one).expect("a line");
        assert_eq!(read, Some(RecordedLine::Call(Box::new(call("Get")))));
        assert_eq!(reader.n_lines(), 3);
    }

    #[test]
    fn what_is_foreign_newer_or_cut_off_is_told() {
        let (head, one) = lines();
        let fault = |line: &[u8]| RecordingReader::default().read(line).expect_err("refused");
        for foreign in [&b"\x00asm"[..], b"{}\n", b"# Users\n", b"[1]\n", &one] {
            assert_eq!(fault(foreign), RecordedLineFault::Foreign);
        }
        assert_eq!(
            fault(b"{\"postern-calls\":2,\"x\":1}\n"),
            RecordedLineFault::Newer(2)
        );
        let mut reader = RecordingReader::default();
        reader.read(&head).expect("a header");
        let cut = &one[..one.len() - 9];
        let truncated = RecordedLineFault::Truncated {
            line: 2,
            octets: cut.len(),
        };
        assert_eq!(reader.read(cut).expect_err("cut off"), truncated);
        let wrong = reader.read(b"{\"request\":{}}\n").expect_err("no call");
        assert!(
            wrong.to_string().starts_with("line 3: missing field"),
            "{wrong}"
        );
        let unknown = fault(b"{\"postern-calls\":1,\"colour\":\"red\"}\n");
        assert!(unknown.to_string().contains("colour"), "{unknown}");
    }
}
