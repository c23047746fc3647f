//! What becomes of calls and replies around their messages.

use std::{collections::VecDeque, task::Waker};

use super::*;

/// Protobuf is in upper case here and JSON in lower case; what holds `!` is no message.
#[derive(Debug)]
struct Cases([MethodInfo; 4]);

impl MessageCodec for Cases {
    fn has_service(&self, service: &str) -> bool {
        service == "cases.Cases"
    }

    fn method(&self, service: &str, method: &str) -> Option<&MethodInfo> {
        let Self(methods) = self;
        let known = self.has_service(service);
        methods.iter().find(|info| known && info.name == method)
    }

    fn convert(
        &self,
        _: &str,
        _: &str,
        _: Direction,
        from: MessageForm,
        message: &Bytes,
    ) -> Result<Bytes, Error> {
        if message.contains(&b'!') {
            return Err(Error::invalid_argument("field \"!\" is unknown"));
        }
        Ok(match from {
            MessageForm::Protobuf if message.is_empty() => Bytes::from_static(b"{}"),
            MessageForm::Protobuf => message.to_ascii_lowercase().into(),
            MessageForm::Json => message.to_ascii_uppercase().into(),
        })
    }
}

fn codec() -> Arc<dyn MessageCodec> {
    Arc::new(Cases(CallKind::ALL.map(|kind| MethodInfo {
        kind: Some(kind),
        ..MethodInfo::new(kind.name(), false)
    })))
}

const JSON_HANDLER: HandlerForm = HandlerForm {
    form: MessageForm::Json,
    message_bytes_max: 8,
    blame: Blame::Guest,
};

fn call(method: &'static str, content_type: Option<&str>, body: Body) -> Call {
    let mut call = Call::unary("cases.Cases", method, Bytes::new()).with_body(body);
    if let Some(content_type) = content_type {
        call.headers
            .push("content-type", content_type)
            .expect("fits");
        call.headers.push("x", "1").expect("fits");
    }
    call
}

fn conversion(call: &Call, handler: HandlerForm) -> Conversion {
    let conversion = Conversion::of(&codec(), call, handler);
    conversion.expect("known").expect("of the schema")
}

/// Three messages, then trailers that say what was kept.
struct Messages(VecDeque<&'static str>, usize);

impl Stream for Messages {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front().map(|message| Ok(message.into())))
    }
}

impl BodySource for Messages {
    fn trailers(self: Pin<&mut Self>) -> Option<Headers> {
        let mut trailers = Headers::new();
        trailers.push("kept", self.1.to_string()).expect("fits");
        Some(trailers)
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.1 += n_octets;
        Ok(())
    }
}

