//! Words of an inline request, quoted as people quote them.

/// Splits a line at blanks. `"…"` may hold `\n \r \t \b \a \xHH` and escaped signs, `'…'` only `\'`.
/// `None` where quotes are not closed, or something follows a closing one at once.
pub(super) fn split_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() || rest.first() == Some(&0) {
            return Some(words);
        }
        let mut word = Vec::new();
        rest = take_word(rest, &mut word)?;
        words.push(word);
    }
}

/// One word, which may be of several parts: `a"b c"`.
fn take_word<'l>(mut rest: &'l [u8], word: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t' | 0, ..] => return Some(rest),
            [b'"', quoted @ ..] => {
                rest = take_double(quoted, word)?;
                return ends_word(rest);
            }
            [b'\'', quoted @ ..] => {
                rest = take_single(quoted, word)?;
                return ends_word(rest);
            }
            [octet, after @ ..] => {
                word.push(*octet);
                rest = after;
            }
        }
    }
}

fn take_double<'l>(mut rest: &'l [u8], word: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            [b'\\', sign, after @ ..] => {
                word.push(match sign {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    sign => *sign,
                });
                rest = after;
            }
            [octet, after @ ..] => {
                word.push(*octet);
                rest = after;
            }
        }
    }
}

fn take_single<'l>(mut rest: &'l [u8], word: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [b'\'', after @ ..] => return Some(after),
            [octet, after @ ..] => {
                word.push(*octet);
                rest = after;
            }
        }
    }
}

/// A closing quote is followed by a blank or nothing.
fn ends_word(rest: &[u8]) -> Option<&[u8]> {
    match rest.first() {
        None => Some(rest),
        Some(octet) if octet.is_ascii_whitespace() => Some(rest),
        Some(_) => None,
    }
}

fn nibble(digit: u8) -> u8 {
    let value = char::from(digit).to_digit(16).unwrap_or_default();
    u8::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<&[&str]>) {
        let words = split_line(line.as_bytes());
        let expected = expected.map(|words| words.iter().map(|word| word.as_bytes().to_vec()));
        assert_eq!(words, expected.map(Iterator::collect), "{line:?}");
    }

    #[test]
    fn blanks_part_words() {
        check("PING", Some(&["PING"]));
        check("  SET  a\tb ", Some(&["SET", "a", "b"]));
        check("", Some(&[]));
        check(" \t ", Some(&[]));
    }

    #[test]
    fn quotes_keep_blanks_and_escapes() {
        check(r#"SET a "b c""#, Some(&["SET", "a", "b c"]));
        check(r#"a "\x41\n\t\"\q""#, Some(&["a", "A\n\t\"q"]));
        check(r"a 'b \' \n'", Some(&["a", r"b ' \n"]));
        check(r#"a """#, Some(&["a", ""]));
        check(r#"pre"fix""#, Some(&["prefix"]));
    }

    #[test]
    fn quotes_that_do_not_end_or_go_on_are_refused() {
        check(r#"a "b"#, None);
        check("a 'b", None);
        check(r#"a "b"c"#, None);
        check("a 'b'c", None);
        check(r#"a "b\"#, None);
    }
}
