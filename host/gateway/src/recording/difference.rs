//! How one outcome of a call differs from another, for people. Pure.

use std::fmt;

use postern_wasm::{
    RecordedBody, RecordedBodyKind, RecordedFailure, RecordedHeaders, RecordedOctets,
    RecordedOutcome,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Differences of one call that are told.
const DIFFERENCES_MAX: usize = 20;
/// Octets of a value that are shown.
const SHOWN_BYTES_MAX: usize = 200;
/// Octets around the first that differs, where they are no text.
const HEX_BYTES: usize = 16;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyDifference {
    /// Where: `status`, `header x-a`, `body /users/0/name`.
    pub part: String,
    /// `-` where there was nothing.
    pub recorded: String,
    pub replayed: String,
}

impl fmt::Display for ReplyDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            recorded,
            replayed,
        } = self;
        write!(f, "{part}: {recorded} became {replayed}")
    }
}

/// Differences as they are found.
#[derive(Default)]
struct Found(Vec<ReplyDifference>);

/// Every difference of `replayed` from `recorded`, at most 20. None where they are the same bit for bit.
pub(crate) fn compare(
    recorded: &RecordedOutcome,
    replayed: &RecordedOutcome,
) -> Vec<ReplyDifference> {
    let mut found = Found::default();
    match (recorded, replayed) {
        (RecordedOutcome::Reply(before), RecordedOutcome::Reply(after)) => {
            let status =
                |status: Option<u16>| status.map_or_else(none, |status| status.to_string());
            found.text("status", &status(before.status), &status(after.status));
            found.headers("header", &before.headers, &after.headers);
            found.body(&before.body, &after.body);
        }
        (RecordedOutcome::Failure(before), RecordedOutcome::Failure(after)) => {
            found.failure("failure", before, after);
        }
        (before, after) => found.push("outcome", named(before), named(after)),
    }
    found.0.truncate(DIFFERENCES_MAX);
    found.0
}

/// What an outcome is, in a word.
fn named(outcome: &RecordedOutcome) -> String {
    match outcome {
        RecordedOutcome::Reply(reply) => {
            let messages = reply.body.messages.iter().map(RecordedOctets::shown);
            let body = messages.collect::<Vec<_>>().join(" ");
            cut(format!("a reply {body}").trim_end().to_owned())
        }
        RecordedOutcome::Failure(failure) => {
            cut(format!("{}: {}", failure.kind.name(), failure.message))
        }
    }
}

impl Found {
    fn push(&mut self, part: &str, recorded: String, replayed: String) {
        // One more than are told, so that a list that was cut is known.
        if self.0.len() <= DIFFERENCES_MAX {
            self.0.push(ReplyDifference {
                part: part.to_owned(),
                recorded,
                replayed,
            });
        }
    }

    fn text(&mut self, part: &str, before: &str, after: &str) {
        if before != after {
            self.push(part, cut(before.to_owned()), cut(after.to_owned()));
        }
    }

    fn failure(&mut self, part: &str, before: &RecordedFailure, after: &RecordedFailure) {
        self.text(part, before.kind.name(), after.kind.name());
        let part = format!("{part} message");
        self.text(&part, &before.message, &after.message);
        self.optional(
            "failure details",
            before.details.as_ref(),
            after.details.as_ref(),
        );
        self.headers("header", &before.headers, &after.headers);
    }

    fn headers(&mut self, part: &str, before: &RecordedHeaders, after: &RecordedHeaders) {
        if before.list == after.list {
            return;
        }
        let named = |headers: &RecordedHeaders, name: &RecordedOctets| {
            let of_name = headers.list.iter().filter(|(known, _)| known == name);
            let values: Vec<_> = of_name.map(|(_, value)| value.shown()).collect();
            if values.is_empty() {
                "-".to_owned()
            } else {
                values.join(", ")
            }
        };
        let mut names: Vec<_> = before.list.iter().map(|(name, _)| name).collect();
        names.extend(after.list.iter().map(|(name, _)| name));
        names.sort_unstable();
        names.dedup();
        let n_before = self.0.len();
        for name in names {
            let part = format!("{part} {}", name.shown());
            self.text(&part, &named(before, name), &named(after, name));
        }
        if self.0.len() == n_before {
            let order = |headers: &RecordedHeaders| {
                let names = headers.list.iter().map(|(name, _)| name.shown());
                cut(names.collect::<Vec<_>>().join(", "))
            };
            self.push("order of headers", order(before), order(after));
        }
    }

