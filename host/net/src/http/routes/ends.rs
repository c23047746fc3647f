//! The gateway's own service `routes`: redirects, fixed answers and files, each a method of the name of
//! its route. It is called through the pipeline as any other service.

use std::sync::Arc;

use postern_core::{
    Body, BoxFuture, Call, Error, Handler, Headers, HttpFacts, Reply,
    headers::HeadersBuilder,
    route::{FixedEnd, HttpRoute, RedirectEnd, RequestPath, RouteEnd},
};

use super::{HttpRoutes, files};

/// Its name.
pub const SERVICE: &str = "routes";

/// Answers for the ends that no other service answers for.
pub struct RouteEnds {
    routes: HttpRoutes,
}

impl RouteEnds {
    #[must_use]
    pub const fn new(routes: HttpRoutes) -> Self {
        Self { routes }
    }
}

impl Handler for RouteEnds {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let in_force = self.routes.load();
        let Some(route) = in_force.table.named(&call.method).map(Arc::clone) else {
            let shown: String = call.method.chars().take(SHOWN_CHARS_MAX).collect();
            let error = Error::not_found(format!("no route is called {shown}"));
            return Box::pin(std::future::ready(Err(error)));
        };
        Box::pin(answer(route, call))
    }
}

async fn answer(route: Arc<HttpRoute>, call: Call) -> Result<Reply, Error> {
    let facts = call.http.as_deref();
    match &route.end {
        RouteEnd::Fixed(end) => Ok(fixed(end)),
        RouteEnd::Redirect(end) => redirect(end, &route, asked(facts)?),
        RouteEnd::Files(end) => {
            files::answer(end, &route.rule.path, asked(facts)?, &call.headers).await
        }
        RouteEnd::Method(_) | RouteEnd::Upstream(_) => {
            let (name, end) = (&route.name, route.end.name());
            let message = format!("route {name} leads to another service: {end}");
            Err(Error::invalid_argument(message))
        }
    }
}

/// What only HTTP says.
fn asked(facts: Option<&HttpFacts>) -> Result<&HttpFacts, Error> {
    facts.ok_or_else(|| Error::invalid_argument("a route is asked by HTTP, for a path"))
}

fn fixed(end: &FixedEnd) -> Reply {
    Reply {
        status: Some(end.status),
        ..Reply::new(end.headers.clone(), Body::One(end.body.clone()))
    }
}

fn redirect(end: &RedirectEnd, route: &HttpRoute, facts: &HttpFacts) -> Result<Reply, Error> {
    let path = RequestPath::parse(&facts.path);
    let path = path.map_err(|error| Error::invalid_argument(error.to_string()))?;
    let params = route.rule.path.params(&path).unwrap_or_default();
    let mut location = end.to.fill(&params);
    if let Some(query) = facts.query.as_ref().filter(|_| end.keeps_query) {
        let joint = if location.contains('?') { '&' } else { '?' };
        location.push(joint);
        location.push_str(query);
    }
    Ok(Reply {
        status: Some(end.status),
        ..Reply::new(located(&location), Body::Empty)
    })
}

fn located(location: &str) -> Headers {
    let mut headers = HeadersBuilder::fields(1, location.len() + 8);
    // Fields take a value of any length that a path can have.
    let _ = headers.push("location", location);
    headers.build()
}

const SHOWN_CHARS_MAX: usize = 100;
