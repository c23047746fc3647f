//! Blocks that are refused, each with the sentence that its author reads.

use syn::parse_quote;

use crate::{expand::service, options::ServiceOptions};

#[track_caller]
fn refuses(block: syn::ItemImpl, expected: &str) {
    let error = service(ServiceOptions::default(), block).expect_err("the block is accepted");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn refuses_a_block_without_methods() {
    refuses(parse_quote!(impl S {}), "a service has at least one method");
    let text = "a service has at least one method";
    refuses(
        parse_quote!(impl S { #[health] fn check() -> Health { Health::Serving } }),
        text,
    );
}

#[test]
fn refuses_types_that_no_export_can_name() {
    let text = "a service is a plain type of this module";
    refuses(parse_quote!(impl other::S { fn f() {} }), text);
    refuses(
        parse_quote!(
            impl<T> S<T> {
                fn f() {}
            }
        ),
        text,
    );
    let text = "a service is a block of its own functions, no trait";
    refuses(parse_quote!(impl Greet for S { fn f() {} }), text);
}

#[test]
fn refuses_functions_that_cannot_be_called_so() {
    let text = "methods are synchronous: a call blocks only its own instance";
    refuses(parse_quote!(impl S { async fn f() {} }), text);
    refuses(
        parse_quote!(impl S { fn f<T>(t: T) {} }),
        "a method has no generics",
    );
    let text = "take `&self`, or no value at all";
    refuses(parse_quote!(impl S { fn f(&mut self) {} }), text);
    refuses(parse_quote!(impl S { fn f(self) {} }), text);
}

#[test]
fn refuses_arguments_that_do_not_fit_together() {
    let text = "a method takes one request, or one `Incoming`, and one `Outgoing`";
    refuses(parse_quote!(impl S { fn f(a: A, b: B) {} }), text);
    refuses(
        parse_quote!(impl S { fn f(a: Incoming<A>, b: Incoming<B>) {} }),
        text,
    );
    let text = "a method takes a request or an `Incoming`, not both";
    refuses(parse_quote!(impl S { fn f(a: A, b: Incoming<B>) {} }), text);
    let text = "a method that sends by `Outgoing` returns `()` or `Result<(), _>`";
    refuses(
        parse_quote!(impl S { fn f(a: Outgoing<A>) -> Result<u8, Failure> {} }),
        text,
    );
}

#[test]
fn refuses_octets_that_would_travel_as_numbers() {
    let text = "`Vec<u8>` would be a JSON list of numbers; take and return `Octets`";
    refuses(parse_quote!(impl S { fn f(a: Vec<u8>) {} }), text);
    refuses(parse_quote!(impl S { fn f(a: std::vec::Vec<u8>) {} }), text);
    refuses(
        parse_quote!(impl S { fn f() -> Result<Vec<u8>, Failure> {} }),
        text,
    );
}

#[test]
fn refuses_arguments_in_another_order_than_they_are_passed() {
    let text = "the order is: request or `Incoming`, then `Outgoing`";
    refuses(
        parse_quote!(impl S { fn f(out: Outgoing<A>, a: B) {} }),
        text,
    );
    refuses(
        parse_quote!(impl S { fn f(out: Outgoing<A>, a: Incoming<B>) {} }),
        text,
    );
}

#[test]
fn refuses_names_that_are_taken() {
    let text = "method `GetUser` is there twice";
    refuses(
        parse_quote!(impl S { fn get_user() {} #[method(name = "GetUser")] fn other() {} }),
        text,
    );
    let text = "a unary fallback is there twice";
    refuses(
        parse_quote!(
            impl S {
                #[method(fallback)]
                fn a(name: &str) {}
                #[method(fallback)]
                fn b(name: &str) {}
            }
        ),
        text,
    );
}

#[test]
fn refuses_a_fallback_without_or_with_a_name() {
    let text = "a fallback takes the method's name, `&str`, before anything else";
    refuses(parse_quote!(impl S { #[method(fallback)] fn f() {} }), text);
    let text = "a fallback answers every name and has none of its own";
    refuses(
        parse_quote!(impl S { #[method(fallback, name = "F")] fn f(name: &str) {} }),
        text,
    );
}

#[test]
fn refuses_unknown_options_and_health_with_arguments() {
    let text = "unknown option; a method has `name`, `idempotent`, `fallback`";
    refuses(
        parse_quote!(impl S { #[method(nam = "F")] fn f() {} }),
        text,
    );
    refuses(
        parse_quote!(impl S { #[health] fn f(a: A) {} }),
        "health takes no arguments",
    );
    let text = "health is marked twice";
    refuses(
        parse_quote!(impl S { #[health] fn f() {} #[health] fn g() {} }),
        text,
    );
}

#[test]
fn exports_only_the_roles_that_the_block_has() {
    let exported = |block| {
        let code = service(ServiceOptions::default(), block)
            .expect("a good block")
            .to_string();
        [
            "export_handler",
            "export_stream_handler",
            "export_health",
            "export_describe",
            "export_schemas",
        ]
        .map(|export| code.contains(export))
    };
    assert_eq!(
        exported(parse_quote!(impl S { fn f() {} })),
        [true, false, true, true, true]
    );
    let streaming = parse_quote!(impl S { fn f(a: Incoming<u8>) {} });
    assert_eq!(exported(streaming), [false, true, true, true, true]);
    let both = parse_quote!(impl S { fn f() {} fn g(a: Incoming<u8>) {} });
    assert_eq!(exported(both), [true; 5]);
}

#[test]
fn a_block_of_texts_has_another_role_in_the_place_of_two() {
    let exported = |block| {
        let options = ServiceOptions {
            is_text: true,
            ..ServiceOptions::default()
        };
        let code = service(options, block).expect("a good block").to_string();
        [
            "export_handler",
            "export_batch_handler",
            "export_text_handler",
            "export_stream_handler",
        ]
        .map(|export| code.contains(export))
    };
    let both = parse_quote!(impl S { fn f() {} fn g(a: Incoming<u8>) {} });
    assert_eq!(exported(both), [false, false, true, true]);
    let streaming = parse_quote!(impl S { fn f(a: Incoming<u8>) {} });
    assert_eq!(exported(streaming), [false, false, false, true]);
}