    fn body(&mut self, before: &RecordedBody, after: &RecordedBody) {
        let kind = |body: &RecordedBody| format!("{:?}", body.kind).to_lowercase();
        self.text("kind of body", &kind(before), &kind(after));
        let flows = |body: &RecordedBody| body.kind == RecordedBodyKind::Octets;
        if flows(before) && flows(after) {
            // Where a piece ends means nothing.
            self.octets("body", &joined(before), &joined(after));
        } else {
            let n_messages = before.messages.len().max(after.messages.len());
            for index in 0..n_messages {
                let part = match before.kind {
                    RecordedBodyKind::Messages => format!("message {}", index + 1),
                    RecordedBodyKind::Empty | RecordedBodyKind::One | RecordedBodyKind::Octets => {
                        "body".to_owned()
                    }
                };
                self.optional(&part, before.messages.get(index), after.messages.get(index));
            }
        }
        let trailers = |body: &RecordedBody| body.trailers.clone().unwrap_or_default();
        self.headers("trailer", &trailers(before), &trailers(after));
        let failed = |body: &RecordedBody| match &body.failed {
            None => none(),
            Some(failure) => format!("{}: {}", failure.kind.name(), failure.message),
        };
        self.text("end of body", &failed(before), &failed(after));
    }

    fn optional(
        &mut self,
        part: &str,
        before: Option<&RecordedOctets>,
        after: Option<&RecordedOctets>,
    ) {
        let shown = |octets: Option<&RecordedOctets>| match octets {
            None => none(),
            Some(octets) => cut(octets.shown()),
        };
        match (before, after) {
            (Some(before), Some(after)) => self.octets(part, &before.0, &after.0),
            (None, None) => {}
            (before, after) => self.push(part, shown(before), shown(after)),
        }
    }

    fn octets(&mut self, part: &str, before: &[u8], after: &[u8]) {
        if before == after {
            return;
        }
        let parse = |octets: &[u8]| serde_json::from_slice::<Json>(octets).ok();
        if let (Some(left), Some(right)) = (parse(before), parse(after))
            && left != right
        {
            let n_before = self.0.len();
            self.json(part, "", &left, &right);
            if self.0.len() > n_before {
                return;
            }
        }
        let at = before.iter().zip(after).take_while(|(a, b)| a == b).count();
        let part = format!("{part} from octet {at} on");
        let text = |octets: &[u8]| std::str::from_utf8(octets).ok().map(str::to_owned);
        match (text(before), text(after)) {
            (Some(before), Some(after)) => {
                self.push(&part, tail(&before, at), tail(&after, at));
            }
            _ => self.push(&part, hex(before, at), hex(after, at)),
        }
    }

    /// Where two values of JSON differ.
    fn json(&mut self, part: &str, pointer: &str, before: &Json, after: &Json) {
        if before == after || self.0.len() > DIFFERENCES_MAX {
            return;
        }
        match (before, after) {
            (Json::Object(left), Json::Object(right)) => {
                let mut names: Vec<_> = left.keys().chain(right.keys()).collect();
                names.sort_unstable();
                names.dedup();
                for name in names {
                    let below = format!("{pointer}/{name}");
                    self.member(part, &below, left.get(name), right.get(name));
                }
            }
            (Json::Array(left), Json::Array(right)) => {
                for index in 0..left.len().max(right.len()) {
                    let below = format!("{pointer}/{index}");
                    self.member(part, &below, left.get(index), right.get(index));
                }
            }
            (before, after) => self.member(part, pointer, Some(before), Some(after)),
        }
    }

    fn member(&mut self, part: &str, pointer: &str, before: Option<&Json>, after: Option<&Json>) {
        if let (Some(before @ (Json::Object(_) | Json::Array(_))), Some(after)) = (before, after)
            && std::mem::discriminant(before) == std::mem::discriminant(after)
        {
            return self.json(part, pointer, before, after);
        }
        let shown = |json: Option<&Json>| json.map_or_else(none, ToString::to_string);
        let part = format!("{part} {pointer}");
        self.text(part.trim_end(), &shown(before), &shown(after));
    }
}

/// How what is not there is shown.
fn none() -> String {
    "-".to_owned()
}

fn joined(body: &RecordedBody) -> Vec<u8> {
    let messages = body.messages.iter().map(|message| &message.0[..]);
    messages.collect::<Vec<_>>().concat()
}

fn cut(mut text: String) -> String {
    if text.len() > SHOWN_BYTES_MAX {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES_MAX));
        text.push_str("...");
    }
    text
}

/// `text` from where it differs on, in quotes.
fn tail(text: &str, at: usize) -> String {
    let from = text.floor_char_boundary(at);
    cut(format!("{:?}", text.get(from..).unwrap_or_default()))
}

fn hex(octets: &[u8], at: usize) -> String {
    let end = octets.len().min(at + HEX_BYTES);
    let shown = octets.get(at..end).unwrap_or_default();
    let digits: Vec<_> = shown.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{} of {} octets", digits.join(" "), octets.len())
}

