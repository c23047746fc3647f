//! How often calls may come, what their headers are made into, and which pages may call:
//! `[limits]`, `[headers]`, and `cors` of a listener.

use std::time::Duration;

use super::{
    CallPattern, leaf::word_leaf, named::Named, opaque_table::OpaqueTable, section::section,
};

section! {
    /// One limit on the rate of calls. A call passes all limits that it falls under, or is refused
    /// as `resource-exhausted` with the time after which it would pass.
    pub(crate) struct RateLimit {
        /// What shares one allowance: "principal" (anonymous callers by address), "peer" (address;
        /// of IPv6 its /64), "service", "header" or "global".
        pub by: RateKey = RateKey::Peer;
        /// Header whose value shares an allowance, with `by = "header"`. Calls without it share one.
        pub header: Option<String> = None;
        /// Calls in each `per`. Needed.
        pub rate: u32 = 0, within "0" to "1000000000";
        /// Time in which an allowance that is used up is full again up to `rate`.
        pub per: Duration = Duration::from_secs(1), within "1ms" to "24h";
        /// Calls at once before the rate holds; as many as `rate` when left out.
        pub burst: Option<u32> = None, within "1" to "1000000000";
        /// Calls that fall under the limit.
        pub calls: Vec<CallPattern> = vec![CallPattern::all()];
        /// Whether calls that plugins make on behalf of a call are counted too.
        pub nested: bool = false;
        /// Allowances kept at one time; beyond it the one that is nearest to full is forgotten.
        pub keys_max: usize = 100_000, within "1" to "10000000";
    }
}

section! {
    /// Changes to the headers of some calls.
    pub(crate) struct HeaderRule {
        /// Calls that are changed.
        pub calls: Vec<CallPattern> = vec![CallPattern::all()];
        /// Changes before the service sees the call.
        pub request: HeaderEdits = HeaderEdits::default();
        /// Changes before the caller sees the reply.
        pub response: HeaderEdits = HeaderEdits::default();
    }
}

section! {
    /// Changes in this order. Names match in any case. Values may hold `{principal}`, `{peer}`,
    /// `{service}`, `{method}` and `{correlation-id}`; a value with one that is not known is not set.
    pub(crate) struct HeaderEdits {
        /// Names that are removed; "x-internal-*" removes all that begin so.
        pub remove: Vec<String> = Vec::new();
        /// Old name and new name.
        pub rename: OpaqueTable = OpaqueTable::default();
        /// Name and value, in the place of every value before.
        pub set: OpaqueTable = OpaqueTable::default();
        /// Name and value, beside every value before.
        pub add: OpaqueTable = OpaqueTable::default();
    }
}

section! {
    /// Pages of other origins that may call (CORS). Off while `origins` is empty.
    pub(crate) struct Cors {
        /// Origins: "https://example.org", "https://*.example.org", "null", or "*" for all.
        pub origins: Vec<String> = Vec::new();
        /// Methods that pages may use.
        pub methods: Vec<String> = ["GET", "POST"].map(str::to_owned).to_vec();
        /// Request headers that pages may send; "*" is whatever they ask for.
        pub headers: Vec<String> = [
            "authorization",
            "connect-protocol-version",
            "connect-timeout-ms",
            "content-type",
            "grpc-timeout",
            "timeout-ms",
            "traceparent",
            "x-correlation-id",
            "x-grpc-web",
            "x-user-agent",
            "x-vsp-api-key",
        ]
        .map(str::to_owned)
        .to_vec();
        /// Response headers that pages may read.
        pub exposed_headers: Vec<String> = ["retry-after", "x-correlation-id", "x-postern-error"]
            .map(str::to_owned)
            .to_vec();
        /// Whether pages may send cookies; never with all origins.
        pub credentials: bool = false;
        /// How long a browser may remember what it was told.
        pub max_age: Duration = Duration::from_secs(600), within "0s" to "24h";
    }
}

/// What shares one allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateKey {
    Principal,
    Peer,
    Service,
    Header,
    Global,
}

word_leaf!(RateKey {
    Principal = "principal",
    Peer = "peer",
    Service = "service",
    Header = "header",
    Global = "global",
});

impl Named for RateLimit {}
impl Named for HeaderRule {}

impl Cors {
    /// As the listener wants it; `None` while it is off.
    ///
    /// # Errors
    /// What a browser could not make sense of.
    pub(crate) fn sharing(
        &self,
    ) -> Result<Option<postern_net::http::Cors>, postern_net::http::CorsError> {
        if self.origins.is_empty() {
            return Ok(None);
        }
        postern_net::http::Cors::new(&postern_net::http::CorsConfig {
            origins: self.origins.clone(),
            methods: self.methods.clone(),
            headers: self.headers.clone(),
            exposed_headers: self.exposed_headers.clone(),
            credentials: self.credentials,
            max_age: self.max_age,
        })
        .map(Some)
    }
}
