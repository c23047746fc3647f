//! What a guest has set of its reply, beside its messages, and whether it may set more.

use bytes::Bytes;
use postern_core::{
    Body, BodyStream, Headers, HttpStatus, Reply,
    headers::{ENTRY_BYTES_MAX, HeaderError, HeadersBuilder, SECTION_BYTES_MAX},
    http::StatusError,
    message_codec::MessageForm,
};

/// Of most replies there is none.
pub(crate) type Drafted = Option<Box<ReplyDraft>>;

#[derive(Debug, Default)]
pub(crate) struct ReplyDraft {
    headers: Bounded,
    trailers: Bounded,
    status: Option<HttpStatus>,
    /// What is sent are pieces of one body.
    is_octets: bool,
}

/// Whether headers of the reply can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyState {
    Open,
    /// They are out, before the first message.
    Begun,
    /// The reply is another's, seen through the import `response`.
    Watched,
}

/// Why a part of a reply was not set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DraftError {
    #[error("{what} comes after the first message of the reply")]
    Begun { what: &'static str },
    #[error("a reply is changed by the interface `response` here")]
    Watched,
    #[error("header name of {length} octets is not within 1 to {ENTRY_BYTES_MAX}")]
    NameLength { length: usize },
    #[error("headers of {section_bytes} octets exceed the limit of {SECTION_BYTES_MAX}")]
    SectionTooLong { section_bytes: usize },
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Status(#[from] StatusError),
}

/// Headers within the bounds that every front can carry. Every name is the plugin's own.
#[derive(Debug, Default)]
struct Bounded {
    fields: Option<HeadersBuilder>,
    /// Octets that they take in a section of the VSTP.
    section_bytes: usize,
}

impl ReplyState {
    /// Refuses `what` where the reply is another's, or its head is out.
    pub(crate) const fn check_head(self, what: &'static str) -> Result<(), DraftError> {
        match self {
            Self::Begun => Err(DraftError::Begun { what }),
            Self::Open | Self::Watched => self.check_own(),
        }
    }

    /// Refuses where the reply is another's.
    pub(crate) const fn check_own(self) -> Result<(), DraftError> {
        match self {
            Self::Watched => Err(DraftError::Watched),
            Self::Open | Self::Begun => Ok(()),
        }
    }
}

impl ReplyDraft {
    pub(crate) fn push_header(&mut self, name: &str, value: &[u8]) -> Result<(), DraftError> {
        self.headers.push(name, value)
    }

    pub(crate) fn push_trailer(&mut self, name: &str, value: &[u8]) -> Result<(), DraftError> {
        self.trailers.push(name, value)
    }

    pub(crate) fn set_status(&mut self, status: u16) -> Result<(), DraftError> {
        self.status = Some(HttpStatus::new(status)?);
        Ok(())
    }

    pub(crate) const fn set_octets(&mut self) {
        self.is_octets = true;
    }

    pub(crate) const fn is_octets(&self) -> bool {
        self.is_octets
    }

    /// What goes out before the first message. What follows the last one stays.
    pub(crate) fn take_head(draft: &mut Drafted) -> Drafted {
        let mut head = draft.take()?;
        if head.trailers.fields.is_some() {
            *draft = Some(Box::new(Self {
                trailers: std::mem::take(&mut head.trailers),
                ..Self::default()
            }));
        }
        Some(head)
    }

    /// What follows the last message.
    pub(crate) fn trailers(draft: Drafted) -> Option<Headers> {
        Some(draft?.trailers.fields?.build())
    }

    /// The reply to a unary call, of a service whose messages have `form`. A message that something
    /// follows is one body of octets: a message alone has no room for it.
    pub(crate) fn into_unary(mut draft: Drafted, message: Bytes, form: MessageForm) -> Reply {
        let head = Self::take_head(&mut draft);
        let body = match Self::trailers(draft) {
            None => Body::One(message),
            trailers @ Some(_) => Body::Octets(BodyStream::once(message, trailers)),
        };
        let is_of_octets = matches!(body, Body::Octets(_));
        let mut reply = Self::into_reply(head, body);
        // What fronts say of a message alone.
        if is_of_octets && reply.headers.get(b"content-type").is_none() {
            // Cannot fail: there is room for a short one, or it goes without.
            let _ = reply.headers.push("content-type", form.content_type());
        }
        reply
    }

    /// Everything that was set, trailers behind the headers: those of a failure, which has nothing that
    /// they could follow.
    pub(crate) fn into_headers(draft: Drafted) -> Headers {
        let Some(draft) = draft else {
            return Headers::new();
        };
        let (headers, trailers) = (draft.headers.build(), draft.trailers.build());
        let octets = headers.section().len() + trailers.section().len();
        let mut all = HeadersBuilder::fields(2, octets);
        for (name, value) in headers.iter().chain(trailers.iter()) {
            // Cannot fail: each fits into fields, and so do all of them.
            let pushed = all.push(name, value);
            debug_assert!(pushed.is_ok());
        }
        all.build()
    }

    /// A reply whose body says by itself what follows it.
    pub(crate) fn into_reply(draft: Drafted, body: Body) -> Reply {
        let mut reply = Reply::new(Headers::new(), body);
        if let Some(draft) = draft {
            reply.headers = draft.headers.build();
            reply.status = draft.status;
        }
        reply
    }

    /// The reply to a streaming call; `stream` gives the trailers by itself.
    pub(crate) fn into_streamed(draft: Drafted, stream: BodyStream) -> Reply {
        let is_octets = draft.as_ref().is_some_and(|draft| draft.is_octets);
        let body = match is_octets {
            true => Body::Octets(stream),
            false => Body::Messages(stream),
        };
        Self::into_reply(draft, body)
    }
}

impl Bounded {
    fn push(&mut self, name: &str, value: &[u8]) -> Result<(), DraftError> {
        let length = name.len();
        if !(1..=ENTRY_BYTES_MAX).contains(&length) {
            return Err(DraftError::NameLength { length });
        }
        let n_entries = value.len().div_ceil(ENTRY_BYTES_MAX).max(1);
        let section_bytes = self.section_bytes + length + value.len() + 2 * n_entries;
        if section_bytes > SECTION_BYTES_MAX {
            return Err(DraftError::SectionTooLong { section_bytes });
        }
        self.section_bytes = section_bytes;
        let fields = self.fields.get_or_insert_with(|| {
            // Most guests set one.
            HeadersBuilder::fields(1, length + value.len())
        });
        Ok(fields.push(name, value)?)
    }

    fn build(self) -> Headers {
        self.fields.map(HeadersBuilder::build).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_bounded_as_a_section_is() {
        let mut draft = ReplyDraft::default();
        draft.push_header(&"k".repeat(255), b"v").unwrap();
        assert!(draft.push_header(&"k".repeat(256), b"v").is_err());
        assert!(draft.push_header("", b"v").is_err());
        // 258 octets are taken; the rest has one entry of 258 octets, 252 of 257 and one of 255.
        let value = "v".repeat(255 * 253 + 253);
        let over = format!("{value}v");
        assert!(draft.push_header("k", over.as_bytes()).is_err());
        draft.push_header("k", value.as_bytes()).unwrap();
        draft.push_trailer("k", value.as_bytes()).unwrap();
        let reply = ReplyDraft::into_reply(Some(Box::new(draft)), Body::Empty);
        assert_eq!(reply.headers.iter().count(), 2);
    }

    #[test]
    fn trailers_stay_when_the_head_goes_out() {
        let mut draft = Drafted::default();
        assert!(ReplyDraft::take_head(&mut draft).is_none());
        let set = draft.get_or_insert_default();
        set.push_trailer("a", b"1").unwrap();
        set.set_status(201).unwrap();
        set.set_octets();
        assert!(set.set_status(199).is_err());
        let head = ReplyDraft::take_head(&mut draft);
        let reply = ReplyDraft::into_streamed(head, BodyStream::empty());
        assert!(matches!(reply.body, Body::Octets(_)));
        assert_eq!(reply.status.map(HttpStatus::number), Some(201));
        let trailers = ReplyDraft::trailers(draft).unwrap();
        assert_eq!(trailers.get_str("A").as_deref(), Some("1"));
    }

    fn drafted() -> Drafted {
        let mut draft = ReplyDraft::default();
        draft.push_header("x-own", b"1").unwrap();
        draft.push_header("x-bin", b"\xff\0").unwrap();
        draft.push_trailer("x-sum", b"2").unwrap();
        Some(Box::new(draft))
    }

    #[test]
    fn a_message_that_something_follows_is_a_body_with_trailers() {
        let mut reply =
            ReplyDraft::into_unary(drafted(), Bytes::from_static(b"m"), MessageForm::Json);
        assert_eq!(reply.headers.get(b"x-bin").as_deref(), Some(&b"\xff\0"[..]));
        let Body::Octets(stream) = &mut reply.body else {
            panic!("{:?}", reply.body);
        };
        let message = futures_util::FutureExt::now_or_never(stream.next());
        assert_eq!(message.unwrap().unwrap().unwrap(), "m");
        let trailers = stream.trailers().unwrap();
        assert_eq!(trailers.get_str("x-sum").as_deref(), Some("2"));
        let reply = ReplyDraft::into_unary(None, Bytes::from_static(b"m"), MessageForm::Json);
        assert!(matches!(reply.body, Body::One(_)));
    }

    #[test]
    fn a_failure_keeps_what_was_set_before_it() {
        let headers = ReplyDraft::into_headers(drafted());
        let all: Vec<_> = headers.iter().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(all, [&b"x-own"[..], b"x-bin", b"x-sum"]);
        assert!(headers.are_fields());
        assert!(ReplyDraft::into_headers(None).is_empty());
    }
}
