//! The least that an interceptor can be: what it costs is what standing in the way of requests costs.

use postern_guest::{Action, Request, RequestInterceptor, Result};

#[derive(Default)]
struct Proceed;

impl RequestInterceptor for Proceed {
    fn on_request(&mut self, _: &mut Request) -> Result<Action> {
        Ok(Action::Proceed)
    }
}

postern_guest::export!(Proceed: RequestInterceptor);
