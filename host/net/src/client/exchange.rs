//! Which call an answer belongs to. Peers of the full dialect repeat the correlation id; those of
//! the base dialect answer in order, so that only one call is under way and the others wait.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use postern_core::{
    Error, Reply,
    vsp::{payload_frame, read_response},
    wire::Frame,
};
use tokio::sync::oneshot;

use super::command::{Answered, Request};

pub(super) type Answer = oneshot::Sender<Result<Answered, Error>>;

/// The calls of one session.
#[derive(Default)]
pub(super) struct Exchange {
    order: Order,
    sent: HashMap<u64, Answer>,
    waiting: VecDeque<Box<Request>>,
    /// In order: the call whose answer comes next, also when nobody waits for it any more.
    next: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    #[default]
    Any,
    OneByOne,
}

/// How an answer found its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matched {
    /// It belongs to none.
    No,
    /// It repeats the call's correlation id.
    ByName,
    /// It names none, and one call is under way.
    ByOrder,
}

impl Exchange {
    pub(super) fn set_order(&mut self, order: Order) {
        self.order = order;
        if order == Order::Any {
            self.next = None;
        }
    }

    /// The calls that were sent.
    pub(super) fn sent_ids(&self) -> Vec<u64> {
        self.sent.keys().copied().collect()
    }

    /// Takes a call; `begin_waiting` gives it when it is its turn.
    pub(super) fn wait(&mut self, request: Box<Request>) {
        self.waiting.push_back(request);
    }

    /// The frame of the next call that waits, with the call's id, when it is its turn.
    pub(super) fn begin_waiting(&mut self, now: Instant) -> Option<(u64, Frame)> {
        while self.next.is_none() {
            let request = self.waiting.pop_front()?;
            if let Some(begun) = self.frame(now, *request) {
                return Some(begun);
            }
        }
        None
    }

    /// Hands the answer to its call. One that names another call belongs to none.
    pub(super) fn answer(&mut self, frame: Frame) -> Matched {
        let response = read_response(frame);
        let (id, answered) = match response.correlation.as_deref() {
            Some(name) => (name.parse().ok(), Matched::ByName),
            None => (self.next, Matched::ByOrder),
        };
        match id {
            Some(id) if self.finish(id, response.outcome) => answered,
            Some(_) | None => Matched::No,
        }
    }

    /// Gives call `id` up to whoever reads its reply as a stream.
    pub(super) fn take(&mut self, id: u64) -> Option<Answer> {
        match self.order {
            Order::Any => self.sent.remove(&id),
            Order::OneByOne => None,
        }
    }

    /// The answer of call `id`, which nobody waits for, is not waited for either. False when it is
    /// not the one that comes next.
    pub(super) fn give_up(&mut self, id: u64) -> bool {
        let was_next = self.next == Some(id);
        if was_next {
            self.next = None;
        }
        was_next
    }

    /// Ends a call. False when it is not under way.
    pub(super) fn finish(&mut self, id: u64, outcome: Result<Reply, Error>) -> bool {
        let was_next = self.next == Some(id);
        if was_next {
            self.next = None;
        }
        let Some(answer) = self.sent.remove(&id) else {
            return was_next;
        };
        // The caller may have gone a moment ago.
        let _ = answer.send(outcome.map(Answered::from));
        true
    }

    /// Nobody waits for `id` any more. True when that ends it: in order, its answer still comes.
    pub(super) fn abandon(&mut self, id: u64) -> bool {
        self.waiting.retain(|request| request.id != id);
        self.sent.remove(&id).is_some() && self.next != Some(id)
    }

    /// Ends every call with an error: one for those that were sent, one for those that were not.
    pub(super) fn fail_all(&mut self, sent: impl Fn() -> Error, unsent: impl Fn() -> Error) {
        self.next = None;
        for (_, answer) in self.sent.drain() {
            let _ = answer.send(Err(sent()));
        }
        for request in self.waiting.drain(..) {
            let _ = request.reply.send(Err(unsent()));
        }
    }

    /// Calls whose answers are still to come.
    pub(super) fn len(&self) -> usize {
        self.sent.len() + self.waiting.len()
    }

