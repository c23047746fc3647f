//! What goes over the channels of Redis. Each message is an object with the members below, in that order.
//!
//! | message | members |
//! | --- | --- |
//! | request | `request_id`, `data`, `response_channel` |
//! | response | `request_id`, `data` |
//! | goal | `goal_id`, `goal`, `response_channel` |
//! | answer | `goal_id`, `accepted` |
//! | update | `type` (`feedback` or `result`), `goal_id` |
//! | cancellation | `goal_id`, `response_channel` |
//! | answer to it | `goal_id`, `canceled`, `error` where the goal is not known |
//! | state | `status`, `timestamp` in seconds |

use std::time::Duration;

use bytes::Bytes;

use super::{
    GoalStatus,
    python_json::{dumps, push_text, repr},
};
use crate::{json, text::Text};

/// Longest id or channel that is read, in octets.
const NAME_BYTES_MAX: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VyraRequest {
    pub request_id: Text,
    /// An object.
    pub data: Bytes,
    pub response_channel: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VyraResponse {
    pub request_id: Text,
    pub data: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VyraGoal {
    pub goal_id: Text,
    /// An object.
    pub goal: Bytes,
    pub response_channel: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VyraAnswer {
    pub goal_id: Text,
    pub is_accepted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VyraUpdate {
    pub goal_id: Text,
    /// Otherwise of feedback.
    pub is_result: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VyraCancel {
    pub goal_id: Text,
    pub response_channel: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VyraCancelAnswer {
    pub goal_id: Text,
    pub is_canceled: bool,
    pub error: Option<Text>,
}

impl VyraRequest {
    /// `None` where a peer would pass it over.
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let members = Members(payload);
        Some(Self {
            request_id: members.name("request_id")?,
            data: members.object("data"),
            response_channel: members.name("response_channel")?,
        })
    }

    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut object = Object::new();
        object.text("request_id", &self.request_id);
        object.value("data", &self.data);
        object.text("response_channel", &self.response_channel);
        object.finish()
    }
}

impl VyraResponse {
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let members = Members(payload);
        Some(Self {
            request_id: members.name("request_id")?,
            data: members.value("data")?,
        })
    }

    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut object = Object::new();
        object.text("request_id", &self.request_id);
        object.value("data", &self.data);
        object.finish()
    }
}

impl VyraGoal {
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let members = Members(payload);
        Some(Self {
            goal_id: members.name("goal_id")?,
            goal: members.object("goal"),
            response_channel: members.name("response_channel")?,
        })
    }

    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut object = Object::new();
        object.text("goal_id", &self.goal_id);
        object.value("goal", &self.goal);
        object.text("response_channel", &self.response_channel);
        object.finish()
    }
}

impl VyraAnswer {
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let members = Members(payload);
        Some(Self {
            goal_id: members.name("goal_id")?,
            is_accepted: members.boolean("accepted")?,
        })
    }

    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut object = Object::new();
        object.text("goal_id", &self.goal_id);
        object.boolean("accepted", self.is_accepted);
        object.finish()
    }
}

impl VyraUpdate {
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let members = Members(payload);
        let is_result = match members.name("type")?.as_str() {
            "feedback" => false,
            "result" => true,
            _ => return None,
        };
        Some(Self {
            goal_id: members.name("goal_id")?,
            is_result,
        })
    }

    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut object = Object::new();
        let kind = match self.is_result {
            true => "result",
            false => "feedback",
        };
        object.text("type", kind);
        object.text("goal_id", &self.goal_id);
        object.finish()
    }
}

impl VyraCancel {
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let members = Members(payload);
        Some(Self {
            goal_id: members.name("goal_id")?,
            response_channel: members.name("response_channel")?,
        })
    }

    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut object = Object::new();
        object.text("goal_id", &self.goal_id);
        object.text("response_channel", &self.response_channel);
        object.finish()
    }
}

impl VyraCancelAnswer {
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let members = Members(payload);
        Some(Self {
            goal_id: members.name("goal_id")?,
            is_canceled: members.boolean("canceled")?,
            error: members.name("error"),
        })
    }

    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut object = Object::new();
        object.text("goal_id", &self.goal_id);
        object.boolean("canceled", self.is_canceled);
        if let Some(error) = &self.error {
            object.text("error", error);
        }
        object.finish()
    }
}

/// The state of a goal, `since_1970` being the time at which it became so.
#[must_use]
pub fn goal_state(status: GoalStatus, since_1970: Duration) -> Bytes {
    let mut object = Object::new();
    object.text("status", status.name());
    object.key("timestamp");
    object
        .0
        .extend_from_slice(repr(since_1970.as_secs_f64()).as_bytes());
    object.finish()
}

