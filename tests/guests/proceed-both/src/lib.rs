//! The least that an interceptor of both halves of a call can be.

use postern_guest::{Action, Request, RequestInterceptor, Response, ResponseInterceptor, Result};

#[derive(Default)]
struct Proceed;

impl RequestInterceptor for Proceed {
    fn on_request(&mut self, _: &mut Request) -> Result<Action> {
        Ok(Action::Proceed)
    }
}

impl ResponseInterceptor for Proceed {
    fn on_response(&mut self, _: &Request, _: &mut Response) -> Result<()> {
        Ok(())
    }
}

postern_guest::export!(Proceed: RequestInterceptor, ResponseInterceptor);
