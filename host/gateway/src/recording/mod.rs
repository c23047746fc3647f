//! Recordings: files of calls with all that their guests were told (`host/docs/recording.md`), and what
//! comes of replaying them.
//!
//! ```text
//! {"postern-calls":1,"plugin":"users","component":"9f86..",..}     a header: what the calls behind it share
//! {"request":{..},"host":{..},"outcome":{..}}                      a call
//! {"request":{..},"host":{..},"outcome":{..}}
//! ```
//! One JSON object a line. A file may hold several headers: of another version, or of another recording
//! that was put behind the first.

mod difference;
mod file;
mod line;
mod local;
mod report;

pub(crate) use self::{
    difference::ReplyDifference,
    file::{RecordingFault, RecordingWriter, read, replace},
    line::{CREDENTIAL_HEADERS, LINE_BYTES_MAX, RecordedLine, RecordingHeader, RecordingReader},
    local::LocalReplay,
    report::{CallReport, ReplayCounts, accept, report},
};
