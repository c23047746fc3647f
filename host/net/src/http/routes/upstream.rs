//! A route to instances that speak HTTP: the request goes on as it came, with another path or host where
//! the route says so. Its call is of the upstream's service, and of the request's method: `GET`.

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body::Body as HttpBody;
use postern_core::{
    HttpFacts, HttpStatus, Text,
    route::{HttpRoute, PathRewrite, RequestPath, UpstreamEnd},
};
use postern_system::clock;

use super::{RouteAsker, with_route};
use crate::http::{
    fields,
    forward::{inbound, outcome},
    reply::ReplyBody,
    request::Refusal,
};

/// Sends the request on.
///
/// # Errors
/// Whatever the upstream fails with.
pub(super) async fn answer<B>(
    route: &HttpRoute,
    end: &UpstreamEnd,
    mut head: Parts,
    body: B,
    asker: &RouteAsker<'_>,
) -> Result<Response<ReplyBody>, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let facts = fields::facts(&head.method, &head.uri, &head.headers);
    let facts = rewritten(route, end, facts)?;
    let (connection, service) = (asker.connection, end.service.clone());
    let reading = inbound::read(service, facts, &head, body, asker.config, connection);
    let (mut call, asked) = reading.await?;
    let timeout = route.timeout_ms.map(std::time::Duration::from_millis);
    call.context.deadline = timeout.and_then(|left| clock::now().checked_add(left));
    let outcome = asker.gather.call(asker.handler, call, asker.is_alone).await;
    let outcome = outcome.map(|reply| match reply.status {
        Some(HttpStatus::SWITCHING_PROTOCOLS) => reply,
        Some(_) | None => with_route(reply, route),
    });
    outcome::response(outcome, asked, &mut head, asker)
}

/// What the upstream is asked for.
fn rewritten(route: &HttpRoute, end: &UpstreamEnd, facts: HttpFacts) -> Result<HttpFacts, Refusal> {
    let path = match &end.path {
        PathRewrite::Keep => facts.path.clone(),
        PathRewrite::StripPrefix(prefix) => {
            let path = RequestPath::parse(&facts.path)?;
            Text::from(stripped(&path, prefix))
        }
        PathRewrite::Template(template) => {
            let path = RequestPath::parse(&facts.path)?;
            let params = route.rule.path.params(&path).unwrap_or_default();
            Text::from(template.fill(&params))
        }
    };
    Ok(HttpFacts {
        path,
        authority: end.host.clone().unwrap_or(facts.authority),
        ..facts
    })
}

/// A path without its first segments, where they are those of `prefix`. It keeps its slash.
fn stripped<'a>(path: &RequestPath<'a>, prefix: &str) -> &'a str {
    let wanted = prefix.trim_matches('/').split('/');
    let mut segments = path.segments().iter();
    let mut n_octets = 0;
    for wanted in wanted.filter(|wanted| !wanted.is_empty()) {
        match segments.next() {
            // As the route has matched them: decoded.
            Some(segment) if segment.text == wanted => n_octets += 1 + segment.raw.len(),
            Some(_) | None => return path.raw(),
        }
    }
    match path.raw().get(n_octets..) {
        Some("") | None => "/",
        Some(rest) => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_of_whole_segments() {
        let check = |path: &str, prefix: &str, expected: &str| {
            let parsed = RequestPath::parse(path).expect("a path");
            assert_eq!(stripped(&parsed, prefix), expected, "{path} {prefix}");
        };
        check("/api/users", "/api", "/users");
        check("/api/users", "/api/", "/users");
        check("/api", "/api", "/");
        check("/api/", "/api", "/");
        check("/apix/users", "/api", "/apix/users");
        check("/other", "/api", "/other");
        check("/api//x", "/api", "//x");
        check("/%61pi/a%2Fb", "/api", "/a%2Fb");
        check("/a/b/c", "/a/b", "/c");
        check("/a", "/", "/a");
    }
}
