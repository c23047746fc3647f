//! Claims about a connection. The session's own are in session/tests.rs.

use super::*;
use crate::{
    headers::Headers,
    testing::epoch,
    wire::{FrameError, FrameType, vectors},
};

fn connection(role: Role) -> Connection {
    let config = SessionConfig {
        hello: false,
        ..SessionConfig::default()
    };
    Connection::new(Arc::new(config), role, SessionId(7), epoch())
}

fn payload_of(n: usize) -> Frame {
    Frame::data(Headers::new(), vec![b'x'; n])
}

fn chunks(connection: &mut Connection) -> Vec<Bytes> {
    std::iter::from_fn(|| connection.poll_transmit()).collect()
}

/// What a peer reads out of the chunks.
fn frames(chunks: &[Bytes]) -> Vec<Frame> {
    let mut buffer = BytesMut::from(&chunks.concat()[..]);
    let mut decoder = Decoder::new(1 << 24);
    let frames =
        std::iter::from_fn(|| decoder.decode(&mut buffer).expect("what we write")).collect();
    assert!(buffer.is_empty());
    frames
}

#[test]
fn many_small_frames_make_one_chunk() {
    let mut connection = connection(Role::Client);
    for _ in 0..100 {
        connection.send(epoch(), payload_of(64)).expect("room");
    }
    let chunks = chunks(&mut connection);
    assert_eq!(chunks.len(), 1);
    assert_eq!(frames(&chunks), vec![payload_of(64); 100]);
}

#[test]
fn chunks_of_small_frames_have_about_64_kib() {
    let mut connection = connection(Role::Client);
    for _ in 0..200 {
        connection.send(epoch(), payload_of(1024)).expect("room");
    }
    let chunks = chunks(&mut connection);
    assert_eq!(frames(&chunks).len(), 200);
    let (last, full) = chunks.split_last().expect("some");
    assert!(
        full.iter()
            .all(|chunk| (CHUNK_BYTES..CHUNK_BYTES + 1039).contains(&chunk.len()))
    );
    assert!(last.len() <= CHUNK_BYTES + 1039);
}

#[test]
fn a_payload_of_16_kib_is_copied_and_one_past_it_is_not() {
    let mut connection = connection(Role::Client);
    let [copied, large] = [
        payload_of(PAYLOAD_COPIED_MAX),
        payload_of(PAYLOAD_COPIED_MAX + 1),
    ];
    connection.send(epoch(), copied.clone()).expect("room");
    assert_eq!(chunks(&mut connection).len(), 1);
    connection.send(epoch(), large.clone()).expect("room");
    connection.send(epoch(), copied.clone()).expect("room");
    let chunks = chunks(&mut connection);
    assert_eq!(chunks.len(), 3);
    assert_eq!(chunks[1].as_ptr(), large.payload.as_ptr());
    assert_eq!(frames(&chunks), [large, copied]);
}

#[test]
fn the_memory_of_written_chunks_is_used_again() {
    let mut connection = connection(Role::Client);
    let mut places = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        connection.send(epoch(), payload_of(64)).expect("room");
        let chunk = connection.poll_transmit().expect("one");
        places.insert(chunk.as_ptr() as usize);
    }
    assert!(places.len() < 10, "{} places", places.len());
}

#[test]
fn octets_that_are_no_frame_are_answered_by_err() {
    let mut connection = connection(Role::Server);
    let mut buffer = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
    let error = FrameError::Magic { found: *b"GE" };
    let refused = connection.handle_bytes(epoch(), &mut buffer);
    assert_eq!(refused, Err(SessionError::Frame(error.clone())));
    assert!(buffer.is_empty() && connection.is_closed());
    let reason = CloseReason::Violation(SessionError::Frame(error));
    assert_eq!(connection.poll_event(), Some(SessionEvent::Closed(reason)));
    let said = frames(&chunks(&mut connection));
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].kind, FrameType::Err);
    assert_eq!(said[0].headers.get_str("code").as_deref(), Some("magic"));
}

#[test]
fn what_follows_a_violation_is_not_read() {
    let mut connection = connection(Role::Server);
    let mut buffer = BytesMut::new();
    Frame::new(FrameType::Welcome)
        .encode(&mut buffer)
        .expect("small");
    payload_of(1).encode(&mut buffer).expect("small");
    assert!(connection.handle_bytes(epoch(), &mut buffer).is_err());
    assert!(buffer.is_empty());
    let closed = connection.poll_event();
    assert!(
        matches!(
            closed,
            Some(SessionEvent::Closed(CloseReason::Violation(_)))
        ),
        "{closed:?}"
    );
    assert_eq!(connection.poll_event(), None);
}

#[test]
fn the_conversations_of_the_easy_layer_are_held_octet_by_octet() {
    for conversation in vectors::groups(vectors::EASY) {
        let ((request, _), expected) = conversation.split_first().expect("a request");
        let mut connection = connection(Role::Server);
        let mut buffer = BytesMut::from(&request[..]);
        connection
            .handle_bytes(epoch(), &mut buffer)
            .expect("well formed");
        let reader = crate::vsp::Reader::new(
            crate::Context::default().peer,
            Some(Text::from_static("echo")),
        );
        while let Some(event) = connection.poll_event() {
            let SessionEvent::Message(frame) = event else {
                continue;
            };
            let reply = match reader.read(epoch(), frame) {
                crate::vsp::Inbound::Request { call, token } => {
                    assert_eq!((&*call.service, &*call.method), ("echo", "call"));
                    token.answer(Ok(crate::Reply::new(call.headers, call.body)))
                }
                crate::vsp::Inbound::Refused { frame, .. } => frame,
                crate::vsp::Inbound::Response(_)
                | crate::vsp::Inbound::Event(_)
                | crate::vsp::Inbound::Unfit { .. }
                | crate::vsp::Inbound::Probe => panic!("not a request"),
            };
            connection.send(epoch(), reply).expect("room");
        }
        let expected: Vec<u8> = expected
            .iter()
            .flat_map(|(octets, _)| octets.clone())
            .collect();
        assert_eq!(chunks(&mut connection).concat(), expected);
    }
}
