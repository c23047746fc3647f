//! Names with `*` for any text, the empty one too: `Get*`, `*Status`, `*`.

/// A pattern of method names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pattern(String);

impl Pattern {
    #[must_use]
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether `name` as a whole fits.
    #[must_use]
    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        let Some(mut middle) = rest.strip_suffix(last) else {
            return false;
        };
        // Each part at its first place leaves most for those after it.
        parts.all(|part| match middle.split_once(part) {
            Some((_, after)) => {
                middle = after;
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, fits: &[&str], others: &[&str]) {
        let pattern = Pattern::new(pattern);
        for name in fits {
            assert!(pattern.matches(name), "{pattern:?} {name}");
        }
        for name in others {
            assert!(!pattern.matches(name), "{pattern:?} {name}");
        }
    }

    #[test]
    fn a_star_is_any_text() {
        check("Get", &["Get"], &["get", "GetUser", "", "Ge"]);
        check("Get*", &["Get", "GetUser"], &["ForGet", "Ge"]);
        check("*User", &["User", "GetUser"], &["GetUsers"]);
        check("*", &["", "x"], &[]);
        check("a*b*c", &["abc", "a-b-b-c", "abbc"], &["ac", "acb", "abcd"]);
        check("a*a", &["aa", "aba"], &["a"]);
        check("", &[""], &["x"]);
    }
}
