//! Patterns of `PSUBSCRIBE`, `KEYS` and `SCAN`: `*`, `?`, `[a-z]`, `[^a]`, `\*`. As Redis matches
//! them, in at most the product of both lengths.

/// Whether `text` is one of those that `pattern` means.
#[must_use]
pub fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on when what follows the last `*` does not fit: one octet more belongs to it.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let fits = match (pattern, text) {
            ([], []) => return true,
            ([b'*', after @ ..], _) => {
                retry = Some((after, text));
                pattern = after;
                continue;
            }
            ([], _) | (_, []) => None,
            (pattern, [octet, rest @ ..]) => one(pattern, *octet).map(|after| (after, rest)),
        };
        if let Some((after, rest)) = fits {
            (pattern, text) = (after, rest);
            continue;
        }
        let Some((after, [_, rest @ ..])) = retry else {
            return false;
        };
        retry = Some((after, rest));
        (pattern, text) = (after, rest);
    }
}

/// What every text that `pattern` means begins with, as far as no sign of it says otherwise.
#[must_use]
pub fn glob_literal_prefix(pattern: &[u8]) -> &[u8] {
    let is_sign = |octet: &u8| matches!(octet, b'*' | b'?' | b'[' | b'\\');
    let end = pattern.iter().position(is_sign).unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or_default()
}

/// What follows the first sign of `pattern`, which is no `*`, where it fits `octet`.
fn one(pattern: &[u8], octet: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', after @ ..] => Some(after),
        [b'\\', sign, after @ ..] => (*sign == octet).then_some(after),
        [b'[', set @ ..] => of_set(set, octet),
        [sign, after @ ..] => (*sign == octet).then_some(after),
    }
}

/// As `one`, for what follows `[`. A set that is not closed ends with the pattern.
fn of_set(set: &[u8], octet: u8) -> Option<&[u8]> {
    let (is_negated, mut rest) = match set {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut is_in = false;
    loop {
        match rest {
            [] => break,
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [b'\\', sign, after @ ..] => {
                is_in |= *sign == octet;
                rest = after;
            }
            [first, b'-', last, after @ ..] => {
                let range = *first.min(last)..=*first.max(last);
                is_in |= range.contains(&octet);
                rest = after;
            }
            [sign, after @ ..] => {
                is_in |= *sign == octet;
                rest = after;
            }
        }
    }
    (is_in != is_negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        let found = glob_matches(pattern.as_bytes(), text.as_bytes());
        assert_eq!(found, expected, "{pattern} {text}");
    }

    #[test]
    fn signs_mean_what_they_mean_to_redis() {
        check("*", "", true);
        check("news.*", "news.art.new", true);
        check("news.*", "news", false);
        check("h?llo", "hello", true);
        check("h?llo", "hllo", false);
        check("h[ae]llo", "hallo", true);
        check("h[ae]llo", "hillo", false);
        check("h[^e]llo", "hello", false);
        check("h[^e]llo", "hallo", true);
        check("h[a-b]llo", "hbllo", true);
        check("h[b-a]llo", "hallo", true);
        check("a\\*b", "a*b", true);
        check("a\\*b", "axb", false);
        check("[\\]]", "]", true);
        check("[abc", "c", true);
        check("", "", true);
        check("", "a", false);
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product_of_the_lengths() {
        let pattern = "a*".repeat(60) + "b";
        check(&pattern, &"a".repeat(4000), false);
        check("*a*b*c*", "xxaxxbxxcxx", true);
        check("a*b*c", "abbbcbc", true);
    }

    #[test]
    fn the_literal_prefix_ends_at_the_first_sign() {
        let prefix = |pattern: &'static str| glob_literal_prefix(pattern.as_bytes());
        assert_eq!(prefix("news.*"), b"news.");
        assert_eq!(prefix("*"), b"");
        assert_eq!(prefix("a\\*"), b"a");
        assert_eq!(prefix("abc"), b"abc");
    }
}
