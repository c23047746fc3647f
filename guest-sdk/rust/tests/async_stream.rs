//! Role `async-stream-handler` against the fake host.

use postern_guest::{
    AsyncReply, AsyncRequest, AsyncStreamHandler, Failure, Kind, Octets, Result, call,
    call::BodyKind, fake::Host,
};

/// Answers by the name of the method.
#[derive(Default)]
struct Streams {
    n_calls: u32,
}

impl AsyncStreamHandler for Streams {
    async fn handle(
        &mut self,
        service: &str,
        method: &str,
        request: &mut AsyncRequest,
        reply: &mut AsyncReply,
    ) -> Result<()> {
        self.n_calls += 1;
        match method {
            "Echo" => {
                call::add_header("x-service", service)?;
                while let Some(message) = request.receive::<Octets>().await? {
                    reply.send(message).await?;
                }
                call::add_trailer("x-end", "well")
            }
            "Copy" => {
                call::set_octets()?;
                while let Some(piece) = request.receive::<Octets>().await? {
                    reply.send(piece).await?;
                }
                Ok(())
            }
            "Sum" => {
                let mut sum = 0;
                while let Some(number) = request.receive::<i64>().await? {
                    sum += number;
                }
                reply.send(sum).await
            }
            "Hang" => std::future::pending().await,
            _ => {
                reply.send("first").await?;
                Err(Failure::not_found(format!("no method `{method}`")))
            }
        }
    }
}

postern_guest::export!(Streams: AsyncStreamHandler);

fn octets(length: usize) -> Octets {
    Octets(vec![7; length])
}

#[test]
fn messages_keep_their_ends_both_ways() {
    let host = Host::new();
    let lengths = [1, 0, 65_532, 65_536, 300_000, 3];
    for length in lengths {
        host.incoming(octets(length));
    }
    let mut plugin = Streams::default();
    let replies = host.call_async_stream(&mut plugin, "echo", "Echo");
    let replies: Vec<_> = replies.unwrap().iter().map(|reply| reply.len()).collect();
    assert_eq!(replies, lengths);
    assert_eq!(
        host.reply_headers(),
        [("x-service".to_owned(), "echo".to_owned())]
    );
    assert_eq!(
        host.reply_trailers(),
        [("x-end".to_owned(), "well".to_owned())]
    );
    assert_eq!(plugin.n_calls, 1);
}

#[test]
fn octets_go_through_as_they_are() {
    let host = Host::new();
    host.request_kind(BodyKind::Octets)
        .incoming(octets(100_000))
        .incoming(octets(1));
    let replies = host.call_async_stream(&mut Streams::default(), "files", "Copy");
    let replies = replies.unwrap();
    assert_eq!(
        replies.iter().map(|piece| piece.len()).sum::<usize>(),
        100_001
    );
    assert!(host.replies_octets());
}

#[test]
fn messages_are_read_as_the_type_says() {
    let host = Host::new();
    host.incoming(1).incoming(41);
    let mut plugin = Streams::default();
    let sum = host.call_async_stream(&mut plugin, "sums", "Sum");
    assert_eq!(sum.unwrap(), [Octets::from("42")]);
    host.incoming("many");
    let refused = host.call_async_stream(&mut plugin, "sums", "Sum");
    assert_eq!(refused.unwrap_err().kind, Kind::InvalidArgument);
}

#[test]
fn a_failure_comes_after_what_was_sent() {
    let host = Host::new();
    let failed = host.call_async_stream(&mut Streams::default(), "any", "None");
    assert_eq!(failed.unwrap_err().kind, Kind::NotFound);
    assert_eq!(host.outgoing(), [Octets::from("\"first\"")]);
}

#[test]
fn a_request_that_ends_with_a_failure_gives_it_after_what_came_before() {
    let host = Host::new();
    host.incoming(octets(3))
        .incoming_fails(Failure::data_loss("cut"));
    let failed = host.call_async_stream(&mut Streams::default(), "echo", "Echo");
    assert_eq!(failed.unwrap_err(), Failure::data_loss("cut"));
    assert_eq!(host.outgoing(), [octets(3)]);
}

#[test]
fn a_caller_that_has_left_fails_what_is_sent() {
    let host = Host::new();
    host.leave_after(1).incoming(octets(1)).incoming(octets(2));
    let failed = host.call_async_stream(&mut Streams::default(), "echo", "Echo");
    assert_eq!(failed.unwrap_err().kind, Kind::Cancelled);
    assert_eq!(host.outgoing(), [octets(1)]);
}

#[test]
fn a_handler_that_waits_for_nothing_is_told() {
    let host = Host::new();
    let failed = host.call_async_stream(&mut Streams::default(), "any", "Hang");
    let failed = failed.unwrap_err();
    assert!(failed.message.contains("nothing completes"), "{failed}");
}
