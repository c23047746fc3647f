//! Names of plugins' files: `users`, or `users@2.1.0` for one version of `users`. Such a name is a label: each
//! has its own slot, its own copies and its own numbers.

use std::cmp::Ordering;

use postern_core::registry::Version;
pub(crate) use postern_wasm::{plugin_of_slot as plugin_of, version_of_slot as version_of};

/// Whether `text` is a plugin's name, 1 to 64 letters, digits, `-`, `_` or `.`, the first a letter or a digit;
/// or such a name with `@` and a version, which is written in the same way and may have a `+`.
#[must_use]
pub(crate) fn is_label(text: &str) -> bool {
    match text.split_once('@') {
        None => is_word(text, ""),
        Some((plugin, version)) => is_word(plugin, "") && is_word(version, "+"),
    }
}

/// The plugin that an operator's `name` is of, and the label of the version that it names: `users@2` is that one,
/// `users@` the version without a name, whose label is `users`; `users` names no version.
#[must_use]
pub(crate) fn named(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        None => (name, None),
        Some((plugin, "")) => (plugin, Some(plugin)),
        Some((plugin, _)) => (plugin, Some(name)),
    }
}

/// A label as an operator names that version, and no other of its plugin.
#[must_use]
pub(crate) fn shown_beside(label: &str) -> String {
    match version_of(label) {
        Some(_) => label.to_owned(),
        None => format!("{label}@"),
    }
}

/// Which of two versions is newer, where both are semantic versions (`2`, `2.1` and `v2` are) that differ
/// in precedence. Otherwise their order is that in which they came.
#[must_use]
pub(crate) fn order(one: Option<&str>, other: Option<&str>) -> Option<Ordering> {
    let read = |version: Option<&str>| Version::parse(version?).ok();
    let order = read(one)?.cmp_precedence(&read(other)?);
    (order != Ordering::Equal).then_some(order)
}

/// By what labels are sorted that are deployed together: a plugin's own file, then versions that are words, then
/// semantic versions from the oldest on.
#[must_use]
pub(crate) fn at_start(label: &str) -> (String, u8, Option<Version>, String) {
    let version = version_of(label);
    let read = version.and_then(|version| Version::parse(version).ok());
    let kind = u8::from(version.is_some()) + u8::from(read.is_some());
    (plugin_of(label).to_owned(), kind, read, label.to_owned())
}

fn is_word(text: &str, also: &str) -> bool {
    let is_allowed =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') || also.contains(c);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins_well && text.len() <= WORD_BYTES_MAX && text.chars().all(is_allowed)
}

const WORD_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_semantic_one_or_a_word() {
        let long = "v".repeat(64);
        for good in [
            "users",
            "users@2",
            "users@1.2.3-rc.1+build.7",
            "acme.users@next",
            &format!("{long}@{long}"),
        ] {
            assert!(is_label(good), "{good}");
        }
        for bad in [
            "",
            "@2",
            "users@",
            "users@@2",
            "users@1@2",
            "users@.2",
            "users@a/b",
            "users@a b",
            "users+1@2",
            &format!("u@{long}v"),
            &format!("{long}v@1"),
        ] {
            assert!(!is_label(bad), "{bad}");
        }
        assert_eq!(
            (plugin_of("users@2"), version_of("users@2")),
            ("users", Some("2"))
        );
        assert_eq!((plugin_of("users"), version_of("users")), ("users", None));
    }

    #[test]
    fn a_name_with_an_at_is_one_version_and_a_name_without_is_the_plugin() {
        assert_eq!(named("users"), ("users", None));
        assert_eq!(named("users@"), ("users", Some("users")));
        assert_eq!(named("users@2"), ("users", Some("users@2")));
        for label in ["users", "users@2"] {
            assert_eq!(named(&shown_beside(label)), ("users", Some(label)));
        }
    }

    #[test]
    fn semantic_versions_have_an_order_and_words_have_none() {
        let check = |one, other, expected| assert_eq!(order(Some(one), Some(other)), expected);
        check("9.0.0", "10.0.0", Some(Ordering::Less));
        check("2", "1.9", Some(Ordering::Greater));
        check("2.0.0-rc.1", "2.0.0", Some(Ordering::Less));
        check("2", "2.0.0", None);
        check("2.0.0+a", "2.0.0+b", None);
        check("next", "1.0.0", None);
        assert_eq!(order(None, Some("1.0.0")), None);
    }

    #[test]
    fn what_is_deployed_together_comes_from_the_oldest_on() {
        let mut labels = ["u@10", "a@1", "u@next", "u@9.1", "u-x", "u"];
        labels.sort_by_cached_key(|label| at_start(label));
        assert_eq!(labels, ["a@1", "u", "u@next", "u@9.1", "u@10", "u-x"]);
    }
}
