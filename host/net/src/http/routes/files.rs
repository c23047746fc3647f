//! Files of a folder: ranges, entity tags, conditional requests and precompressed files by `tower-http`,
//! within what `folder.rs` opens.

use std::io;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::Empty;
use postern_core::{
    Blame, Body, BodyStream, Error, Headers, HttpFacts, HttpStatus, Kind, Reply,
    route::{FilesEnd, PathSegment, PathTemplate, RequestPath},
};
use tower_http::services::{ServeDir, fs::ServeFileSystemResponseBody};

use super::folder::Folder;
use crate::http::{
    fields,
    pieces::{Pieces, Silence},
};

type FileResponse = Response<ServeFileSystemResponseBody>;

/// Answers a request for a file by what `template` leaves of its path.
///
/// # Errors
/// `not-found` for what is not there, and for what is not to be seen.
pub(super) async fn answer(
    end: &FilesEnd,
    template: &PathTemplate,
    facts: &HttpFacts,
    headers: &Headers,
) -> Result<Reply, Error> {
    let path = RequestPath::parse(&facts.path);
    let path = path.map_err(|error| Error::invalid_argument(error.to_string()))?;
    let params = template.params(&path).unwrap_or_default();
    let rest = params.last().map_or("", |param| param.raw);
    let prefix_length = path.raw().len() - rest.len();
    let prefix = path.raw().get(..prefix_length).unwrap_or_default();
    let n_left = match rest.is_empty() {
        true => 0,
        false => rest.split('/').count(),
    };
    let first = path.segments().len() - n_left;
    let left = path.segments().get(first..).unwrap_or_default();
    if !left
        .iter()
        .enumerate()
        .all(|(idx, one)| is_file_name(one, idx + 1 == n_left, end))
    {
        return Err(not_found(&facts.path));
    }
    let mut asked = Asked {
        end,
        prefix: prefix.trim_end_matches('/'),
        query: facts.query.as_deref(),
        is_head: *facts.method == *"HEAD",
        fields: conditions(headers),
    };
    asked.judge_range(rest).await?;
    let mut found = asked.serve(rest).await?;
    if found.status() == StatusCode::NOT_FOUND
        && let Some(fallback) = &end.fallback
    {
        found = asked.serve(fallback).await?;
    }
    match found.status() {
        StatusCode::NOT_FOUND => Err(not_found(&facts.path)),
        _ => Ok(reply(found, asked.is_head)),
    }
}

/// What of a request decides what is sent of a file.
struct Asked<'a> {
    end: &'a FilesEnd,
    /// What stands before the rest, for a folder that is asked for without its slash.
    prefix: &'a str,
    query: Option<&'a str>,
    is_head: bool,
    fields: HeaderMap,
}

impl Asked<'_> {
    /// A range is of the file that the client has; of another it gets all (RFC 9110 section 13.1.5).
    async fn judge_range(&mut self, rest: &str) -> Result<(), Error> {
        let Some(wanted) = self.fields.remove(header::IF_RANGE) else {
            return Ok(());
        };
        let Some(range) = self.fields.remove(header::RANGE) else {
            return Ok(());
        };
        let head = Self {
            is_head: true,
            fields: encodings_of(&self.fields),
            ..*self
        };
        let found = head.serve(rest).await?;
        let has = |name: HeaderName| found.headers().get(name) == Some(&wanted);
        // A weak tag is never the same: those of files are strong.
        if has(header::ETAG) || has(header::LAST_MODIFIED) {
            self.fields.insert(header::RANGE, range);
        }
        Ok(())
    }

    async fn serve(&self, rest: &str) -> Result<FileResponse, Error> {
        let FilesEnd {
            folder,
            has_precompressed,
            follows_links,
            ..
        } = self.end;
        let target = match self.query {
            Some(query) => format!("/{rest}?{query}"),
            None => format!("/{rest}"),
        };
        let uri = target.parse::<Uri>();
        let uri = uri.map_err(|error| Error::invalid_argument("no path").with_source(error))?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri;
        *request.headers_mut() = self.fields.clone();
        *request.method_mut() = match self.is_head {
            true => Method::HEAD,
            false => Method::GET,
        };
        let mut files = ServeDir::with_backend("", Folder::new(folder, *follows_links))
            .append_index_html_on_directories(self.end.has_index)
            .redirect_path_prefix(self.prefix)
            .ignore_multi_range_requests(true);
        if *has_precompressed {
            files = files
                .precompressed_br()
                .precompressed_zstd()
                .precompressed_gzip();
        }
        match files.try_call(request).await {
            Ok(response) => Ok(response),
            Err(error) => unopened(&error),
        }
    }
}

