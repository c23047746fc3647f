//! Calls of services with a schema: the guest sees every message in the form that its plugin wants, and
//! the caller gets back the form in which it has asked. Everything else, records and copies of calls
//! included, is on the guest's side of it and sees what the guest sees.

use std::future;

use postern_core::{
    BoxFuture, Call, Error, Reply,
    message_codec::{Conversion, convert_call, convert_reply},
};

use crate::spec::PluginSpec;

type Answer = BoxFuture<Result<Reply, Error>>;

/// What is to be done with the messages of `call`; `None` where its service has no schema.
///
/// # Errors
/// `unimplemented` for a method that the schema of its service does not have.
pub(crate) fn conversion(spec: &PluginSpec, call: &Call) -> Result<Option<Conversion>, Error> {
    match &spec.schema {
        None => Ok(None),
        Some(schema) => Conversion::of(&schema.codec, call, schema.handler_form(&spec.limits)),
    }
}

/// Answers `call` by `enter`, which is not called where the message is none of its type.
pub(crate) fn call(
    conversion: Conversion,
    call: Call,
    enter: impl FnOnce(Call) -> Answer,
) -> Answer {
    match convert_call(&conversion, call) {
        Ok(call) => converted(conversion, enter(call)),
        Err(error) => refused(error),
    }
}

/// As `call`, for calls that came together: `enter` is given those whose messages are what they should
/// be, together, and answers them in their order.
pub(crate) fn call_batch(
    spec: &PluginSpec,
    calls: Vec<Call>,
    enter: impl FnOnce(Vec<Call>) -> Vec<Answer>,
) -> Vec<Answer> {
    let mut passed = Vec::with_capacity(calls.len());
    let mut verdicts = Vec::with_capacity(calls.len());
    for call in calls {
        let conversion = conversion(spec, &call);
        let prepared = conversion.and_then(|conversion| {
            let call = match &conversion {
                Some(conversion) => convert_call(conversion, call)?,
                None => call,
            };
            Ok((conversion, call))
        });
        verdicts.push(prepared.map(|(conversion, call)| {
            passed.push(call);
            conversion
        }));
    }
    let mut answers = enter(passed).into_iter();
    let mut next = || {
        let none = || refused(Error::internal("a call of a batch was not answered"));
        answers.next().unwrap_or_else(none)
    };
    let answers = verdicts.into_iter().map(|verdict| match verdict {
        Ok(Some(conversion)) => converted(conversion, next()),
        Ok(None) => next(),
        Err(error) => refused(error),
    });
    answers.collect()
}

/// The reply of `answer` in the caller's form.
fn converted(conversion: Conversion, answer: Answer) -> Answer {
    Box::pin(async move { convert_reply(&conversion, answer.await?) })
}

pub(crate) fn refused(error: Error) -> Answer {
    Box::pin(future::ready(Err(error)))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    use bytes::Bytes;
    use postern_core::{
        Body, Kind,
        message_codec::{Direction, MessageCodec, MessageForm},
        service::MethodInfo,
    };

    use super::*;
    use crate::spec::PluginSchema;

    /// JSON is protobuf in quotes here.
    #[derive(Debug)]
    struct Quotes(MethodInfo);

    impl MessageCodec for Quotes {
        fn has_service(&self, service: &str) -> bool {
            service == "q.Quotes"
        }

        fn method(&self, service: &str, method: &str) -> Option<&MethodInfo> {
            (self.has_service(service) && method == "Get").then_some(&self.0)
        }

        fn convert(
            &self,
            _: &str,
            _: &str,
            _: Direction,
            from: MessageForm,
            message: &Bytes,
        ) -> Result<Bytes, Error> {
            match (from, &message[..]) {
                (MessageForm::Protobuf, inner) => Ok([b"\"", inner, b"\""].concat().into()),
                (MessageForm::Json, [b'"', inner @ .., b'"']) => Ok(message.slice_ref(inner)),
                (MessageForm::Json, _) => Err(Error::invalid_argument("no quotes")),
            }
        }
    }

    fn spec(form: MessageForm) -> PluginSpec {
        PluginSpec {
            schema: Some(PluginSchema {
                codec: Arc::new(Quotes(MethodInfo::unary("Get", true))),
                form,
                services: Arc::default(),
            }),
            ..PluginSpec::default()
        }
    }

    fn body(answer: Answer) -> Result<Bytes, Kind> {
        let mut answer = answer;
        match answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(Ok(reply)) => match reply.body {
                Body::One(message) => Ok(message),
                Body::Empty | Body::Messages(_) | Body::Octets(_) => panic!("one message"),
            },
            Poll::Ready(Err(error)) => Err(error.kind),
            Poll::Pending => panic!("nothing here waits"),
        }
    }

    /// Answers with what it was asked.
    fn echo(call: Call) -> Answer {
        Box::pin(future::ready(Ok(Reply::new(
            postern_core::Headers::new(),
            call.body,
        ))))
    }

    #[test]
    fn what_is_wrong_in_a_batch_keeps_nothing_from_the_others() {
        let calls = vec![
            Call::unary("q.Quotes", "Get", "\"one\""),
            Call::unary("q.Quotes", "Get", "two"),
            Call::unary("q.Quotes", "Put", "\"three\""),
            Call::unary("other", "Get", "four"),
            Call::unary("q.Quotes", "Get", "\"five\""),
        ];
        let spec = spec(MessageForm::Protobuf);
        let answers = call_batch(&spec, calls, |calls| {
            let bodies = calls.iter().map(|call| match &call.body {
                Body::One(message) => message.clone(),
                Body::Empty | Body::Messages(_) | Body::Octets(_) => Bytes::new(),
            });
            assert_eq!(bodies.collect::<Vec<_>>(), ["one", "four", "five"]);
            calls.into_iter().map(echo).collect()
        });
        let answers: Vec<_> = answers.into_iter().map(body).collect();
        let expected = [
            Ok("\"one\"".into()),
            Err(Kind::InvalidArgument),
            Err(Kind::Unimplemented),
            Ok("four".into()),
            Ok("\"five\"".into()),
        ];
        assert_eq!(answers, expected);
    }

    #[test]
    fn a_call_in_the_plugins_form_is_entered_as_it_is() {
        let spec = spec(MessageForm::Json);
        let call = Call::unary("q.Quotes", "Get", "no quotes");
        let conversion = conversion(&spec, &call)
            .expect("known")
            .expect("has a schema");
        assert_eq!(
            body(super::call(conversion, call, echo)),
            Ok("no quotes".into())
        );
    }
}
