//! `#[postern_guest::service]`: an `impl` block becomes a service. Documented in `postern-guest`.

mod expand;
mod operation;
mod options;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;
use syn::{ItemImpl, parse_macro_input};

use crate::options::ServiceOptions;

/// See `postern_guest::service`.
#[proc_macro_attribute]
pub fn service(options: TokenStream, block: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as ServiceOptions);
    let block = parse_macro_input!(block as ItemImpl);
    expand::service(options, block)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
