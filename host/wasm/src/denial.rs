//! What a guest is refused for want of a grant, told with the line of the manifest that would grant it.

use std::fmt::Write as _;

/// Characters of a name that a guest asks for; the rest is cut.
const SHOWN_CHARS_MAX: usize = 64;

/// What is refused.
pub(crate) struct Denial<'a> {
    /// The key of `[grants]` that would allow it.
    pub(crate) grant: &'static str,
    /// What kind of thing is asked for: `service`.
    pub(crate) what: &'static str,
    /// Which of them.
    pub(crate) name: &'a str,
    /// What the key would hold.
    pub(crate) value: &'a str,
}

impl Denial<'_> {
    pub(crate) fn message(&self, plugin: &str) -> String {
        let Self { grant, what, .. } = self;
        let (name, value) = (shown(self.name), quoted(self.value));
        format!(
            "plugin {plugin} has no grant for {what} {name}; `{grant} = [{value}]` below [grants] in \
             {plugin}.toml would allow it"
        )
    }
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
