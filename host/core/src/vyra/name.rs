//! Names: `PREFIX[/NAMESPACE]/FUNCTION[/SUBSECTION]`, and what is called after a topic.
//!
//! | what | name |
//! | --- | --- |
//! | events | `TOPIC` |
//! | requests, responses | `srv:TOPIC:requests`, `srv:TOPIC:response:CLIENT` |
//! | goals, answers, cancellation | `TOPIC/goal`, `TOPIC/response/CLIENT`, `TOPIC/cancel` |
//! | of one goal | `TOPIC/ID/state`, `…/feedback`, `…/result`, `…/updates` |
//! | socket of requests | `srv_MODULE_TOPIC.sock`, with `_` for `/` |
//! | socket of a subscriber | `sub_MODULE_HASH.sock`, and its topic in a file of that name with `.topic` |

use std::fmt;

use crate::text::Text;

/// Longest name of a module, an id, a namespace or a function, in octets.
const PART_BYTES_MAX: usize = 64;
/// Longest subsection.
const SUBSECTION_BYTES_MAX: usize = 128;
/// Characters of the module in the file name of a subscriber.
const MODULE_CHARS: usize = 20;

/// A module, and which of that name it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VyraModule {
    name: Text,
    id: Text,
}

/// A function of a module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VyraTopic(Text);

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("it is empty")]
    Empty,
    #[error("{length} octets exceed the limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("it holds {found:?}; letters, digits and _ are taken")]
    Part { found: char },
    #[error("it holds {found:?}; letters, digits, _, - and / are taken")]
    Subsection { found: char },
}

impl VyraModule {
    /// # Errors
    /// The first thing that is wrong with either.
    pub fn new(name: &str, id: &str) -> Result<Self, NameError> {
        check_part(name)?;
        check_part(id)?;
        Ok(Self {
            name: name.into(),
            id: id.into(),
        })
    }

    #[must_use]
    pub const fn name(&self) -> &Text {
        &self.name
    }

    /// What its topics begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}_{}", self.name, self.id)
    }

    /// The topic of one of its functions.
    ///
    /// # Errors
    /// The first thing that is wrong with a part.
    pub fn topic(
        &self,
        namespace: Option<&str>,
        function: &str,
        subsection: Option<&str>,
    ) -> Result<VyraTopic, NameError> {
        check_part(function)?;
        let mut topic = self.prefix();
        if let Some(namespace) = namespace {
            check_part(namespace)?;
            topic.push('/');
            topic.push_str(namespace);
        }
        topic.push('/');
        topic.push_str(function);
        if let Some(subsection) = subsection {
            check_subsection(subsection)?;
            topic.push('/');
            topic.push_str(subsection);
        }
        Ok(VyraTopic(topic.into()))
    }

    /// The file of the stream socket at which this module answers requests of `topic`.
    #[must_use]
    pub fn request_socket(&self, topic: &VyraTopic) -> String {
        format!("srv_{}_{}.sock", self.name, topic.0.replace('/', "_"))
    }

    /// What the file name of a subscriber's socket is hashed of (SHA-256).
    #[must_use]
    pub fn subscriber_identity(&self, topic: &VyraTopic, instance: &str) -> String {
        format!("{}_{topic}_{instance}", self.name)
    }

    /// The file of a subscriber's datagram socket, `hash` being that of its identity.
    #[must_use]
    pub fn subscriber_socket(&self, hash: [u8; 6]) -> String {
        let module: String = self.name.chars().take(MODULE_CHARS).collect();
        let hash: String = hash.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("sub_{module}_{hash}.sock")
    }
}

impl VyraTopic {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn requests(&self) -> String {
        format!("srv:{self}:requests")
    }

    /// `client` are 8 hex digits that a client has chosen.
    #[must_use]
    pub fn responses(&self, client: &str) -> String {
        format!("srv:{self}:response:{client}")
    }

    #[must_use]
    pub fn goals(&self) -> String {
        format!("{self}/goal")
    }

    #[must_use]
    pub fn goal_answers(&self, client: &str) -> String {
        format!("{self}/response/{client}")
    }

    #[must_use]
    pub fn cancellations(&self) -> String {
        format!("{self}/cancel")
    }

    /// `kind` is `state`, `feedback`, `result` or `updates`.
    #[must_use]
    pub fn of_goal(&self, goal: &str, kind: &str) -> String {
        format!("{self}/{goal}/{kind}")
    }

    /// Whether a caller's channel for responses is one: whoever asks may not say where else to write to.
    #[must_use]
    pub fn is_response_channel(&self, channel: &str) -> bool {
        let client = channel
            .strip_prefix("srv:")
            .and_then(|rest| rest.strip_prefix(self.as_str()))
            .and_then(|rest| rest.strip_prefix(":response:"));
        client.is_some_and(is_client)
    }

    /// The same of answers to goals and cancellations.
    #[must_use]
    pub fn is_answer_channel(&self, channel: &str) -> bool {
        let client = channel
            .strip_prefix(self.as_str())
            .and_then(|rest| rest.strip_prefix("/response/"));
        client.is_some_and(is_client)
    }
}

impl fmt::Display for VyraTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `id` may be that of a goal: keys and channels are called after it.
#[must_use]
pub fn is_goal_id(id: &str) -> bool {
    is_client(id)
}