fn messages(messages: &[&'static str]) -> BodyStream {
    BodyStream::from_source(Messages(messages.iter().copied().collect(), 0))
}

fn next(stream: &mut BodyStream) -> Option<Result<Bytes, Error>> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(stream).poll_next(&mut cx) {
        Poll::Ready(next) => next,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn one(body: Body) -> Bytes {
    match body {
        Body::One(message) => message,
        Body::Empty | Body::Messages(_) | Body::Octets(_) => panic!("one message is at hand"),
    }
}

#[test]
fn forms_are_known_by_their_content_types() {
    let check = |content_type: &str, expected: Option<MessageForm>| {
        let form = MessageForm::from_content_type(content_type);
        assert_eq!(form, expected, "{content_type}");
    };
    for form in [MessageForm::Protobuf, MessageForm::Json] {
        check(form.content_type(), Some(form));
        assert_eq!(form.other().other(), form);
    }
    check("Application/JSON ; charset=utf-8", Some(MessageForm::Json));
    check("application/problem+JSON", Some(MessageForm::Json));
    check("application/x-protobuf", Some(MessageForm::Protobuf));
    check("text/plain", None);
    check("json", None);
    check("é+jso", None);
    check("", None);
}

#[test]
fn a_call_comes_in_the_form_of_its_handler_and_its_reply_in_that_of_the_caller() {
    let asked = call(
        "unary",
        Some("application/protobuf"),
        Body::One("ID".into()),
    );
    let conversion = conversion(&asked, JSON_HANDLER);
    assert_eq!(conversion.caller(), MessageForm::Protobuf);
    let asked = convert_call(&conversion, asked).expect("a request");
    let form = MessageForm::of_headers(&asked.headers);
    assert_eq!(
        (form, asked.headers.iter().count()),
        (Some(MessageForm::Json), 2)
    );
    assert_eq!(one(asked.body), "id");
    let reply = convert_reply(&conversion, Reply::one("name")).expect("a response");
    let form = MessageForm::of_headers(&reply.headers);
    assert_eq!(
        (form, one(reply.body)),
        (Some(MessageForm::Protobuf), "NAME".into())
    );
}

#[test]
fn what_has_the_wanted_form_is_not_looked_at() {
    let asked = call("unary", None, Body::One("!".into()));
    let conversion = conversion(&asked, JSON_HANDLER);
    let asked = convert_call(&conversion, asked).expect("passed");
    assert!(asked.headers.is_empty());
    assert_eq!(one(asked.body), "!");
    let reply = convert_reply(&conversion, Reply::one("!")).expect("passed");
    assert!(reply.headers.is_empty());
}

#[test]
fn a_reply_says_its_form_itself_where_it_is_not_the_handlers() {
    let asked = call("unary", None, Body::Empty);
    let conversion = conversion(&asked, JSON_HANDLER);
    let mut reply = Reply::one("NAME");
    reply
        .headers
        .push("content-type", "application/proto")
        .expect("fits");
    let reply = convert_reply(&conversion, reply).expect("a response");
    assert_eq!(
        reply.headers.get_str("content-type").as_deref(),
        Some("application/json")
    );
    assert_eq!(one(reply.body), "name");
}

#[test]
fn nothing_is_an_empty_message_where_there_is_one_and_none_where_there_may_be_many() {
    let protobuf = Some("application/protobuf");
    let asked = |method, content_type, handler| {
        let asked = call(method, content_type, Body::Empty);
        convert_call(&conversion(&asked, handler), asked)
            .expect("a request")
            .body
    };
    assert_eq!(one(asked("unary", protobuf, JSON_HANDLER)), "{}");
    assert!(matches!(
        asked("client-stream", protobuf, JSON_HANDLER),
        Body::Empty
    ));
    let handler = HandlerForm {
        form: MessageForm::Protobuf,
        ..JSON_HANDLER
    };
    assert_eq!(one(asked("server-stream", None, handler)), "");
}

#[test]
fn a_stream_is_converted_message_by_message_and_ends_as_it_did() {
    let body = Body::Messages(messages(&["A", "B"]));
    let asked = call("bidirectional", Some("application/protobuf"), body);
    let conversion = conversion(&asked, JSON_HANDLER);
    let Body::Messages(mut stream) = convert_call(&conversion, asked).expect("a stream").body
    else {
        panic!("messages stay messages");
    };
    let taken: Vec<_> = std::iter::from_fn(|| next(&mut stream))
        .map(Result::unwrap)
        .collect();
    assert_eq!(taken, ["a", "b"]);
    stream.keep(2).expect("counted");
    let trailers = stream.trailers().expect("trailers");
    assert_eq!(trailers.get_str("kept").as_deref(), Some("2"));
}

#[test]
fn a_message_that_is_none_ends_its_stream_and_is_named_by_its_number() {
    let asked = call("bidirectional", Some("application/protobuf"), Body::Empty);
    let conversion = conversion(&asked, JSON_HANDLER);
    let check = |stream: BodyStream, kind, blame, text: &str| {
        let mut stream = stream;
        assert!(next(&mut stream).is_some_and(|first| first.is_ok()));
        let error = next(&mut stream)
            .expect("an error")
            .expect_err("no message");
        assert_eq!((error.kind, error.blame), (kind, blame));
        assert_eq!(error.message, text);
        assert!(next(&mut stream).is_none());
    };
    let asked = asked.with_body(Body::Messages(messages(&["A", "!", "C"])));
    let asked = convert_call(&conversion, asked).expect("a stream");
    let stream = asked.body.try_into_stream().expect("a stream");
    let text = "message 2 of the stream: field \"!\" is unknown";
    check(stream, Kind::InvalidArgument, Blame::Client, text);
    let reply = Reply::new(Headers::new(), Body::Messages(messages(&["a", "!"])));
    let reply = convert_reply(&conversion, reply).expect("a stream");
    let stream = reply.body.try_into_stream().expect("a stream");
    let text =
        "message 2 of the stream: response of cases.Cases/bidirectional: field \"!\" is unknown";
    check(stream, Kind::Internal, Blame::Guest, text);
}

#[test]
fn octets_are_one_message_within_the_bound() {
    let check = |pieces: &[&'static str]| {
        let asked = call("unary", Some("application/protobuf"), Body::Empty);
        let conversion = conversion(&asked, JSON_HANDLER);
        let asked = asked.with_body(Body::Octets(messages(pieces)));
        let Body::Octets(mut stream) = convert_call(&conversion, asked).expect("octets").body
        else {
            panic!("octets stay octets");
        };
        (
            next(&mut stream).expect("one piece"),
            next(&mut stream).is_none(),
        )
    };
    let (message, is_over) = check(&["ABCD", "EFGH"]);
    assert_eq!((message.expect("fits"), is_over), ("abcdefgh".into(), true));
    let (message, is_over) = check(&["ABCD", "EFGHI"]);
    assert!(message.expect_err("too long").is_too_large && is_over);
}

#[test]
fn a_method_that_the_schema_does_not_have_is_none() {
    let of = |service: &'static str, method: &'static str| {
        Conversion::of(&codec(), &Call::unary(service, method, ""), JSON_HANDLER)
    };
    let error = of("cases.Cases", "none").expect_err("refused");
    assert_eq!(
        (error.kind, error.blame),
        (Kind::Unimplemented, Blame::Client)
    );
    assert!(of("users", "unary").expect("passed").is_none());
    let mut forwarded = call("unary", None, Body::Empty);
    forwarded.http = Some(Box::new(crate::HttpFacts {
        is_forwarded: true,
        ..crate::HttpFacts::default()
    }));
    let passed = Conversion::of(&codec(), &forwarded, JSON_HANDLER);
    assert!(passed.expect("passed").is_none());
}
