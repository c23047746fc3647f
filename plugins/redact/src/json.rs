//! JSON with some values replaced. What is not replaced keeps its octets: order of keys, spelling of
//! numbers, blanks.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{
    Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Lists and objects within each other that are followed; a path has no use for more.
const DEPTH_MAX: usize = 64;

/// Where a value stands: keys from the top, `*` for any of them. Lists are gone through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(Vec<String>);

impl Path {
    /// `user.phone`. A path without a key, or with an empty one, is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let keys: Vec<_> = text.split('.').map(str::to_owned).collect();
        (!keys.iter().any(String::is_empty)).then_some(Self(keys))
    }
}

/// `text` with the value at each path replaced by `with`, itself JSON; `None` where there is none.
///
/// # Errors
/// `text` is no JSON, or deeper than 64 where paths lead.
pub(crate) fn replace(
    text: &str,
    paths: &[Path],
    with: &str,
) -> Result<Option<String>, serde_json::Error> {
    let root: &RawValue = serde_json::from_str(text)?;
    let paths: Vec<&[String]> = paths.iter().map(|path| path.0.as_slice()).collect();
    let mut found = Vec::new();
    find(root, &paths, DEPTH_MAX, &mut found)?;
    if found.is_empty() {
        return Ok(None);
    }
    let mut replaced = String::with_capacity(text.len());
    let mut rest = 0;
    for value in found {
        let Range { start, end } = place(text, value);
        replaced.push_str(text.get(rest..start).unwrap_or_default());
        replaced.push_str(with);
        rest = end;
    }
    replaced.push_str(text.get(rest..).unwrap_or_default());
    Ok(Some(replaced))
}

/// Adds the values below `value` at the ends of `paths`, in the order of the text.
fn find<'a>(
    value: &'a RawValue,
    paths: &[&[String]],
    depth_left: usize,
    found: &mut Vec<&'a RawValue>,
) -> Result<(), serde_json::Error> {
    let first = value.get().bytes().next();
    if !matches!(first, Some(b'{' | b'[')) {
        return Ok(());
    }
    let Some(depth_left) = depth_left.checked_sub(1) else {
        let text = format!("more than {DEPTH_MAX} lists and objects within each other");
        return Err(serde_json::Error::custom(text));
    };
    if first == Some(b'[') {
        let items = value_parts(value, Items)?;
        return items
            .into_iter()
            .try_for_each(|item| find(item, paths, depth_left, found));
    }
    for (key, member) in value_parts(value, Members)? {
        let steps = paths.iter().filter_map(|path| path.split_first());
        let below = steps.filter(|(step, _)| *step == "*" || **step == *key);
        let below: Vec<&[String]> = below.map(|(_, rest)| rest).collect();
        if below.iter().any(|rest| rest.is_empty()) {
            found.push(member);
        } else if !below.is_empty() {
            find(member, &below, depth_left, found)?;
        }
    }
    Ok(())
}

/// What stands directly in an object or a list, as slices of the text.
fn value_parts<'a, V: Visitor<'a>>(
    value: &'a RawValue,
    visitor: V,
) -> Result<V::Value, serde_json::Error> {
    serde_json::Deserializer::from_str(value.get()).deserialize_any(visitor)
}

/// Where `part`, a slice of `text`, stands in it.
fn place(text: &str, part: &RawValue) -> Range<usize> {
    let part = part.get();
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + part.len()
}

struct Members;

struct Items;

impl<'a> Visitor<'a> for Members {
    type Value = Vec<(Cow<'a, str>, &'a RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            members.push((key, value));
        }
        Ok(members)
    }
}

impl<'a> Visitor<'a> for Items {
    type Value = Vec<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

/// A key, copied only where it is written with escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, paths: &[&str], expected: Option<&str>) {
        let paths: Vec<_> = paths
            .iter()
            .map(|path| Path::parse(path).expect("a path"))
            .collect();
        let replaced = replace(text, &paths, "\"***\"").expect("JSON");
        assert_eq!(replaced.as_deref(), expected, "{text}");
    }

    #[test]
    fn values_at_a_path_are_replaced_and_nothing_else() {
        check(
            r#"{ "z":1.50, "email" : "a@b", "a":[ 1e2 ]}"#,
            &["email"],
            Some(r#"{ "z":1.50, "email" : "***", "a":[ 1e2 ]}"#),
        );
        check(
            r#"{"user":{"phone":1,"x":2}}"#,
            &["user.phone"],
            Some(r#"{"user":{"phone":"***","x":2}}"#),
        );
        check(r#"{"user":{"email":1}}"#, &["email"], None);
    }

    #[test]
    fn values_of_every_kind_are_replaced_whole() {
        for value in [
            "null",
            "true",
            "-1.5",
            "\"x\"",
            "[1,{\"a\":2}]",
            "{\"b\":{}}",
        ] {
            check(
                &format!("{{\"a\":{value},\"c\":1}}"),
                &["a"],
                Some(r#"{"a":"***","c":1}"#),
            );
        }
    }

    #[test]
    fn lists_are_gone_through() {
        check(
            r#"{"users":[{"email":1},{"id":2},[{"email":3}]]}"#,
            &["users.email"],
            Some(r#"{"users":[{"email":"***"},{"id":2},[{"email":"***"}]]}"#),
        );
        check(r#"[{"email":1}]"#, &["email"], Some(r#"[{"email":"***"}]"#));
    }

    #[test]
    fn a_star_is_any_key() {
        check(
            r#"{"a":{"x":1},"b":{"x":2,"y":3}}"#,
            &["*.x"],
            Some(r#"{"a":{"x":"***"},"b":{"x":"***","y":3}}"#),
        );
    }

    #[test]
    fn a_key_is_found_however_it_is_written_and_however_often() {
        check(
            r#"{"\u0065mail":1,"email":2}"#,
            &["email"],
            Some(r#"{"\u0065mail":"***","email":"***"}"#),
        );
    }

    #[test]
    fn a_path_within_a_replaced_value_changes_nothing_more() {
        check(
            r#"{"user":{"phone":1}}"#,
            &["user", "user.phone"],
            Some(r#"{"user":"***"}"#),
        );
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_an_error() {
        let paths = [Path::parse("a").expect("a path")];
        assert!(replace("{\"a\":", &paths, "0").is_err());
        assert!(replace("{\"a\":1} x", &paths, "0").is_err());
        let lists = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(replace(&lists(DEPTH_MAX), &paths, "0").is_ok());
        assert!(replace(&lists(DEPTH_MAX + 1), &paths, "0").is_err());
    }

    #[test]
    fn a_path_has_no_empty_key() {
        assert_eq!(
            (Path::parse(""), Path::parse("a..b"), Path::parse("a.")),
            (None, None, None)
        );
    }
}