/// The status in the state of a goal.
#[must_use]
pub fn status_of(state: &Bytes) -> Option<GoalStatus> {
    GoalStatus::from_name(&Members(state).name("status")?)
}

/// A payload as peers publish it: an object as it is, anything else as the text of a member.
#[must_use]
pub fn as_published(payload: &[u8]) -> Bytes {
    as_object(payload, "data").unwrap_or_else(|| Bytes::from_static(b"{}"))
}

/// What a handler gave as peers answer it: an object as it is, nothing as an empty object, anything else as
/// the text of `member`.
#[must_use]
pub fn as_result(payload: &[u8], member: &'static str) -> Bytes {
    let is_nothing = payload.trim_ascii().is_empty() || payload.trim_ascii() == b"null";
    let object = (!is_nothing).then(|| as_object(payload, member)).flatten();
    object.unwrap_or_else(|| Bytes::from_static(b"{}"))
}

/// Whether `payload` is a JSON object.
#[must_use]
pub fn is_object(payload: &[u8]) -> bool {
    payload.trim_ascii_start().starts_with(b"{") && json::check(payload).is_ok()
}

/// `None` where it is neither JSON nor text.
fn as_object(payload: &[u8], member: &'static str) -> Option<Bytes> {
    let written = dumps(payload).ok();
    if let Some(written) = &written
        && written.starts_with(b"{")
    {
        return Some(Bytes::copy_from_slice(written));
    }
    let text = match &written {
        Some(written) => match written.as_slice() {
            b"true" => "True".to_owned(),
            b"false" => "False".to_owned(),
            b"null" => "None".to_owned(),
            other => json::string(other).or_else(|| String::from_utf8(other.to_vec()).ok())?,
        },
        None => std::str::from_utf8(payload).ok()?.to_owned(),
    };
    let mut object = Object::new();
    object.text(member, &text);
    Some(object.finish())
}

/// The members of a message that came.
struct Members<'a>(&'a Bytes);