/// An id of 128 random bits, as `uuid.uuid4` of Python writes it (RFC 9562 section 5.4).
#[must_use]
pub fn uuid4(random: u128) -> String {
    let versioned = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{versioned:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts
        .map(|part| hex.get(part).unwrap_or_default())
        .join("-")
}

fn is_client(text: &str) -> bool {
    (1..=PART_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
}

fn check_part(text: &str) -> Result<(), NameError> {
    check_length(text, PART_BYTES_MAX)?;
    let found = text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && *c != '_');
    found.map_or(Ok(()), |found| Err(NameError::Part { found }))
}

fn check_subsection(text: &str) -> Result<(), NameError> {
    check_length(text, SUBSECTION_BYTES_MAX)?;
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/');
    let found = text.chars().find(|c| !is_legal(*c));
    found.map_or(Ok(()), |found| Err(NameError::Subsection { found }))
}

fn check_length(text: &str, limit: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        length if length > limit => Err(NameError::TooLong { length, limit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> VyraModule {
        VyraModule::new("v2_mod", "abc123").expect("names")
    }

    #[test]
    fn topics_are_those_of_the_reference() {
        let topic = module().topic(None, "events", None).expect("a topic");
        assert_eq!(topic.as_str(), "v2_mod_abc123/events");
        let topic = module().topic(Some("arm"), "move_to", Some("left-1/fast"));
        let topic = topic.expect("a topic");
        assert_eq!(topic.as_str(), "v2_mod_abc123/arm/move_to/left-1/fast");
    }

    #[test]
    fn channels_and_keys_are_those_of_the_reference() {
        let topic = module().topic(None, "calculate", None).expect("a topic");
        assert_eq!(topic.requests(), "srv:v2_mod_abc123/calculate:requests");
        let responses = topic.responses("490cd3c3");
        assert_eq!(responses, "srv:v2_mod_abc123/calculate:response:490cd3c3");
        assert!(topic.is_response_channel(&responses));
        let topic = module().topic(None, "run_task", None).expect("a topic");
        assert_eq!(topic.goals(), "v2_mod_abc123/run_task/goal");
        assert_eq!(topic.cancellations(), "v2_mod_abc123/run_task/cancel");
        let answers = topic.goal_answers("aaab5e30");
        assert_eq!(answers, "v2_mod_abc123/run_task/response/aaab5e30");
        assert!(topic.is_answer_channel(&answers));
        assert_eq!(
            topic.of_goal("39125793", "state"),
            "v2_mod_abc123/run_task/39125793/state"
        );
    }

    #[test]
    fn a_caller_cannot_say_where_else_to_write_to() {
        let topic = module().topic(None, "calculate", None).expect("a topic");
        for channel in [
            "",
            "orders.created",
            "srv:v2_mod_abc123/calculate:response:",
            "srv:v2_mod_abc123/calculate:requests",
            "srv:v2_mod_abc123/other:response:490cd3c3",
            "srv:v2_mod_abc123/calculate:response:a/b",
        ] {
            assert!(!topic.is_response_channel(channel), "{channel}");
            assert!(!topic.is_answer_channel(channel), "{channel}");
        }
        let long = format!("srv:{topic}:response:{}", "a".repeat(65));
        assert!(!topic.is_response_channel(&long));
    }

    #[test]
    fn socket_files_are_those_of_the_reference() {
        let topic = module().topic(None, "calculate", None).expect("a topic");
        assert_eq!(
            module().request_socket(&topic),
            "srv_v2_mod_v2_mod_abc123_calculate.sock"
        );
        let identity = module().subscriber_identity(&topic, "01234567");
        assert_eq!(identity, "v2_mod_v2_mod_abc123/calculate_01234567");
        let file = module().subscriber_socket([0x01, 0x23, 0x45, 0x67, 0x89, 0xab]);
        assert_eq!(file, "sub_v2_mod_0123456789ab.sock");
        let long = VyraModule::new("a_module_with_a_long_name", "1").expect("a name");
        let file = long.subscriber_socket([0; 6]);
        assert_eq!(file, "sub_a_module_with_a_long_000000000000.sock");
    }

    #[test]
    fn an_id_says_its_version_and_variant() {
        assert_eq!(uuid4(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid4(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert!(is_goal_id(&uuid4(7)));
        for id in ["", "a/b", "a:b", "a b", &"a".repeat(65)] {
            assert!(!is_goal_id(id), "{id}");
        }
    }

    #[test]
    fn names_that_are_none_are_refused_by_what_is_wrong() {
        let check = |part: &str, expected: NameError| {
            assert_eq!(VyraModule::new(part, "1"), Err(expected.clone()), "{part}");
            assert_eq!(module().topic(None, part, None), Err(expected), "{part}");
        };
        check("", NameError::Empty);
        check("a/b", NameError::Part { found: '/' });
        check("a-b", NameError::Part { found: '-' });
        check("é", NameError::Part { found: 'é' });
        let (length, limit) = (PART_BYTES_MAX + 1, PART_BYTES_MAX);
        check(&"a".repeat(length), NameError::TooLong { length, limit });
        assert!(VyraModule::new(&"a".repeat(limit), "1").is_ok());
        let refused = module().topic(None, "f", Some("a.b"));
        assert_eq!(refused, Err(NameError::Subsection { found: '.' }));
    }
}
