//! Names and values of a query or a form: `application/x-www-form-urlencoded`
//! (<https://url.spec.whatwg.org/#application/x-www-form-urlencoded>).

use std::borrow::Cow;

use super::path::{decode, shorten};

/// Why a query is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} of the query is not percent-encoded utf-8")]
pub struct QueryError {
    part: String,
}

/// The pairs of `query` in order. A name without `=` has an empty value; a `+` is a space.
pub fn query_pairs(
    query: &str,
) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), QueryError>> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match (plain(name), plain(value)) {
            (Some(name), Some(value)) => Ok((name, value)),
            _ => Err(QueryError {
                part: shorten(part),
            }),
        }
    })
}

fn plain(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('+') {
        return decode(text);
    }
    let spaced = text.replace('+', " ");
    decode(&spaced).map(|text| Cow::Owned(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &[(&str, &str)]) {
        let pairs: Vec<_> = query_pairs(query).map(|pair| pair.expect("text")).collect();
        let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
        assert_eq!(pairs.collect::<Vec<_>>(), expected, "{query}");
    }

    #[test]
    fn pairs_are_decoded_in_order_and_duplicates_stay() {
        check("", &[]);
        check("a=1&b=2&a=3", &[("a", "1"), ("b", "2"), ("a", "3")]);
        check("&a&b=&=c&", &[("a", ""), ("b", ""), ("", "c")]);
        check("a%26b=c%3Dd+e%2B", &[("a&b", "c=d e+")]);
        check("a=b=c", &[("a", "b=c")]);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for query in ["a=%ff", "%=1", "a=%0"] {
            assert!(query_pairs(query).any(|pair| pair.is_err()), "{query}");
        }
    }
}
