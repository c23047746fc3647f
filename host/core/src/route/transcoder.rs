//! How a method is asked by HTTP whose schema says so itself (`google.api.http`). What the rules of a
//! schema are only the gateway knows; routes carry them as a trait object.

use std::{fmt, ops::Deref, sync::Arc};

use bytes::Bytes;

use super::template::{ParamType, PathParam};
use crate::{error::Error, service::CallKind, text::Text};

/// Makes the message of a method of a request, and what is sent of its reply. Messages are JSON.
pub trait Transcoder: fmt::Debug + Send + Sync {
    /// How many messages go each way.
    fn kind(&self) -> CallKind;

    /// What the body of a request is.
    fn body(&self) -> &BodyField;

    /// Whether the body is octets of any media type, and no JSON.
    fn takes_octets(&self) -> bool;

    /// Whether what is sent is octets of a media type that the reply says.
    fn gives_octets(&self) -> bool;

    /// The member of a reply that is sent in its place.
    fn response_body(&self) -> Option<&Text>;

    /// The parameters that a query may have, for people; those of a message that holds itself end at some
    /// depth.
    fn query_fields(&self) -> Vec<QueryField>;

    /// The message of a request.
    ///
    /// # Errors
    /// `invalid-argument`, with each field that does not fit.
    fn message(&self, request: &HttpRequest<'_>) -> Result<Bytes, Error>;

    /// What is sent of a message of the reply.
    ///
    /// # Errors
    /// Where the message is not what the schema says.
    fn reply(&self, message: &Bytes) -> Result<Transcoded, Error>;
}

/// A request whose route was found.
#[derive(Debug, Clone)]
pub struct HttpRequest<'a> {
    pub params: &'a [PathParam<'a>],
    pub query: Option<&'a str>,
    pub content_type: Option<&'a str>,
    /// Empty where there is none.
    pub body: Bytes,
}

/// What the body of a request is in its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyField {
    /// There is none.
    None,
    /// The message, as far as the path does not say it.
    Whole,
    /// That member, by its name in JSON.
    Field(Text),
}

/// A parameter of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryField {
    /// Names in JSON with dots between them.
    pub name: Text,
    pub kind: ParamType,
    pub is_list: bool,
}

/// The content of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcoded {
    pub content: Bytes,
    /// `None`: JSON.
    pub media_type: Option<Text>,
}

/// A transcoder that a route carries. Two are equal that are one.
#[derive(Debug, Clone)]
pub struct SharedTranscoder(Arc<dyn Transcoder>);

impl SharedTranscoder {
    pub fn new(transcoder: impl Transcoder + 'static) -> Self {
        Self(Arc::new(transcoder))
    }
}

impl Deref for SharedTranscoder {
    type Target = dyn Transcoder;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for SharedTranscoder {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedTranscoder {}
