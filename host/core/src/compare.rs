//! Whether two versions answer alike: status or kind of error, body, and headers that are named.

use std::fmt;

use bytes::Bytes;

use crate::{
    body::Body,
    call::Reply,
    error::{Error, Kind},
    http::HttpStatus,
    text::Text,
};

/// What is compared of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComparedAnswer {
    Reply {
        /// 200 where none is set.
        status: u16,
        body: Bytes,
        /// Values of each header that is named, in their order.
        headers: Vec<(Text, Vec<Bytes>)>,
    },
    /// Messages are for people and are not compared.
    Failure { kind: Kind },
}

/// One thing in which two answers differ, short enough to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerDifference {
    /// `outcome`, `status`, `body` or `header NAME`.
    pub what: Text,
    pub expected: String,
    pub got: String,
}

impl ComparedAnswer {
    /// What is compared of `answer`, with the headers that `names` has. `None` for a stream.
    #[must_use]
    pub fn of(answer: &Result<Reply, Error>, names: &[Text]) -> Option<Self> {
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) => return Some(Self::Failure { kind: error.kind }),
        };
        let body = match &reply.body {
            Body::Empty => Bytes::new(),
            Body::One(body) => body.clone(),
            Body::Messages(_) | Body::Octets(_) => return None,
        };
        let values = |name: &Text| {
            let values = reply.headers.values(name.as_bytes());
            values
                .map(|value| Bytes::copy_from_slice(&value))
                .collect::<Vec<_>>()
        };
        Some(Self::Reply {
            status: reply.status.map_or(OK, HttpStatus::number),
            body,
            headers: names
                .iter()
                .map(|name| (name.clone(), values(name)))
                .collect(),
        })
    }

    /// In what `other` differs; nothing where it does not.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<AnswerDifference> {
        let mut differences = Vec::new();
        let mut compare = |what: Text, expected: &dyn fmt::Display, got: &dyn fmt::Display| {
            let (expected, got) = (expected.to_string(), got.to_string());
            if expected != got {
                differences.push(AnswerDifference {
                    what,
                    expected,
                    got,
                });
            }
        };
        let (
            Self::Reply {
                status,
                body,
                headers,
            },
            Self::Reply {
                status: other_status,
                body: other_body,
                headers: other_headers,
            },
        ) = (self, other)
        else {
            compare(Text::from_static("outcome"), self, other);
            return differences;
        };
        compare(Text::from_static("status"), status, other_status);
        for ((name, values), (_, other_values)) in headers.iter().zip(other_headers) {
            let what = Text::from(format!("header {name}"));
            compare(what, &Values(values), &Values(other_values));
        }
        if body != other_body {
            let from = body
                .iter()
                .zip(other_body)
                .take_while(|(one, other)| one == other)
                .count();
            differences.push(AnswerDifference {
                what: Text::from_static("body"),
                expected: Excerpt { body, from }.to_string(),
                got: Excerpt {
                    body: other_body,
                    from,
                }
                .to_string(),
            });
        }
        differences
    }
}

impl fmt::Display for ComparedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { status, .. } => write!(f, "reply of status {status}"),
            Self::Failure { kind } => f.write_str(kind.name()),
        }
    }
}

impl fmt::Display for AnswerDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            expected,
            got,
        } = self;
        write!(f, "{what}: {expected} became {got}")
    }
}

/// Values of a header, on one line. Whole: what is shown is what is compared.
struct Values<'a>(&'a [Bytes]);

impl fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("absent");
        }
        for value in self.0 {
            write!(f, "\"{}\"", value.escape_ascii())?;
        }
        Ok(())
    }
}

/// A body from where it differs on.
struct Excerpt<'a> {
    body: &'a Bytes,
    from: usize,
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.body.get(self.from..).unwrap_or_default();
        let shown = rest.get(..EXCERPT_BYTES).unwrap_or(rest);
        let (octets, from) = (self.body.len(), self.from);
        write!(
            f,
            "\"{}\" at {from} of {octets} octets",
            shown.escape_ascii()
        )
    }
}

const OK: u16 = 200;
/// Of a body, shown from the first octet that differs.
const EXCERPT_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, body::BodyStream};

    fn reply(body: &'static str, kind: &str) -> Result<Reply, Error> {
        let mut headers = Headers::new();
        headers.push("content-type", kind).expect("short");
        headers.push("date", body).expect("short");
        Ok(Reply::new(headers, Body::One(body.into())))
    }

    fn answer(answer: &Result<Reply, Error>) -> ComparedAnswer {
        ComparedAnswer::of(answer, &["content-type".into()]).expect("no stream")
    }

    #[track_caller]
    fn check(one: &Result<Reply, Error>, other: &Result<Reply, Error>, expected: &[&str]) {
        let differences = answer(one).differences(&answer(other));
        let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn answers_that_are_alike_differ_in_nothing_that_is_named() {
        check(&reply("a", "text"), &reply("a", "text"), &[]);
        let failed = |message: &'static str| Err(Error::not_found(message));
        check(&failed("no user 1"), &failed("no user 2"), &[]);
        let empty = Ok(Reply::new(Headers::new(), Body::Empty));
        let none = Ok(Reply::one(""));
        check(&empty, &none, &[]);
    }

    #[test]
    fn says_in_what_answers_differ() {
        check(
            &reply("{\"id\":1}", "text"),
            &reply("{\"id\":2}", "json"),
            &[
                "header content-type: \"text\" became \"json\"",
                "body: \"1}\" at 6 of 8 octets became \"2}\" at 6 of 8 octets",
            ],
        );
        check(
            &reply("a", "text"),
            &Err(Error::internal("x")),
            &["outcome: reply of status 200 became internal"],
        );
        check(
            &Err(Error::not_found("x")),
            &Err(Error::internal("x")),
            &["outcome: not-found became internal"],
        );
        let status = Reply {
            status: HttpStatus::new(201).ok(),
            ..Reply::one("")
        };
        check(
            &Ok(Reply::one("")),
            &Ok(status),
            &["status: 200 became 201"],
        );
    }

    #[test]
    fn a_stream_is_not_compared() {
        let stream = Body::Messages(BodyStream::empty());
        assert_eq!(
            ComparedAnswer::of(&Ok(Reply::new(Headers::new(), stream)), &[]),
            None
        );
    }
}
