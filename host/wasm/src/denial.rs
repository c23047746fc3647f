//! What a guest is refused for want of a grant: the guest, the log and a counter are told, with the line of
//! the manifest that would grant it.

use std::fmt::Write as _;

use postern_core::Kind;

use crate::{bindings::Failure, convert::failure, state::Guest};

/// Characters of a name that a guest asks for; the rest is cut.
const SHOWN_CHARS_MAX: usize = 64;

/// Refuses `what` to `guest`, which asks for `name`; `key` of `[grants]` would allow it.
pub(crate) fn refuse(guest: &Guest, key: &'static str, what: &str, name: &str) -> Failure {
    let line = format!("{key} = [{}]", quoted(name));
    let what = format!("{what} {}", shown(name));
    let message = tell(guest, key, &what, &line);
    failure(Kind::PermissionDenied, message)
}

/// Notes that `guest` was refused `what`, and says so.
pub(crate) fn tell(guest: &Guest, key: &'static str, what: &str, line: &str) -> String {
    let plugin = &*guest.plugin;
    guest.stats.sandbox.on_denied(key);
    let message = format!(
        "plugin {plugin} has no grant for {what}; `{line}` below [grants] in {plugin}.toml would allow it"
    );
    if guest.admit_line() {
        tracing::warn!(target: "plugin", plugin, grant = key, "denied: {message}");
    }
    message
}

fn shown(name: &str) -> String {
    name.escape_debug().take(SHOWN_CHARS_MAX).collect()
}

/// As TOML writes a text.
fn quoted(name: &str) -> String {
    let mut quoted = String::from("\"");
    for c in name.chars().take(SHOWN_CHARS_MAX) {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                // Writing to a `String` does not fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_so_that_the_line_can_be_copied() {
        assert_eq!(quoted("users"), "\"users\"");
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000A\"");
        assert_eq!(quoted(&"x".repeat(100)).len(), SHOWN_CHARS_MAX + 2);
        assert_eq!(shown("a\nb"), "a\\nb");
    }
}
