//! How bodies become one another, and within which bounds.

use std::{collections::VecDeque, task::Waker};

use super::*;

/// Pieces, then trailers; counts what is kept, up to a limit.
struct Pieces {
    left: VecDeque<Bytes>,
    kept: usize,
    kept_max: usize,
}

impl Stream for Pieces {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.left.pop_front().map(Ok))
    }
}

impl BodySource for Pieces {
    fn trailers(self: Pin<&mut Self>) -> Option<Headers> {
        let mut trailers = Headers::new();
        let pushed = trailers.push("kept", self.kept.to_string());
        assert!(pushed.is_ok() && self.left.is_empty());
        Some(trailers)
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.kept += n_octets;
        if self.kept > self.kept_max {
            return Err(Error::unavailable(crate::Blame::Gateway, "full"));
        }
        Ok(())
    }
}

fn pieces(pieces: &[&'static str]) -> BodyStream {
    BodyStream::from_source(Pieces {
        left: pieces.iter().map(|piece| Bytes::from(*piece)).collect(),
        kept: 0,
        kept_max: 8,
    })
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn all(mut stream: BodyStream) -> (Vec<Bytes>, Option<Headers>) {
    let mut all = Vec::new();
    while let Some(next) = now(stream.next()) {
        all.push(next.expect("no error"));
    }
    (all, stream.trailers())
}

#[test]
fn octets_are_joined_up_to_the_bound_and_their_trailers_follow() {
    let (message, trailers) =
        now(Body::Octets(pieces(&["ab", "c", "d"])).collect(4)).expect("fits");
    assert_eq!(message, "abcd");
    assert_eq!(
        trailers.expect("there").get_str("kept").as_deref(),
        Some("4")
    );
    let error = now(Body::Octets(pieces(&["ab", "c", "d"])).into_one(3)).expect_err("one too many");
    assert!(error.is_too_large);
    assert_eq!(
        error.message,
        "body of 4 octets or more exceeds the limit of 3"
    );
}

#[test]
fn a_collection_ends_where_too_much_is_kept() {
    let body = Body::Octets(pieces(&["abcde", "fgh", "i"]));
    assert_eq!(
        now(body.into_one(100)).expect_err("nine octets").message,
        "full"
    );
}

#[test]
fn a_single_piece_is_not_copied() {
    let piece = Bytes::from(vec![7; 100]);
    let body = Body::Octets(BodyStream::once(piece.clone(), None));
    assert_eq!(
        now(body.into_one(100)).expect("fits").as_ptr(),
        piece.as_ptr()
    );
}

#[test]
fn messages_are_one_only_when_there_is_one() {
    let (message, trailers) = now(Body::Messages(pieces(&["ab"])).collect(2)).expect("one");
    assert_eq!((message, trailers.is_some()), ("ab".into(), true));
    assert!(now(Body::Messages(pieces(&["a", "b"])).into_one(9)).is_err());
    assert!(now(Body::Messages(pieces(&["abc"])).into_one(2)).is_err());
}

#[test]
fn octets_become_one_message_and_messages_become_octets() {
    let (messages, trailers) = all(Body::Octets(pieces(&["ab", "c"])).into_messages(3));
    assert_eq!((messages, trailers.is_some()), (vec!["abc".into()], true));
    let (octets, trailers) = all(Body::Messages(pieces(&["ab", "c"])).into_octets());
    assert_eq!(octets, ["ab", "c"]);
    assert!(trailers.is_some());
    assert_eq!(all(Body::Empty.into_octets()), (vec![], None));
    assert_eq!(
        all(Body::One("x".into()).into_messages(1)),
        (vec!["x".into()], None)
    );
}

#[test]
fn only_a_body_at_hand_is_there_twice() {
    assert!(Body::Empty.try_clone().is_some());
    assert!(matches!(Body::One("x".into()).try_clone(), Some(Body::One(x)) if x == "x"));
    assert!(Body::Messages(BodyStream::empty()).try_clone().is_none());
    assert!(Body::Octets(BodyStream::empty()).try_clone().is_none());
}
