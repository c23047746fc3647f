//! The messages of a call that streams its request: each line of a file, or of the standard input as it comes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use postern_core::{Body, BodyStream, Error};
use tokio::sync::mpsc;

use super::failure::CommandFailure;

/// Octets of one line at most.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Lines that are read ahead of the call.
const AHEAD_MAX: usize = 8;

/// Why the lines ended early, if they did: the call that they are of then only failed for that.
#[derive(Debug, Clone, Default)]
pub(super) struct LineFault(Arc<Mutex<Option<CommandFailure>>>);

impl LineFault {
    pub(super) fn take(&self) -> Option<CommandFailure> {
        self.0.lock().take()
    }
}

/// The lines of `file`, or of the standard input. Blank ones are left out, unless all go `raw`.
///
/// # Errors
/// When there is no such file.
pub(super) fn read(file: Option<&Path>, is_raw: bool) -> Result<(Body, LineFault), CommandFailure> {
    let source: Box<dyn BufRead + Send> = match file {
        Some(path) => {
            let file = File::open(path).map_err(|error| unread(&path.display(), &error))?;
            Box::new(BufReader::new(file))
        }
        None => Box::new(BufReader::new(io::stdin())),
    };
    let name = file.map_or_else(
        || "the standard input".to_owned(),
        |path| path.display().to_string(),
    );
    let fault = LineFault::default();
    let (sender, lines) = mpsc::channel(AHEAD_MAX);
    let told = fault.clone();
    // Reading waits for whoever types; it ends with the process.
    std::thread::spawn(move || {
        if let Err(failure) = send_lines(source, &name, is_raw, &sender) {
            let message = failure.message.clone();
            *told.0.lock() = Some(failure);
            // Fails where the call has ended.
            let _ = sender.blocking_send(Err(Error::invalid_argument(message)));
        }
    });
    let next = |mut lines: mpsc::Receiver<_>| async move { Some((lines.recv().await?, lines)) };
    let stream = BodyStream::new(stream::unfold(lines, next));
    Ok((Body::Messages(stream), fault))
}

fn send_lines(
    mut source: impl BufRead,
    name: &str,
    is_raw: bool,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), CommandFailure> {
    let mut number = 0_u64;
    while let Some(line) = next_line(&mut source, name, number + 1)? {
        number += 1;
        if !is_raw {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(&line);
            parsed.map_err(|error| {
                let failure =
                    CommandFailure::usage(format!("line {number} of {name} is no JSON: {error}"));
                failure.with_remedy(
                    "write one message on each line, or send lines as they are with --raw",
                )
            })?;
        }
        if sender.blocking_send(Ok(line.into())).is_err() {
            // The call has ended.
            break;
        }
    }
    Ok(())
}

/// The next line without its end; `None` behind the last.
fn next_line(
    source: &mut impl BufRead,
    name: &str,
    number: u64,
) -> Result<Option<Vec<u8>>, CommandFailure> {
    let mut line = Vec::new();
    let limit = LINE_BYTES_MAX as u64 + 2;
    let read = source.take(limit).read_until(b'\n', &mut line);
    if read.map_err(|error| unread(&name, &error))? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > LINE_BYTES_MAX {
        let message = format!("line {number} of {name} is longer than {LINE_BYTES_MAX} octets");
        return Err(CommandFailure::usage(message));
    }
    Ok(Some(line))
}

pub(super) fn unread(what: &dyn std::fmt::Display, error: &io::Error) -> CommandFailure {
    CommandFailure::new(format!("cannot read {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, is_raw: bool) -> (Vec<Bytes>, Option<String>) {
        let (sender, mut lines) = mpsc::channel(100);
        let sent = send_lines(text.as_bytes(), "a", is_raw, &sender);
        drop(sender);
        let mut all = Vec::new();
        while let Ok(line) = lines.try_recv() {
            all.push(line.expect("a line"));
        }
        (all, sent.err().map(|failure| failure.message))
    }

    #[test]
    fn each_line_is_a_message_and_the_last_needs_no_end() {
        assert_eq!(
            lines("1\n\n {}\r\n[2]", false),
            (vec!["1".into(), " {}".into(), "[2]".into()], None)
        );
        assert_eq!(lines("", false), (Vec::new(), None));
        assert_eq!(
            lines("a\n\nb\n", true),
            (vec!["a".into(), "".into(), "b".into()], None)
        );
    }

    #[test]
    fn a_line_that_is_no_json_ends_them_and_is_named() {
        let (before, failure) = lines("1\n\n{\n2\n", false);
        assert_eq!(before, ["1"]);
        let failure = failure.expect("refused");
        assert!(failure.starts_with("line 3 of a is no JSON: "), "{failure}");
    }

    #[test]
    fn a_line_has_its_limit() {
        let longest = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(lines(&longest, true).0.len(), 1);
        let (none, failure) = lines(&format!("{longest}y"), true);
        assert!(none.is_empty() && failure.is_some());
    }
}
