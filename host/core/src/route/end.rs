//! What a route leads to. Each end is a call of a service: of the one that it names, or of the
//! gateway's own service `routes`, whose methods are the routes; so guards, limits and interceptors
//! see every request alike.

use std::{collections::BTreeMap, path::PathBuf};

use bytes::Bytes;

use super::{location::LocationTemplate, template::ParamType, transcoder::SharedTranscoder};
use crate::{headers::Headers, http::HttpStatus, text::Text};

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteEnd {
    Method(MethodEnd),
    Upstream(UpstreamEnd),
    Redirect(RedirectEnd),
    Fixed(FixedEnd),
    Files(FilesEnd),
}

/// A method of a service, called with one JSON object of parameters and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodEnd {
    pub service: Text,
    pub method: Text,
    pub version: Option<Text>,
    pub body: BodyForm,
    /// Types of parameters of the query, and of the path where the path says none.
    pub types: BTreeMap<Text, ParamType>,
    /// Media types that it answers with, beside those of streams. Empty: JSON.
    pub produces: Vec<Text>,
    /// Whether requests are compared with the schema of what the method takes.
    pub is_checked: bool,
    /// How the method is asked and answers, where its schema says so; then `body`, `types` and `produces`
    /// are without effect.
    pub transcoder: Option<SharedTranscoder>,
}

/// What the body of a request to a method may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyForm {
    /// JSON, or JSON lines for a method that takes several messages.
    #[default]
    Json,
    /// As `Json`; also `application/x-www-form-urlencoded` and `multipart/form-data`.
    Form,
    /// Whatever it is, unchanged; parameters stay where they are.
    Raw,
}

/// Instances of a service that speak HTTP: the request goes on as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamEnd {
    pub service: Text,
    pub path: PathRewrite,
    /// The host that the upstream is asked for, where not the one that the client named.
    pub host: Option<Text>,
}

/// What path an upstream is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PathRewrite {
    /// As it was sent.
    #[default]
    Keep,
    /// Without this prefix, where the path has it.
    StripPrefix(Text),
    /// Made of the route's parameters.
    Template(LocationTemplate),
}

/// Another address to go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectEnd {
    pub to: LocationTemplate,
    /// 301, 302, 303, 307 or 308.
    pub status: HttpStatus,
    /// Whether the query of the request goes with it.
    pub keeps_query: bool,
}

/// The same for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedEnd {
    pub status: HttpStatus,
    pub headers: Headers,
    pub body: Bytes,
}

/// Files below a folder, by what the path's last parameter takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesEnd {
    pub folder: PathBuf,
    /// Whether `index.html` is sent for a folder.
    pub has_index: bool,
    /// What is sent, with 200, for a path that has no file: of applications that route by themselves.
    pub fallback: Option<Text>,
    /// Whether `NAME.br`, `NAME.zst` and `NAME.gz` are sent for `NAME` to those who accept them.
    pub has_precompressed: bool,
    /// Whether links are followed, also out of the folder.
    pub follows_links: bool,
    /// Whether files and folders whose names begin with a dot are there.
    pub shows_hidden: bool,
}

impl RouteEnd {
    /// In documents: `method`, `upstream` and so on.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Method(_) => "method",
            Self::Upstream(_) => "upstream",
            Self::Redirect(_) => "redirect",
            Self::Fixed(_) => "fixed",
            Self::Files(_) => "files",
        }
    }
}
