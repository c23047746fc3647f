//! Service `user.ChatService` of `chat.proto`: each message of a chat is answered while the caller may still
//! write. Messages are the JSON of proto3: a field of its default value may be absent, and 64 bits are text.

use postern_guest::{Failure, Incoming, Outgoing, Result, call};
use serde::{Deserialize, Serialize};

/// In characters.
const TEXT_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatMessage {
    #[serde(default, rename = "userId", alias = "user_id")]
    user_id: String,
    #[serde(default)]
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChatReply {
    /// Counts the messages of this chat from 1.
    number: String,
    user_id: String,
    text: String,
}

struct ChatService;

/// Answers each message of a chat.
#[postern_guest::service(name = "user.ChatService")]
impl ChatService {
    /// Answers each message as it comes.
    fn chat(messages: Incoming<ChatMessage>, mut out: Outgoing<ChatReply>) -> Result<()> {
        let mut n_messages = 0_u64;
        for message in messages {
            n_messages += 1;
            out.send(reply(n_messages, message?)?)?;
        }
        call::add_trailer("x-messages", &n_messages.to_string())
    }
}

fn reply(number: u64, message: ChatMessage) -> Result<ChatReply> {
    let ChatMessage { user_id, text } = message;
    let length = text.chars().count();
    if !(1..=TEXT_MAX).contains(&length) {
        let text = format!("text of {length} characters is not 1 to {TEXT_MAX}");
        return Err(Failure::invalid_argument(text));
    }
    let whom = if user_id.is_empty() {
        "whoever you are"
    } else {
        &user_id
    };
    Ok(ChatReply {
        number: number.to_string(),
        text: format!("{text} to you, {whom}"),
        user_id,
    })
}

#[cfg(test)]
mod tests {
    use postern_guest::{Kind, fake::Host};
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn chat(host: &Host) -> Vec<Value> {
        let replies = host.call_stream::<ChatService>("Chat").unwrap();
        let replies = replies
            .iter()
            .map(|reply| serde_json::from_slice(reply).unwrap());
        replies.collect()
    }

    #[test]
    fn each_message_is_answered_and_counted() {
        let host = Host::new();
        host.incoming(json!({ "userId": "1", "text": "hello" }));
        host.incoming(json!({ "text": "bye" }));
        let expected = [
            json!({ "number": "1", "userId": "1", "text": "hello to you, 1" }),
            json!({ "number": "2", "userId": "", "text": "bye to you, whoever you are" }),
        ];
        assert_eq!(chat(&host), expected);
        let trailer = ("x-messages".to_owned(), "2".to_owned());
        assert_eq!(host.reply_trailers(), [trailer]);
    }

    #[test]
    fn a_chat_of_no_messages_has_no_answers() {
        assert_eq!(chat(&Host::new()), [Value::Null; 0]);
    }

    #[test]
    fn a_text_has_1_to_1000_characters() {
        for (length, is_taken) in [(0, false), (1, true), (1000, true), (1001, false)] {
            let host = Host::new();
            host.incoming(json!({ "text": "é".repeat(length) }));
            let answered = host.call_stream::<ChatService>("Chat");
            assert_eq!(answered.is_ok(), is_taken, "{length}");
            if let Err(failure) = answered {
                assert_eq!(failure.kind, Kind::InvalidArgument);
            }
        }
    }

    #[test]
    fn what_was_answered_before_a_failure_has_been_sent() {
        let host = Host::new();
        host.incoming(json!({ "text": "hello" }));
        host.incoming(json!({ "text": "" }));
        host.call_stream::<ChatService>("Chat").unwrap_err();
        assert_eq!(host.outgoing().len(), 1);
    }
}
