//! The bounds of a request's head, and what a target has that needs no second look.

use super::super::octets::Octets;

/// Longest request head, in octets: a whole VSTP header section (65,535) and its request line fit.
pub(in crate::http) const HEAD_BYTES_MAX: usize = 96 * 1024;
/// Most header fields of a request, over HTTP/1 and HTTP/2.
pub(in crate::http) const FIELDS_MAX: usize = 300;
/// As many fields as hyper has room for by itself. Told of more, it allocates that room for each head.
pub(in crate::http) const FEW_FIELDS: usize = 100;
/// Longest request target, in octets; `Uri` takes no longer one.
pub(super) const TARGET_BYTES_MAX: usize = 65_534;
/// What a target has that `Uri` takes for sure, behind a slash.
pub(super) const OF_TARGETS: Octets = Octets::alphanumeric_and(b"/._~-%?&=:@!$'()*+,;");
