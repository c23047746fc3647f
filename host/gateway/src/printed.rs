//! What others have written, as it is shown to people: in part, and without what would steer a terminal.

/// `text` without control characters and without what turns the direction of writing; each is a space.
#[must_use]
pub(crate) fn plain(text: &str) -> String {
    let shown = text.chars();
    shown.map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// As `plain`, and `chars_max` characters of it at most; that there are more is told by three dots.
#[must_use]
pub(crate) fn shortened(text: &str, chars_max: usize) -> String {
    let end = text.char_indices().nth(chars_max).map(|(end, _)| end);
    match end.and_then(|end| text.get(..end)) {
        Some(begin) => plain(begin) + "...",
        None => plain(text),
    }
}

/// Whether a terminal acts on it, or writes what follows in another direction.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_and_what_steers_is_blank() {
        assert_eq!(shortened("a\u{1b}[2Jb", 9), "a [2Jb");
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "abc...");
        assert_eq!(shortened("\u{e9}\u{e9}\u{e9}", 2), "\u{e9}\u{e9}...");
        assert_eq!(plain("a\tb\u{202e}c"), "a b c");
    }
}
