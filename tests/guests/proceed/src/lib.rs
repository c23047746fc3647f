//! The least that an interceptor can be: what it costs is what standing in the way costs.

use postern_guest::Interceptor;

#[derive(Default)]
struct Proceed;

impl Interceptor for Proceed {}

postern_guest::export!(Proceed: Interceptor);
