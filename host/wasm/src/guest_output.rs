//! The end of what a guest has written to its standard error since its entry began. A runtime says there why
//! it gives up: the report of a trap shows it, and one line of it tells the cause.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use parking_lot::Mutex;

/// Octets that are kept.
const TAIL_BYTES_MAX: usize = 2 * 1024;
/// Octets of the one line that tells the cause; the rest is cut.
const TELLING_BYTES_MAX: usize = 256;

/// The last octets of one instance's standard error.
#[derive(Debug, Default)]
pub(crate) struct OutputTail {
    tail: Mutex<Vec<u8>>,
    /// Octets that the entry has printed, to standard output as well.
    printed_bytes: AtomicUsize,
}

impl OutputTail {
    pub(crate) fn push(&self, octets: &[u8]) {
        let mut tail = self.tail.lock();
        let from = octets.len().saturating_sub(TAIL_BYTES_MAX);
        tail.extend_from_slice(octets.get(from..).unwrap_or_default());
        let over = tail.len().saturating_sub(TAIL_BYTES_MAX);
        tail.drain(..over);
    }

    /// Another entry begins.
    pub(crate) fn clear(&self) {
        self.tail.lock().clear();
        self.forget_printed();
    }

    /// Counts what is printed; gives the sum.
    pub(crate) fn count_printed(&self, octets: usize) -> usize {
        self.printed_bytes
            .fetch_add(octets, Relaxed)
            .saturating_add(octets)
    }

    pub(crate) fn printed_bytes(&self) -> usize {
        self.printed_bytes.load(Relaxed)
    }

    /// The sum begins anew.
    pub(crate) fn forget_printed(&self) {
        self.printed_bytes.store(0, Relaxed);
    }

    /// What is kept, as text; what is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        let tail = self.tail.lock();
        String::from_utf8_lossy(&tail).trim_end().to_owned()
    }
}

/// The line of `output` that tells why a guest gave up, as the runtimes of Rust, Go, Python, JavaScript and C
/// write it. The last one where none is known.
pub(crate) fn telling_line(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
    let filled = || lines.iter().rev().filter(|line| !line.trim().is_empty());
    let line = rust_panic(&lines)
        .or_else(|| {
            let of_go =
                |line: &&&str| line.starts_with("panic: ") || line.starts_with("fatal error: ");
            filled().find(of_go).map(|line| (*line).to_owned())
        })
        .or_else(|| thrown(&lines))
        .or_else(|| filled().next().map(|line| line.trim().to_owned()))?;
    Some(shown(&line))
}

/// `thread 'main' panicked at src/lib.rs:1:2:` and the line after it.
fn rust_panic(lines: &[&str]) -> Option<String> {
    let at = lines
        .iter()
        .rposition(|line| line.contains("panicked at "))?;
    let (_, place) = lines.get(at)?.split_once("panicked at ")?;
    let place = place.trim_end_matches(':');
    match lines
        .get(at + 1)
        .filter(|line| !line.is_empty() && !line.starts_with("note: "))
    {
        Some(message) => Some(format!("{message} (at {place})")),
        None => Some(format!("panicked at {place}")),
    }
}

/// The line before the frames of JavaScript (`    at f (file:1:2)`), or behind those of Python.
fn thrown(lines: &[&str]) -> Option<String> {
    let is_frame = |line: &&str| line.trim_start().starts_with("at ") && line.starts_with(' ');
    let traced = lines
        .iter()
        .rposition(|line| line.starts_with("Traceback (most recent call last)"));
    if let Some(traced) = traced {
        let mut behind = lines.iter().skip(traced + 1);
        let line = behind.find(|line| !line.is_empty() && !line.starts_with(char::is_whitespace));
        return line.map(|line| (*line).to_owned());
    }
    let first = lines.iter().position(is_frame)?;
    let line = lines.get(first.checked_sub(1)?)?;
    (!line.trim().is_empty()).then(|| line.trim().to_owned())
}

/// Without what a terminal would act on or write in another direction, and not too long.
fn shown(line: &str) -> String {
    let mut shown = String::new();
    for c in line.chars() {
        if shown.len() >= TELLING_BYTES_MAX {
            shown.push_str("...");
            break;
        }
        let is_of_direction = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || is_of_direction {
            // Writing to a `String` does not fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        assert_eq!(telling_line(output).as_deref(), Some(expected));
    }

    #[test]
    fn the_last_octets_are_kept_and_no_more() {
        let tail = OutputTail::default();
        tail.push(&vec![b'a'; TAIL_BYTES_MAX]);
        tail.push(b"bc");
        let text = tail.text();
        assert_eq!(text.len(), TAIL_BYTES_MAX);
        assert!(text.starts_with("aa") && text.ends_with("abc"));
        tail.push(&vec![b'd'; 3 * TAIL_BYTES_MAX]);
        assert_eq!(tail.text(), "d".repeat(TAIL_BYTES_MAX));
        tail.clear();
        assert_eq!(tail.text(), "");
    }

    #[test]
    fn each_runtime_tells_its_cause_in_its_own_way() {
        check(
            "\nthread '<unnamed>' (1) panicked at src/lib.rs:9:5:\nno user 7\nnote: run with \
             `RUST_BACKTRACE=1`\n",
            "no user 7 (at src/lib.rs:9:5)",
        );
        check(
            "panic: runtime error: index out of range [7]\n\ngoroutine 1 [running]:\nmain.f()\n\t/a.go:1",
            "panic: runtime error: index out of range [7]",
        );
        check(
            "Traceback (most recent call last):\n  File \"app.py\", line 3, in handle\n    x = a[7]\n\
             IndexError: list index out of range\n",
            "IndexError: list index out of range",
        );
        check(
            "Uncaught TypeError: a is undefined\n    at handle (app.js:3:4)\n    at call (b.js:1:1)\n",
            "Uncaught TypeError: a is undefined",
        );
        check(
            "Assertion failed: n > 0 (a.c: f: 3)\n\n",
            "Assertion failed: n > 0 (a.c: f: 3)",
        );
        assert_eq!(telling_line(" \n\n"), None);
    }

    #[test]
    fn what_a_terminal_would_act_on_is_written_out_and_length_is_bounded() {
        check("\u{1b}[31mred", "\\u{1b}[31mred");
        let long = telling_line(&"x".repeat(10_000)).unwrap();
        assert_eq!(long.len(), TELLING_BYTES_MAX + 3);
    }

    #[test]
    fn what_turns_the_direction_of_writing_is_shown() {
        assert_eq!(
            shown("a\u{202e}b\u{2066}c\u{1b}"),
            "a\\u{202e}b\\u{2066}c\\u{1b}"
        );
    }
}
