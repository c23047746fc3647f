//! Has a role, but imports `acme:things/teapot@1.0.0`, which no host offers: it must be refused by
//! that name.

#[allow(
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    clippy::use_self,
    reason = "generated code"
)]
mod bindings {
    wit_bindgen::generate!({ world: "pantry", path: "wit" });
}

use crate::bindings::acme::things::teapot;

struct UnknownImport;

/// Brews.
#[postern_guest::service]
impl UnknownImport {
    fn brew(what: String) -> String {
        teapot::brew(&what)
    }
}
