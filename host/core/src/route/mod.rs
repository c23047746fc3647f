//! Which end an HTTP request comes to: by host, path, method, headers and query. Pure.
//!
//! ```text
//! host, path, method ──▶ RouteTable::find ──▶ route and parameters ──▶ RouteEnd
//! ```
//! | file | what it decides |
//! | --- | --- |
//! | `path` | what segments a request's path has, and which paths are refused |
//! | `query` | what names and values a query or a form has |
//! | `template` | what a route's path is, and which segments it takes |
//! | `http_rule` | the same, as `google.api.http` writes paths |
//! | `host` | what a route's hosts are, and which names they take |
//! | `rule` | what else a route asks of a request |
//! | `end` | what a route leads to |
//! | `transcoder` | how a method is asked whose schema has rules for HTTP |
//! | `location` | where a redirect leads |
//! | `table`, `node` | which of all routes takes a request |
//!
//! `host/docs/routes.md` says the same to users.

mod end;
mod host;
mod http_rule;
mod location;
mod node;
mod path;
mod query;
mod rule;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod transcoder;

pub use end::{
    BodyForm, FilesEnd, FixedEnd, MethodEnd, PathRewrite, RedirectEnd, RouteEnd, UpstreamEnd,
};
pub use host::{HostPattern, HostPatternError};
pub use location::{LocationTemplate, LocationTemplateError};
pub use path::{PathSegment, RequestPath, RequestPathError};
pub use query::{QueryError, query_pairs};
pub use rule::{FieldRule, HttpRoute, RouteRule};
pub use table::{RouteConflict, RouteMatch, RouteRequest, RouteTable};
pub use template::{ParamType, PathParam, PathTemplate, PathTemplateError, TemplatePart};
pub use transcoder::{
    BodyField, HttpRequest, QueryField, SharedTranscoder, Transcoded, Transcoder,
};