    fn frame(&mut self, now: Instant, request: Request) -> Option<(u64, Frame)> {
        let Request {
            id,
            call,
            payload,
            reply,
        } = request;
        match payload_frame(&call, payload, &id.to_string(), now) {
            Ok(mut frame) => {
                if self.order == Order::OneByOne && frame.headers.get(b"content-type").is_none() {
                    // As the published easy client sends it; without room for it, JSON is implied.
                    let _ = frame.headers.push("content-type", "application/json");
                }
                self.sent.insert(id, reply);
                self.next = (self.order == Order::OneByOne).then_some(id);
                Some((id, frame))
            }
            Err(error) => {
                let _ = reply.send(Err(error));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postern_core::{
        Body, Call, Headers,
        testing::epoch,
        vsp::{Payload, easy},
    };

    use super::*;

    type Waiting = oneshot::Receiver<Result<Answered, Error>>;

    fn request(id: u64) -> (Box<Request>, Waiting) {
        let (reply, answered) = oneshot::channel();
        let call = Call::unary("service", "method", Bytes::new());
        (
            Box::new(Request {
                id,
                call,
                payload: Payload::one(Bytes::from(id.to_string())),
                reply,
            }),
            answered,
        )
    }

    fn response(id: u64, payload: &'static str) -> Frame {
        let mut headers = Headers::new();
        headers
            .push("correlation-id", id.to_string())
            .expect("short");
        Frame::data(headers, payload)
    }

    /// Takes a call; whether it is its turn at once.
    fn begin(exchange: &mut Exchange, request: Box<Request>) -> bool {
        exchange.wait(request);
        exchange.begin_waiting(epoch()).is_some()
    }

    fn payload(mut answered: Waiting) -> Bytes {
        match answered
            .try_recv()
            .expect("answered")
            .expect("success")
            .reply
            .body
        {
            Body::One(payload) => payload,
            body @ (Body::Empty | Body::Messages(_) | Body::Octets(_)) => {
                panic!("{body:?} instead of one message")
            }
        }
    }

    #[test]
    fn answers_find_their_calls_in_any_order() {
        let mut exchange = Exchange::default();
        let ((one, first), (two, second)) = (request(1), request(2));
        assert!(begin(&mut exchange, one));
        assert!(begin(&mut exchange, two));
        assert_eq!(exchange.answer(response(2, "b")), Matched::ByName);
        assert_eq!(exchange.answer(response(1, "a")), Matched::ByName);
        assert_eq!(exchange.answer(response(1, "again")), Matched::No);
        assert_eq!((payload(first), payload(second)), ("a".into(), "b".into()));
        assert_eq!(exchange.len(), 0);
    }

    #[test]
    fn a_base_peer_has_one_call_at_a_time() {
        let mut exchange = Exchange::default();
        exchange.set_order(Order::OneByOne);
        let ((one, first), (two, second)) = (request(1), request(2));
        assert!(begin(&mut exchange, one));
        assert!(!begin(&mut exchange, two));
        assert!(exchange.begin_waiting(epoch()).is_none());
        assert_eq!(exchange.answer(easy::frame("a")), Matched::ByOrder);
        assert_eq!(exchange.begin_waiting(epoch()).map(|(id, _)| id), Some(2));
        assert_eq!(exchange.answer(easy::frame("b")), Matched::ByOrder);
        assert_eq!((payload(first), payload(second)), ("a".into(), "b".into()));
    }

    #[test]
    fn an_abandoned_call_of_a_base_peer_keeps_its_place_until_its_answer_came() {
        let mut exchange = Exchange::default();
        exchange.set_order(Order::OneByOne);
        let ((one, _), (two, second)) = (request(1), request(2));
        assert!(begin(&mut exchange, one));
        assert!(!begin(&mut exchange, two));
        assert!(!exchange.abandon(1));
        assert!(exchange.begin_waiting(epoch()).is_none());
        assert_eq!(exchange.answer(easy::frame("late")), Matched::ByOrder);
        assert!(exchange.begin_waiting(epoch()).is_some());
        assert_eq!(exchange.answer(easy::frame("b")), Matched::ByOrder);
        assert_eq!(payload(second), "b");
    }

    #[test]
    fn the_end_tells_calls_that_were_sent_from_those_that_were_not() {
        let mut exchange = Exchange::default();
        exchange.set_order(Order::OneByOne);
        let ((one, mut first), (two, mut second)) = (request(1), request(2));
        assert!(begin(&mut exchange, one));
        assert!(!begin(&mut exchange, two));
        exchange.fail_all(|| Error::internal("sent"), || Error::internal("unsent"));
        let message = |answered: &mut Waiting| {
            let outcome = answered.try_recv().expect("answered");
            outcome.expect_err("an error").message
        };
        assert_eq!(
            (&*message(&mut first), &*message(&mut second)),
            ("sent", "unsent")
        );
    }

    #[test]
    fn an_answer_that_names_another_call_is_nobodys() {
        let mut exchange = Exchange::default();
        exchange.set_order(Order::OneByOne);
        let (one, first) = request(1);
        assert!(begin(&mut exchange, one));
        let mut foreign = response(7, "x");
        assert_eq!(exchange.answer(foreign.clone()), Matched::No);
        foreign.headers = Headers::new();
        foreign
            .headers
            .push("correlation-id", "other")
            .expect("short");
        assert_eq!(exchange.answer(foreign), Matched::No);
        assert_eq!(exchange.answer(easy::frame("a")), Matched::ByOrder);
        assert_eq!(payload(first), "a");
    }

    #[test]
    fn an_abandoned_call_that_is_given_up_makes_room_for_the_next() {
        let mut exchange = Exchange::default();
        exchange.set_order(Order::OneByOne);
        let ((one, _), (two, _second)) = (request(1), request(2));
        assert!(begin(&mut exchange, one));
        assert!(!begin(&mut exchange, two));
        assert!(!exchange.abandon(1));
        assert!(!exchange.give_up(2) && exchange.give_up(1));
        assert_eq!(exchange.begin_waiting(epoch()).map(|(id, _)| id), Some(2));
    }

    #[test]
    fn an_abandoned_call_that_waited_is_never_sent() {
        let mut exchange = Exchange::default();
        exchange.set_order(Order::OneByOne);
        let ((one, _first), (two, _)) = (request(1), request(2));
        assert!(begin(&mut exchange, one));
        assert!(!begin(&mut exchange, two));
        assert!(!exchange.abandon(2));
        assert_eq!(exchange.answer(easy::frame("a")), Matched::ByOrder);
        assert!(exchange.begin_waiting(epoch()).is_none());
    }
}
