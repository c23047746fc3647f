//! A good component for some other host: it exports nothing that has a role here.

#[allow(
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    clippy::use_self,
    reason = "generated code"
)]
mod bindings {
    wit_bindgen::generate!({ world: "greeting", path: "wit" });

    // Natively the names are none that a linker for shared objects accepts.
    #[cfg(target_arch = "wasm32")]
    export!(Greeter with_types_in self);
    #[cfg(target_arch = "wasm32")]
    use super::Greeter;
}

/// Greets, where somebody asks for it.
#[derive(Debug)]
pub struct Greeter;

impl bindings::exports::acme::greeting::greeter::Guest for Greeter {
    fn greet(name: String) -> String {
        format!("hello {name}")
    }
}
