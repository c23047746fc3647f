//! The tokens of a file of Rust, as far as items and paths need them.

pub(crate) fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Words, `::`, texts with their opening quote, and every other character by itself. Comments, the
/// content of character literals and the names of lifetimes are left out.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = if first.is_whitespace() {
            first.len_utf8()
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(length) = raw_text(rest) {
            found.push("\"".to_owned());
            length
        } else if first == '"' {
            let length = quoted(rest, '"');
            found.push(rest.get(..length).unwrap_or(rest).to_owned());
            length
        } else if first == '\'' {
            character(rest)
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else if first.is_alphanumeric() || first == '_' {
            let is_end = |c: char| !c.is_alphanumeric() && c != '_';
            let length = rest.find(is_end).unwrap_or(rest.len());
            found.push(rest.get(..length).unwrap_or(rest).to_owned());
            length
        } else {
            found.push(first.to_string());
            first.len_utf8()
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    found
}

/// How long the raw text at the beginning is, if there is one.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let n_hashes = after.len() - after.trim_start_matches('#').len();
    let body = after.get(n_hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(n_hashes));
    let length = body.find(&end)?;
    Some(rest.len() - body.len() + length + end.len())
}

/// How long the literal is that begins with `quote`.
fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    rest.len()
}

/// How long the character literal or the lifetime at the beginning is.
fn character(rest: &str) -> usize {
    let inner: Vec<_> = rest.chars().skip(1).take(2).collect();
    match inner.as_slice() {
        ['\\', _] => quoted(rest, '\''),
        [c, '\''] => 2 + c.len_utf8(),
        _ => {
            let is_end = |c: char| !c.is_alphanumeric() && c != '_';
            let name = rest.get(1..).unwrap_or_default();
            1 + name.find(is_end).unwrap_or(name.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(tokens(text), expected, "{text}");
    }

    #[test]
    fn comments_and_what_is_quoted_are_no_words() {
        check("a::b // c\n/* d */ e", &["a", "::", "b", "e"]);
        check(r#""x \" y" z"#, &[r#""x \" y""#, "z"]);
        check(r###"r#"x " y"# br"z" w"###, &["\"", "\"", "w"]);
        check(r"'a' '\'' b'x' c", &["b", "c"]);
        check(
            "fn f<'a>(x: &'a u8)",
            &["fn", "f", "<", ">", "(", "x", ":", "&", "u8", ")"],
        );
    }
}
