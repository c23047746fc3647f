//! Which calls a rule is about: `service/method`, where `*` stands for any run of characters.

use super::{leaf::Leaf, value::Value};

/// Calls by name: `users/GetUser`, `users/Get*`, `users` (all its methods), `*` (all calls).
///
/// The method is what follows the last `/`. Case counts. A star also stands for nothing and, in a
/// service, for `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallPattern {
    service: Wildcard,
    method: Wildcard,
}

/// Text in which `*` stands for any run of characters, also an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wildcard(String);

impl CallPattern {
    /// Every call.
    #[must_use]
    pub(crate) fn all() -> Self {
        let star = || Wildcard("*".to_owned());
        Self {
            service: star(),
            method: star(),
        }
    }

    #[must_use]
    pub(crate) fn matches(&self, service: &str, method: &str) -> bool {
        self.service.matches(service) && self.method.matches(method)
    }
}

impl Wildcard {
    #[must_use]
    pub(crate) fn matches(&self, text: &str) -> bool {
        // What most rules say, asked at every call.
        if self.0 == "*" {
            return true;
        }
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            // No star: nothing may follow.
            return rest.is_empty();
        };
        // The first place of each part leaves most for the parts after it.
        for part in parts {
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        rest.ends_with(last)
    }
}

impl Leaf for CallPattern {
    fn expected() -> String {
        "\"service/method\" with \"*\" for any part, such as \"users/Get*\", \"users/*\" or \"*\""
            .to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let (service, method) = text.rsplit_once('/').unwrap_or((&text, "*"));
        if service.is_empty() || method.is_empty() {
            return Err(format!("{text:?} names no service and method"));
        }
        Ok(Self {
            service: Wildcard(service.to_owned()),
            method: Wildcard(method.to_owned()),
        })
    }

    fn written(&self) -> Option<String> {
        if *self == Self::all() {
            return "*".to_owned().written();
        }
        format!("{}/{}", self.service.0, self.method.0).written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

impl Leaf for Wildcard {
    fn expected() -> String {
        "a text in which \"*\" stands for any part".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        String::read(value).map(Self)
    }

    fn written(&self) -> Option<String> {
        self.0.written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> CallPattern {
        CallPattern::read(&Value::Text(text.to_owned())).expect(text)
    }

    #[track_caller]
    fn check(text: &str, service: &str, method: &str, expected: bool) {
        let is_match = pattern(text).matches(service, method);
        assert_eq!(is_match, expected, "{text} on {service} {method}");
    }

    #[test]
    fn names_one_method_many_or_all() {
        check("users/GetUser", "users", "GetUser", true);
        check("users/GetUser", "users", "GetUsers", false);
        check("users/GetUser", "users2", "GetUser", false);
        check("users/Get*", "users", "Get", true);
        check("users/Get*", "users", "GetUser", true);
        check("users/Get*", "users", "ListUsers", false);
        check("users/*", "users", "anything", true);
        check("users", "users", "anything", true);
        check("users", "users-admin", "anything", false);
        check("*", "users", "GetUser", true);
        check("*/Get*", "users", "GetUser", true);
        check("users/GetUser", "Users", "GetUser", false);
    }

    #[test]
    fn services_may_hold_dots_and_slashes() {
        check("mesh.v1.Users/*", "mesh.v1.Users", "Get", true);
        check("a/b/c", "a/b", "c", true);
        check("a/*/c", "a/b", "c", true);
        check("*", "a/b", "c/d", true);
    }

    #[test]
    fn stars_take_what_the_rest_leaves() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let wildcard = Wildcard(pattern.to_owned());
            assert_eq!(wildcard.matches(text), expected, "{pattern} on {text}");
        };
        check("a*b*c", "abc", true);
        check("a*b*c", "axxbyybzzc", true);
        check("a*b*c", "ac", false);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("*a*", "xay", true);
        check("**", "", true);
        check("", "", true);
        check("*é", "aé", true);
    }

    #[test]
    fn is_written_as_it_is_read() {
        for text in ["users/Get*", "*", "a/b/c"] {
            let written = format!("{text:?}");
            assert_eq!(pattern(text).written(), Some(written));
        }
        assert_eq!(pattern("users").written().as_deref(), Some("\"users/*\""));
        for text in ["/x", "x/", "/"] {
            assert!(
                CallPattern::read(&Value::Text(text.to_owned())).is_err(),
                "{text}"
            );
        }
    }
}
