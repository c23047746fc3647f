//! Answers every call with what it was sent, message by message when it is streamed.

use postern_guest::{Failure, Incoming, Octets, Outgoing};

struct Echo;

/// Answers with what it was sent.
#[postern_guest::service]
impl Echo {
    /// Gives one message back.
    #[method(idempotent)]
    fn echo(message: Octets) -> Octets {
        message
    }

    /// Gives every message back as it arrives.
    fn echo_stream(
        messages: Incoming<Octets>,
        mut replies: Outgoing<Octets>,
    ) -> Result<(), Failure> {
        for message in messages {
            replies.send(message?)?;
        }
        Ok(())
    }

    /// Any other method does what `Echo` does.
    #[method(fallback)]
    fn any(_method: &str, message: Octets) -> Octets {
        message
    }

    /// Any other method, streamed, does what `EchoStream` does.
    #[method(fallback)]
    fn any_stream(
        _method: &str,
        messages: Incoming<Octets>,
        replies: Outgoing<Octets>,
    ) -> Result<(), Failure> {
        Self::echo_stream(messages, replies)
    }
}

#[cfg(test)]
mod tests {
    use postern_guest::{Failure, Octets, Service, fake::Host};

    use super::Echo;

    #[test]
    fn a_message_comes_back_under_any_method() {
        let host = Host::new();
        let message = Octets::from([0, 0xff, b'{'].as_slice());
        for method in ["Echo", "Whatever", ""] {
            assert_eq!(
                host.call::<Echo>(method, message.clone()),
                Ok(message.clone())
            );
        }
    }

    #[test]
    fn a_message_is_not_copied() {
        let message = vec![7; 64];
        let address = message.as_ptr();
        let reply = Echo::call("Echo", message).unwrap();
        assert_eq!(reply.as_ptr(), address);
    }

    #[test]
    fn streamed_messages_come_back_in_order() {
        let host = Host::new();
        for method in ["EchoStream", "Whatever"] {
            host.incoming(Octets::from("a"))
                .incoming(Octets::from(""))
                .incoming(Octets::from("b"));
            let replies = host.call_stream::<Echo>(method).unwrap();
            assert_eq!(
                replies,
                [Octets::from("a"), Octets::from(""), Octets::from("b")]
            );
        }
    }

    #[test]
    fn a_unary_method_can_be_called_as_a_stream() {
        let host = Host::new();
        host.incoming(Octets::from("a"));
        assert_eq!(
            host.call_stream::<Echo>("Echo"),
            Ok(vec![Octets::from("a")])
        );
    }

    #[test]
    fn a_stream_cannot_be_called_as_one_message() {
        let host = Host::new();
        let failure = host.call::<Echo>("EchoStream", "a").unwrap_err();
        let text = "method `EchoStream` of service `echo` is streaming";
        assert_eq!(failure, Failure::unimplemented(text));
    }

    #[test]
    fn a_broken_stream_ends_the_reply_with_its_failure() {
        let host = Host::new();
        host.incoming(Octets::from("a"))
            .incoming_fails(Failure::unavailable("gone"));
        assert_eq!(
            host.call_stream::<Echo>("EchoStream"),
            Err(Failure::unavailable("gone"))
        );
        assert_eq!(host.outgoing(), [Octets::from("a")]);
    }
}