/// What is answered for a file that cannot be opened.
fn unopened(error: &io::Error) -> Result<FileResponse, Error> {
    match error.kind() {
        // A link out of the folder is not permitted.
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidFilename => {
            let mut response = Response::new(ServeFileSystemResponseBody::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok(response)
        }
        _ => {
            let message = format!("the file cannot be read: {error}");
            Err(Error::new(Kind::Unavailable, Blame::Gateway, message))
        }
    }
}

/// Whether a segment is the name of one file or folder that may be seen.
fn is_file_name(segment: &PathSegment<'_>, is_last: bool, end: &FilesEnd) -> bool {
    let name = &*segment.text;
    let is_one = !name.contains(['/', '\\', ':', '\0']) && (is_last || !name.is_empty());
    // RFC 8615: what is there is meant to be found.
    let is_shown = end.shows_hidden || !name.starts_with('.') || name == ".well-known";
    is_one && is_shown
}

/// The fields that decide what is sent.
fn conditions(headers: &Headers) -> HeaderMap {
    const NAMES: [HeaderName; 7] = [
        header::ACCEPT_ENCODING,
        header::IF_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_RANGE,
        header::IF_UNMODIFIED_SINCE,
        header::RANGE,
    ];
    let mut fields = HeaderMap::new();
    for name in NAMES {
        for value in headers.values(name.as_str().as_bytes()) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                fields.append(name.clone(), value);
            }
        }
    }
    fields
}

fn encodings_of(fields: &HeaderMap) -> HeaderMap {
    let mut only = HeaderMap::new();
    for value in fields.get_all(header::ACCEPT_ENCODING) {
        only.append(header::ACCEPT_ENCODING, value.clone());
    }
    only
}

fn reply(response: FileResponse, is_head: bool) -> Reply {
    let (mut head, body) = response.into_parts();
    let kind = head.headers.get_mut(header::CONTENT_TYPE);
    if let Some(kind) = kind
        && let Ok(text) = kind.to_str()
        && is_text(text)
        && let Ok(named) = HeaderValue::from_str(&format!("{text}; charset=utf-8"))
    {
        *kind = named;
    }
    let length = head.headers.get(header::CONTENT_LENGTH).cloned();
    let mut headers = fields::of_response(&head.headers);
    if let Some(length) = length {
        // Fields take any number of others.
        let _ = headers.push("content-length", length.as_bytes());
    }
    let has_body = !is_head && !http_body::Body::is_end_stream(&body);
    let silence = Silence::new(None, Blame::Gateway);
    Reply {
        headers,
        body: match has_body {
            true => Body::Octets(BodyStream::from_source(Pieces::new(body, silence, None))),
            false => Body::Empty,
        },
        status: HttpStatus::new(head.status.as_u16()).ok(),
    }
}

/// Whether a file of that type is text, of which UTF-8 is said.
fn is_text(kind: &str) -> bool {
    let is_script = [
        "application/javascript",
        "application/json",
        "image/svg+xml",
    ]
    .contains(&kind);
    (kind.starts_with("text/") || is_script) && !kind.contains(';')
}

fn not_found(path: &str) -> Error {
    let shown: String = path.chars().take(SHOWN_CHARS_MAX).collect();
    Error::not_found(format!("no file is at {shown}"))
}

const SHOWN_CHARS_MAX: usize = 100;
