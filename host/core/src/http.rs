//! What HTTP says of a call and of its reply beside headers and body.

use std::num::NonZeroU16;

use crate::text::Text;

/// The control data of a request: RFC 9110 section 6.2, and what HTTP/2 has in pseudo-header fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpFacts {
    /// `GET`, `POST`, ... with regard to case.
    pub method: Text,
    /// `http` or `https`; empty where the request does not say.
    pub scheme: Text,
    /// Host and port as the client named them; empty where it named none.
    pub authority: Text,
    /// As it was sent, percent-encoded.
    pub path: Text,
    /// What follows the first `?` of the target, if there is one.
    pub query: Option<Text>,
    /// The service is to have the request itself: a back that speaks HTTP sends it as it is. Otherwise
    /// it is a call of a method that came by HTTP.
    pub is_forwarded: bool,
    /// The protocol that the client asks to go on with: `upgrade` of HTTP/1.1, `:protocol` of an
    /// extended CONNECT. Where the reply has `HttpStatus::SWITCHING_PROTOCOLS`, the octets of both
    /// bodies are the streams of that protocol; otherwise the request has no body.
    pub upgrade: Option<Text>,
}

/// A final status of a reply: 200 to 599, or 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpStatus(NonZeroU16);

/// Why a number is not a status that a reply may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("http status {0} is not within 200 to 599")]
pub struct StatusError(pub u16);

impl HttpFacts {
    /// Path and query as a request target has them.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.to_string(),
        }
    }

    /// Takes apart what `target` puts together; both share its buffer.
    #[must_use]
    pub fn split_target(target: &Text) -> (Text, Option<Text>) {
        match target.split_once('?') {
            Some((path, query)) => (target.share(path), Some(target.share(query))),
            None => (target.clone(), None),
        }
    }
}

impl HttpStatus {
    /// The connection goes on in the protocol that the request asked for. It is no status that a
    /// handler sets by its number: only who has such a stream for the client answers with it.
    pub const SWITCHING_PROTOCOLS: Self = Self(NonZeroU16::MIN.saturating_add(100));

    /// # Errors
    /// A number that is no final status: 1xx are between the hops, and RFC 9110 section 15 ends with
    /// 5xx.
    pub const fn new(number: u16) -> Result<Self, StatusError> {
        match NonZeroU16::new(number) {
            Some(status) if number >= 200 && number <= 599 => Ok(Self(status)),
            Some(_) | None => Err(StatusError(number)),
        }
    }

    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }

    /// Whether a reply of that status has no content, whatever its headers say: RFC 9110 sections
    /// 15.3.5 and 15.4.5.
    #[must_use]
    pub const fn has_no_content(self) -> bool {
        matches!(self.number(), 204 | 304)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_final() {
        for (number, is_status) in [
            (0, false),
            (199, false),
            (200, true),
            (599, true),
            (600, false),
        ] {
            assert_eq!(HttpStatus::new(number).is_ok(), is_status, "{number}");
        }
        assert_eq!(
            StatusError(42).to_string(),
            "http status 42 is not within 200 to 599"
        );
    }

    #[test]
    fn an_upgrade_is_no_number_that_a_handler_may_set() {
        assert_eq!(HttpStatus::SWITCHING_PROTOCOLS.number(), 101);
        assert_eq!(HttpStatus::new(101), Err(StatusError(101)));
    }

    #[test]
    fn a_target_is_split_at_its_first_question_mark() {
        let split = |target: &'static str| {
            let (path, query) = HttpFacts::split_target(&Text::from_static(target));
            let facts = HttpFacts {
                path: path.clone(),
                query: query.clone(),
                ..HttpFacts::default()
            };
            assert_eq!(facts.target(), target);
            (path, query)
        };
        assert_eq!(split("/a?b?c"), ("/a".into(), Some("b?c".into())));
        assert_eq!(split("/a?"), ("/a".into(), Some("".into())));
        assert_eq!(split("/a"), ("/a".into(), None));
    }
}
