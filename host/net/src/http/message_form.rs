//! How the messages of a stream are written, and what is written behind the last one.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream as _;
use postern_core::{BodyStream, Error};

use super::{JSON, NDJSON, accept::EVENT_STREAM, events, problem::ErrorShape, sized::attach};
use crate::ConnectionBytes;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageForm {
    Lines,
    Events,
    /// Elements of one JSON array, each sent when it is there.
    Array,
}

/// Writes the messages of one stream.
#[derive(Debug)]
pub(super) struct MessageWriter {
    form: MessageForm,
    errors: ErrorShape,
    /// Of an array: whether its bracket is open, and whether it is closed.
    array: ArrayState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArrayState {
    Unopened,
    Open,
    Closed,
}

impl MessageForm {
    /// One message, which is all there is.
    pub(super) fn write(self, message: &[u8]) -> Bytes {
        match self {
            Self::Lines => to_line(message),
            Self::Events => events::to_event(message),
            Self::Array => [b"[", message, b"]"].concat().into(),
        }
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Lines => NDJSON,
            Self::Events => EVENT_STREAM,
            Self::Array => JSON,
        }
    }
}

impl MessageWriter {
    pub(super) const fn new(form: MessageForm, errors: ErrorShape) -> Self {
        Self {
            form,
            errors,
            array: ArrayState::Unopened,
        }
    }

    pub(super) const fn form(&self) -> MessageForm {
        self.form
    }

    /// The next message of a stream as it is written, and what closes the last, which count as held until
    /// the client has taken them.
    pub(super) fn poll(
        &mut self,
        stream: &mut BodyStream,
        bytes: &ConnectionBytes,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        if self.array == ArrayState::Closed {
            return Poll::Ready(None);
        }
        let written = match ready!(Pin::new(stream).poll_next(cx)) {
            Some(message) => self.write(&message?),
            None => match self.close() {
                Some(end) => end,
                None => return Poll::Ready(None),
            },
        };
        Poll::Ready(Some(attach(written, bytes)))
    }

    fn write(&mut self, message: &[u8]) -> Bytes {
        match self.form {
            MessageForm::Lines | MessageForm::Events => self.form.write(message),
            MessageForm::Array => [self.open(), message].concat().into(),
        }
    }

    /// The error that ends a stream. Of an array it is the last element.
    pub(super) fn write_error(&mut self, error: &Error) -> Bytes {
        let error = self.errors.write_last(error);
        match self.form {
            MessageForm::Lines => to_line(&error),
            MessageForm::Events => events::to_error_event(&error),
            MessageForm::Array => {
                let written = [self.open(), &error, b"]"].concat();
                self.array = ArrayState::Closed;
                written.into()
            }
        }
    }

    /// What stands before an element.
    fn open(&mut self) -> &'static [u8] {
        match std::mem::replace(&mut self.array, ArrayState::Open) {
            ArrayState::Unopened => b"[",
            ArrayState::Open | ArrayState::Closed => b",",
        }
    }

    /// What stands behind the last message.
    fn close(&mut self) -> Option<Bytes> {
        match (
            self.form,
            std::mem::replace(&mut self.array, ArrayState::Closed),
        ) {
            (MessageForm::Array, ArrayState::Unopened) => Some(Bytes::from_static(b"[]")),
            (MessageForm::Array, ArrayState::Open) => Some(Bytes::from_static(b"]")),
            (MessageForm::Array, ArrayState::Closed)
            | (MessageForm::Lines | MessageForm::Events, _) => None,
        }
    }
}

/// A message as one line: JSON may hold raw line ends between its tokens only, where a space means
/// the same.
pub(super) fn to_line(message: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(message.len() + 1);
    line.extend(message.iter().map(|octet| {
        if matches!(octet, b'\n' | b'\r') {
            b' '
        } else {
            *octet
        }
    }));
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use postern_core::Body;

    use super::*;

    async fn written(form: MessageForm, messages: Vec<Result<Bytes, Error>>) -> String {
        let budget = std::sync::Arc::new(crate::ByteBudget::unlimited()).connection(1 << 20);
        let stream = BodyStream::new(futures_util::stream::iter(messages));
        let Body::Messages(mut stream) = Body::Messages(stream) else {
            return String::new();
        };
        let mut writer = MessageWriter::new(form, ErrorShape::Status);
        let mut out = Vec::new();
        loop {
            let next = std::future::poll_fn(|cx| writer.poll(&mut stream, &budget, cx)).await;
            match next {
                Some(Ok(piece)) => out.extend_from_slice(&piece),
                Some(Err(error)) => {
                    out.extend_from_slice(&writer.write_error(&error));
                    break;
                }
                None => break,
            }
        }
        String::from_utf8(out).expect("text")
    }

    #[tokio::test]
    async fn an_array_is_whole_whatever_ends_the_stream() {
        let one = || Ok(Bytes::from("{\"n\":1}"));
        let error = || Err(Error::not_found("gone"));
        let told = "{\"error\":{\"code\":404,\"message\":\"gone\",\"status\":\"NOT_FOUND\"}}";
        let array = MessageForm::Array;
        assert_eq!(written(array, vec![]).await, "[]");
        assert_eq!(written(array, vec![one()]).await, "[{\"n\":1}]");
        assert_eq!(
            written(array, vec![one(), one()]).await,
            "[{\"n\":1},{\"n\":1}]"
        );
        assert_eq!(written(array, vec![error()]).await, format!("[{told}]"));
        let both = written(array, vec![one(), error()]).await;
        assert_eq!(both, format!("[{{\"n\":1}},{told}]"));
        assert_eq!(array.write(b"1"), "[1]");
    }

    #[tokio::test]
    async fn lines_have_nothing_before_and_behind_them() {
        let one = || Ok(Bytes::from("1"));
        assert_eq!(
            written(MessageForm::Lines, vec![one(), one()]).await,
            "1\n1\n"
        );
        assert_eq!(written(MessageForm::Lines, vec![]).await, "");
    }

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        assert_eq!(to_line(b"{\n\"a\":1\r\n}"), "{ \"a\":1  }\n");
    }
}