impl Members<'_> {
    /// A text that is neither empty nor too long.
    fn name(&self, key: &str) -> Option<Text> {
        let text = json::string(json::member(self.0, key)?)?;
        (1..=NAME_BYTES_MAX)
            .contains(&text.len())
            .then(|| text.into())
    }

    fn value(&self, key: &str) -> Option<Bytes> {
        json::member(self.0, key).map(|value| self.0.slice_ref(value))
    }

    /// An object; an empty one where there is none, as handlers of peers are called with it.
    fn object(&self, key: &str) -> Bytes {
        let object = self.value(key).filter(|value| value.starts_with(b"{"));
        object.unwrap_or_else(|| Bytes::from_static(b"{}"))
    }

    fn boolean(&self, key: &str) -> Option<bool> {
        match json::member(self.0, key)? {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
}

/// A message that is written, member by member.
struct Object(Vec<u8>);

impl Object {
    fn new() -> Self {
        Self(vec![b'{'])
    }

    fn key(&mut self, key: &'static str) {
        if self.0.len() > 1 {
            self.0.extend_from_slice(b", ");
        }
        push_text(&mut self.0, key);
        self.0.extend_from_slice(b": ");
    }

    fn text(&mut self, key: &'static str, text: &str) {
        self.key(key);
        push_text(&mut self.0, text);
    }

    fn boolean(&mut self, key: &'static str, is_so: bool) {
        self.key(key);
        let word: &[u8] = if is_so { b"true" } else { b"false" };
        self.0.extend_from_slice(word);
    }

    /// What is no JSON becomes an empty object.
    fn value(&mut self, key: &'static str, value: &[u8]) {
        self.key(key);
        let written = dumps(value).unwrap_or_else(|_| b"{}".to_vec());
        self.0.extend_from_slice(&written);
    }

    fn finish(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4aaf0c4a-affa-4edb-86d2-5ed64131b75d";

    fn octets(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn requests_and_responses_have_the_octets_of_the_reference() {
        let written = octets(
            "{\"request_id\": \"4aaf0c4a-affa-4edb-86d2-5ed64131b75d\", \"data\": {\"x\": 10, \"y\": 32}, \
             \"response_channel\": \"srv:v2_mod_abc123/calculate:response:490cd3c3\"}",
        );
        let request = VyraRequest::read(&written).expect("a request");
        assert_eq!(request.data, r#"{"x": 10, "y": 32}"#);
        assert_eq!(request.write(), written);
        let response = VyraResponse {
            request_id: ID.into(),
            data: octets(r#"{"result":42}"#),
        };
        let written =
            r#"{"request_id": "4aaf0c4a-affa-4edb-86d2-5ed64131b75d", "data": {"result": 42}}"#;
        assert_eq!(response.write(), written);
        let read = VyraResponse::read(&octets(written)).expect("a response");
        assert_eq!(
            (read.request_id.as_str(), &read.data[..]),
            (ID, &br#"{"result": 42}"#[..])
        );
    }

    #[test]
    fn goals_have_the_octets_of_the_reference() {
        let written = octets(
            "{\"goal_id\": \"39125793-79bf-4ce1-8a11-cc221a6cc2fa\", \"goal\": {\"n\": 1}, \
             \"response_channel\": \"v2_mod_abc123/run_task/response/aaab5e30\"}",
        );
        let goal = VyraGoal::read(&written).expect("a goal");
        assert_eq!(goal.write(), written);
        let answer = VyraAnswer {
            goal_id: "1".into(),
            is_accepted: true,
        };
        assert_eq!(answer.write(), r#"{"goal_id": "1", "accepted": true}"#);
        assert_eq!(VyraAnswer::read(&answer.write()), Some(answer));
        let update = VyraUpdate {
            goal_id: "1".into(),
            is_result: false,
        };
        assert_eq!(update.write(), r#"{"type": "feedback", "goal_id": "1"}"#);
        assert_eq!(VyraUpdate::read(&update.write()), Some(update));
        let cancel = VyraCancel {
            goal_id: "1".into(),
            response_channel: "t/response/2".into(),
        };
        assert_eq!(VyraCancel::read(&cancel.write()), Some(cancel));
        let answer = VyraCancelAnswer {
            goal_id: "1".into(),
            is_canceled: false,
            error: Some("unknown".into()),
        };
        let written = r#"{"goal_id": "1", "canceled": false, "error": "unknown"}"#;
        assert_eq!(answer.write(), written);
        assert_eq!(VyraCancelAnswer::read(&octets(written)), Some(answer));
    }

    #[test]
    fn a_state_is_written_and_read() {
        let state = goal_state(
            GoalStatus::Accepted,
            Duration::from_micros(1_795_218_054_315_560),
        );
        let expected = r#"{"status": "ACCEPTED", "timestamp": 1795218054.31556}"#;
        assert_eq!(state, expected);
        assert_eq!(status_of(&state), Some(GoalStatus::Accepted));
        assert_eq!(status_of(&octets("{}")), None);
    }

    #[test]
    fn what_lacks_an_id_or_a_channel_is_passed_over() {
        for message in [
            "",
            "plain",
            "[]",
            "{}",
            r#"{"request_id": "1"}"#,
            r#"{"response_channel": "c"}"#,
            r#"{"request_id": 1, "response_channel": "c"}"#,
            r#"{"request_id": "", "response_channel": "c"}"#,
        ] {
            assert_eq!(VyraRequest::read(&octets(message)), None, "{message}");
            assert_eq!(VyraGoal::read(&octets(message)), None, "{message}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let long = format!(r#"{{"request_id": "{long}", "response_channel": "c"}}"#);
        assert_eq!(VyraRequest::read(&long.into()), None);
        let bare = octets(r#"{"request_id": "1", "response_channel": "c", "data": 7}"#);
        assert_eq!(VyraRequest::read(&bare).expect("a request").data, "{}");
        assert_eq!(
            VyraUpdate::read(&octets(r#"{"type": "x", "goal_id": "1"}"#)),
            None
        );
    }

    #[test]
    fn what_is_no_object_becomes_the_text_of_a_member() {
        assert_eq!(as_published(br#"{"a":1}"#), r#"{"a": 1}"#);
        assert_eq!(
            as_published(b"plain \xc3\xa9"),
            r#"{"data": "plain \u00e9"}"#
        );
        assert_eq!(as_published(b"[1,2]"), r#"{"data": "[1, 2]"}"#);
        assert_eq!(as_published(b"\xff"), "{}");
        assert_eq!(as_result(b"42", "result"), r#"{"result": "42"}"#);
        assert_eq!(as_result(br#""a""#, "result"), r#"{"result": "a"}"#);
        assert_eq!(as_result(b"true", "feedback"), r#"{"feedback": "True"}"#);
        assert_eq!(as_result(b" null ", "result"), "{}");
        assert_eq!(as_result(b"", "result"), "{}");
        assert!(is_object(b" {}") && !is_object(b"[]") && !is_object(b"{"));
    }
}