#[cfg(test)]
mod tests {
    use postern_core::Kind;
    use postern_wasm::RecordedReply;

    use super::*;

    fn one(body: &'static [u8]) -> RecordedOutcome {
        RecordedOutcome::Reply(RecordedReply {
            body: RecordedBody {
                kind: RecordedBodyKind::One,
                messages: vec![body.into()],
                ..RecordedBody::default()
            },
            ..RecordedReply::default()
        })
    }

    fn failed(kind: Kind, message: &str) -> RecordedOutcome {
        RecordedOutcome::Failure(RecordedFailure {
            kind,
            message: message.to_owned(),
            details: None,
            headers: RecordedHeaders::default(),
        })
    }

    #[track_caller]
    fn check(before: &RecordedOutcome, after: &RecordedOutcome, expected: &[&str]) {
        let told: Vec<_> = compare(before, after)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn the_same_has_no_difference() {
        check(&one(b"{}"), &one(b"{}"), &[]);
        let failure = failed(Kind::NotFound, "no");
        check(&failure, &failure, &[]);
    }

    #[test]
    fn json_differs_by_its_members() {
        check(
            &one(br#"{"a":1,"b":[1,{"c":"x"}],"d":null}"#),
            &one(br#"{"a":2,"b":[1,{"c":"y"},3],"e":{}}"#),
            &[
                "body /a: 1 became 2",
                "body /b/1/c: \"x\" became \"y\"",
                "body /b/2: - became 3",
                "body /d: null became -",
                "body /e: - became {}",
            ],
        );
    }

    #[test]
    fn bit_for_bit_is_more_than_the_same_json() {
        check(
            &one(b"{\"a\":1}"),
            &one(b"{ \"a\":1}"),
            &["body from octet 1 on: \"\\\"a\\\":1}\" became \" \\\"a\\\":1}\""],
        );
    }

    #[test]
    fn what_is_no_text_differs_in_hexadecimal() {
        check(
            &one(b"\xff\x00\x01"),
            &one(b"\xff\x02"),
            &["body from octet 1 on: 00 01 of 3 octets became 02 of 2 octets"],
        );
    }

    #[test]
    fn outcomes_kinds_and_messages_differ() {
        check(
            &one(b"7"),
            &failed(Kind::NotFound, "no user"),
            &["outcome: a reply 7 became not-found: no user"],
        );
        check(
            &failed(Kind::NotFound, "no user 7"),
            &failed(Kind::Internal, "no user"),
            &[
                "failure: not-found became internal",
                "failure message: no user 7 became no user",
            ],
        );
    }

    #[test]
    fn headers_differ_by_name_or_by_order() {
        let with = |list: &[(&'static str, &'static str)]| {
            let list = list
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()));
            RecordedOutcome::Reply(RecordedReply {
                headers: RecordedHeaders {
                    fields: true,
                    list: list.collect(),
                },
                ..RecordedReply::default()
            })
        };
        check(
            &with(&[("a", "1"), ("b", "2")]),
            &with(&[("a", "2"), ("c", "3")]),
            &[
                "header a: 1 became 2",
                "header b: 2 became -",
                "header c: - became 3",
            ],
        );
        check(
            &with(&[("a", "1"), ("b", "2")]),
            &with(&[("b", "2"), ("a", "1")]),
            &["order of headers: a, b became b, a"],
        );
    }

    #[test]
    fn pieces_of_octets_are_one_body_and_messages_are_many() {
        let body = |kind, messages: &[&'static str]| {
            RecordedOutcome::Reply(RecordedReply {
                body: RecordedBody {
                    kind,
                    messages: messages.iter().map(|message| (*message).into()).collect(),
                    ..RecordedBody::default()
                },
                ..RecordedReply::default()
            })
        };
        let octets = RecordedBodyKind::Octets;
        check(&body(octets, &["a", "b"]), &body(octets, &["ab"]), &[]);
        let messages = RecordedBodyKind::Messages;
        check(
            &body(messages, &["1", "2"]),
            &body(messages, &["1", "3", "4"]),
            &["message 2: 2 became 3", "message 3: - became 4"],
        );
    }

    #[test]
    fn long_lists_of_differences_are_cut() {
        let numbers = |from: usize| {
            let numbers: Vec<_> = (from..from + 50).map(|n| n.to_string()).collect();
            RecordedOutcome::Reply(RecordedReply {
                body: RecordedBody {
                    kind: RecordedBodyKind::One,
                    messages: vec![format!("[{}]", numbers.join(",")).into()],
                    ..RecordedBody::default()
                },
                ..RecordedReply::default()
            })
        };
        assert_eq!(compare(&numbers(0), &numbers(1)).len(), DIFFERENCES_MAX);
    }
}
