//! Where a redirect leads, or what path an upstream is asked for: text with `{name}` for parameters of
//! the route, as in `/new/{id}` or `https://www.example.org/{path}`.
//!
//! | where | a parameter stands there |
//! | --- | --- |
//! | in the path | as it was sent: `%2F` and `%2E` stay, so that nothing parts or leads that did not before |
//! | after `?` or `#` | decoded, and encoded anew, so that it is one value |
//!
//! **Invariant:** what a client sends never changes the host that the template names; an address that
//! begins with a slash begins with one.

use super::{
    path::shorten,
    template::{PathParam, PathTemplate},
};
use crate::text::Text;

/// Text with places for parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationTemplate {
    text: Text,
    parts: Vec<LocationPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LocationPart {
    Text(Text),
    Param {
        name: Text,
        /// It stands in the path.
        is_path: bool,
    },
}

/// Why a text leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationTemplateError {
    #[error("{0:?} begins neither with one slash nor with http:// or https:// and a host")]
    Form(String),
    #[error("{0:?} has a brace that names no parameter such as {{id}}")]
    Brace(String),
    #[error("the path has no parameter {name:?}; it has {known}")]
    Unknown { name: String, known: String },
    #[error("{0:?} has a parameter in its host, which a client would choose then")]
    Host(String),
    #[error("{0:?} has a character that no address has; write it percent-encoded")]
    Character(String),
}

impl LocationTemplate {
    /// Reads a template for a route of `path`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str, path: &PathTemplate) -> Result<Self, LocationTemplateError> {
        let written = || shorten(text);
        let is_graphic = |c: char| c.is_ascii_graphic() && !"\"<>\\^`|".contains(c);
        if !text.chars().all(is_graphic) {
            return Err(LocationTemplateError::Character(written()));
        }
        let after_scheme = ["http://", "https://"]
            .into_iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        match after_scheme {
            Some(rest) => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if host.contains(['{', '}']) {
                    return Err(LocationTemplateError::Host(written()));
                }
                if host.is_empty() {
                    return Err(LocationTemplateError::Form(written()));
                }
            }
            None if text.starts_with('/') && !text.starts_with("//") => {}
            None => return Err(LocationTemplateError::Form(written())),
        }
        let parts = split(text).ok_or_else(|| LocationTemplateError::Brace(written()))?;
        for part in &parts {
            if let LocationPart::Param { name, .. } = part
                && !path.names().any(|known| known == name)
            {
                let known: Vec<_> = path.names().map(|name| format!("{{{name}}}")).collect();
                return Err(LocationTemplateError::Unknown {
                    name: name.to_string(),
                    known: match known.is_empty() {
                        true => "none".to_owned(),
                        false => known.join(", "),
                    },
                });
            }
        }
        Ok(Self {
            text: text.into(),
            parts,
        })
    }

    /// As it was written.
    #[must_use]
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// The address with the values of `params`.
    #[must_use]
    pub fn fill(&self, params: &[PathParam<'_>]) -> String {
        let mut filled = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            match part {
                LocationPart::Text(text) => filled.push_str(text),
                LocationPart::Param { name, is_path } => {
                    let Some(param) = params.iter().find(|param| param.name == name) else {
                        continue;
                    };
                    match is_path {
                        true => push_encoded(&mut filled, param.raw, PATH_OCTETS),
                        false => push_encoded(&mut filled, &param.value, QUERY_OCTETS),
                    }
                }
            }
        }
        // `//host` is an address of another host.
        if filled.starts_with('/') {
            let path = filled.trim_start_matches('/');
            return format!("/{path}");
        }
        filled
    }
}

fn split(text: &str) -> Option<Vec<LocationPart>> {
    let mut parts = Vec::new();
    let (mut rest, mut is_path) = (text, true);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}')?;
        if before.contains('}') {
            return None;
        }
        is_path &= !before.contains(['?', '#']);
        parts.push(LocationPart::Text(before.into()));
        parts.push(LocationPart::Param {
            name: name.into(),
            is_path,
        });
        rest = tail;
    }
    if rest.contains('}') {
        return None;
    }
    parts.push(LocationPart::Text(rest.into()));
    Some(parts)
}

/// Percent-encodes all but letters, digits and `plain`.
fn push_encoded(out: &mut String, value: &str, plain: &[u8]) {
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() || plain.contains(&octet) {
            out.push(char::from(octet));
        } else {
            let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
            out.push('%');
            out.push(digit(octet >> 4).to_ascii_uppercase());
            out.push(digit(octet & 15).to_ascii_uppercase());
        }
    }
}

/// What may stand in a path (RFC 3986 section 3.3), and the sign of what is encoded already.
const PATH_OCTETS: &[u8] = b"-._~!$&'()*+,;=:@/%";
/// Unreserved characters (RFC 3986 section 2.3), and slashes.
const QUERY_OCTETS: &[u8] = b"-._~/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::path::RequestPath;

    #[track_caller]
    fn check(template: &str, to: &str, path: &str, expected: &str) {
        let template = PathTemplate::parse(template).expect("a template");
        let to = LocationTemplate::parse(to, &template).expect("a location");
        let path = RequestPath::parse(path).expect("a path");
        let params = template.params(&path).expect("taken");
        assert_eq!(to.fill(&params), expected);
    }

    #[test]
    fn parameters_stand_in_their_places() {
        check("/old/{id}", "/new/{id}", "/old/7", "/new/7");
        check(
            "/a/{p*}",
            "https://x.org/b/{p}?c",
            "/a/d/e%20f",
            "https://x.org/b/d/e%20f?c",
        );
        check("/u/{a}/{b}", "/{b}/{a}", "/u/1/2", "/2/1");
    }

    #[test]
    fn a_client_chooses_no_host_and_adds_no_line() {
        check("/{p*}", "/{p}", "//evil.org/x", "/evil.org/x");
        check("/{p*}", "/{p}", "/%2Fevil.org", "/%2Fevil.org");
        check("/{p*}", "/{p}", "/\\evil.org", "/%5Cevil.org");
        check("/a/{p*}", "/b/{p}", "/a/..%2Fc", "/b/..%2Fc");
        check("/{p}", "/{p}?n={p}", "/a%2F&b", "/a%2F&b?n=a/%26b");
        check("/{p*}", "/{p}", "/%5Cevil.org", "/%5Cevil.org");
        check("/{p}", "/x?n={p}", "/a%26b%3D%23", "/x?n=a%26b%3D%23");
        check("/{p}", "/{p}", "/%C3%A9", "/%C3%A9");
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let path = PathTemplate::parse("/a/{id}").expect("a template");
        let refused = |text: &str| {
            LocationTemplate::parse(text, &path)
                .expect_err(text)
                .to_string()
        };
        for (text, expected) in [
            (
                "x",
                "\"x\" begins neither with one slash nor with http:// or https:// and a host",
            ),
            (
                "//x",
                "\"//x\" begins neither with one slash nor with http:// or https:// and a host",
            ),
            (
                "https://",
                "\"https://\" begins neither with one slash nor with http:// or https:// and a host",
            ),
            (
                "https://{id}/",
                "\"https://{id}/\" has a parameter in its host, which a client would choose then",
            ),
            (
                "/{id",
                "\"/{id\" has a brace that names no parameter such as {id}",
            ),
            (
                "/id}",
                "\"/id}\" has a brace that names no parameter such as {id}",
            ),
            ("/{x}", "the path has no parameter \"x\"; it has {id}"),
            (
                "/a b",
                "\"/a b\" has a character that no address has; write it percent-encoded",
            ),
        ] {
            assert_eq!(refused(text), expected);
        }
    }
}
