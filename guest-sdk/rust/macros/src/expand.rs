//! The block, the `Service` that it implements, and the roles that the component exports.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Error, Ident, ImplItem, ItemImpl, LitStr, Result, Type, spanned::Spanned};

use crate::{
    operation::Operation,
    options::{MethodOptions, ServiceOptions, extract, kebab_case, summary},
};

pub(crate) fn service(options: ServiceOptions, mut block: ItemImpl) -> Result<TokenStream> {
    let ident = self_ident(&block)?;
    let (operations, health) = read_block(&mut block)?;
    refuse_same_names(&operations)?;
    if operations.is_empty() {
        let text = "a service has at least one method";
        return Err(Error::new(block.span(), text));
    }

    let name = options.name.as_ref();
    let name = name.map_or_else(|| kebab_case(&ident.to_string()), LitStr::value);
    let version = options.version.as_ref();
    let version = version.map_or_else(|| quote!(env!("CARGO_PKG_VERSION")), |v| quote!(#v));
    let text = summary(&block.attrs);
    let methods = methods(&operations);
    let value = value(&ident, &operations);
    let call = call_body(&ident, &operations);
    let call_stream = call_stream_body(&ident, &operations);
    let health = health.map_or_else(
        || quote!(::postern_guest::Health::Serving),
        |function| quote!(::core::convert::Into::into(<#ident>::#function())),
    );
    let schemas = schemas(&operations);
    let exports = exports(&ident, &operations, &options);
    let is_text = options.is_text;

    Ok(quote! {
        #block

        const _: () = {
            #value

            impl ::postern_guest::Service for #ident {
                const NAME: &'static str = #name;
                const VERSION: &'static str = #version;
                const SUMMARY: &'static str = #text;
                const METHODS: &'static [::postern_guest::service::Method] = &[#(#methods),*];
                const IS_TEXT: bool = #is_text;

                fn call(
                    method: &str,
                    message: ::std::vec::Vec<u8>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, ::postern_guest::Failure> {
                    #call
                }

                fn call_stream(
                    method: &str,
                ) -> ::core::result::Result<(), ::postern_guest::Failure> {
                    #call_stream
                }

                fn health() -> ::postern_guest::Health {
                    #health
                }

                fn schemas() -> ::std::vec::Vec<(::std::string::String, ::std::string::String)> {
                    #schemas
                }
            }
        };

        #exports
    })
}

/// Where methods are called on a value: the one that each instance has.
fn value(ident: &Ident, operations: &[Operation]) -> Option<TokenStream> {
    let is_wanted = operations.iter().any(|operation| operation.on_value);
    is_wanted.then(|| {
        quote! {
            ::std::thread_local! { static VALUE: #ident = <#ident as ::core::default::Default>::default(); }
        }
    })
}

/// The functions of the block, relieved of our attributes: methods, and the one for health.
fn read_block(block: &mut ItemImpl) -> Result<(Vec<Operation>, Option<Ident>)> {
    let mut operations = Vec::new();
    let mut health = None;
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else {
            continue;
        };
        if extract(&mut function.attrs, "health").is_empty() {
            let options = MethodOptions::take(&mut function.attrs)?;
            operations.push(Operation::read(function, options)?);
        } else if !function.sig.inputs.is_empty() {
            return Err(Error::new(
                function.sig.inputs.span(),
                "health takes no arguments",
            ));
        } else if health.replace(function.sig.ident.clone()).is_some() {
            return Err(Error::new(
                function.sig.ident.span(),
                "health is marked twice",
            ));
        }
    }
    Ok((operations, health))
}

/// Two functions with one name on the wire, or two fallbacks of one kind.
fn refuse_same_names(operations: &[Operation]) -> Result<()> {
    let mut taken = Vec::new();
    for operation in operations {
        let key = match &operation.name {
            Some(name) => format!("method `{}`", name.value()),
            None if operation.is_streaming() => "a streaming fallback".to_owned(),
            None => "a unary fallback".to_owned(),
        };
        if taken.contains(&key) {
            return Err(Error::new(
                operation.function.span(),
                format!("{key} is there twice"),
            ));
        }
        taken.push(key);
    }
    Ok(())
}

/// The lines of `METHODS`: one per name, and one `*` for what fallbacks answer.
fn methods(operations: &[Operation]) -> Vec<TokenStream> {
    let fallback = operations.iter().find(|operation| operation.name.is_none());
    let named = operations
        .iter()
        .filter(|operation| operation.name.is_some());
    named.chain(fallback).map(method).collect()
}

/// One line of `METHODS`.
fn method(operation: &Operation) -> TokenStream {
    let Operation {
        summary,
        idempotent,
        ..
    } = operation;
    let any = LitStr::new("*", Span::call_site());
    let name = operation.name.as_ref().unwrap_or(&any);
    let shape = operation.shape();
    let (request, response) = (operation.request_name(), operation.response_name());
    quote! {
        ::postern_guest::service::Method {
            name: #name,
            summary: #summary,
            shape: ::postern_guest::service::Shape::#shape,
            request: #request,
            response: #response,
            idempotent: #idempotent,
        }
    }
}

/// The schemas of all types that go in, then of those that come out.
fn schemas(operations: &[Operation]) -> TokenStream {
    let add = |(name, ty, contract): (String, &Type, &str)| {
        let contract = Ident::new(contract, Span::call_site());
        // Whether the type has a schema is found out by which of the two traits the method is of.
        quote! {
            types.add(
                #name,
                (&&::postern_guest::schema::Typed::<#ty>::new())
                    .schema(::postern_guest::schema::Contract::#contract),
            );
        }
    };
    let taken = operations.iter().filter_map(|operation| {
        let ty = operation.incoming.as_ref().or(operation.request.as_ref())?;
        Some(add((operation.request_name(), ty, "Request")))
    });
    let given = operations.iter().filter_map(|operation| {
        let ty = operation
            .outgoing
            .as_ref()
            .or(operation.response.as_ref())?;
        Some(add((operation.response_name(), ty, "Reply")))
    });
    let added = taken.chain(given);
    quote! {
        #[allow(unused_imports, reason = "of a type with and one without a schema, one is used")]
        use ::postern_guest::schema::{Known as _, Unknown as _};
        #[allow(unused_mut, reason = "methods may name no type")]
        let mut types = ::postern_guest::schema::ServiceSchemas::default();
        #(#added)*
        types.into_pairs()
    }
}

/// `match method { "GetUser" => .., }` over the unary methods.
fn call_body(ident: &Ident, operations: &[Operation]) -> TokenStream {
    let (streaming, unary): (Vec<_>, Vec<_>) = operations.iter().partition(|o| o.is_streaming());
    let arms = unary.iter().filter_map(|operation| {
        let (name, answer) = (operation.name.as_ref()?, unary_answer(ident, operation));
        Some(quote!(#name => { #answer }))
    });
    let streams: Vec<&LitStr> = streaming.iter().filter_map(|o| o.name.as_ref()).collect();
    let refuse_streams = (!streams.is_empty()).then(|| {
        quote! {
            #(#streams)|* => {
                ::core::result::Result::Err(::postern_guest::service::needs_stream::<#ident>(method))
            }
        }
    });
    let fallback = unary.iter().find(|operation| operation.name.is_none());
    let other = fallback.map_or_else(|| unknown(ident), |o| unary_answer(ident, o));
    let ignored = unary.is_empty().then(|| quote!(let _ = message;));
    quote!(#ignored match method { #(#arms)* #refuse_streams _ => { #other } })
}

/// `match method { "Chat" => .., }` over the streaming methods; unary ones are served as well.
fn call_stream_body(ident: &Ident, operations: &[Operation]) -> TokenStream {
    let (streaming, unary): (Vec<_>, Vec<_>) = operations.iter().partition(|o| o.is_streaming());
    let arms = streaming.iter().filter_map(|operation| {
        let (name, answer) = (operation.name.as_ref()?, stream_answer(ident, operation));
        Some(quote!(#name => { #answer }))
    });
    let over_stream = quote!(::postern_guest::service::unary_over_stream::<#ident>(method));
    let unary_names: Vec<&LitStr> = unary.iter().filter_map(|o| o.name.as_ref()).collect();
    let serve_unary = (!unary_names.is_empty()).then(|| quote!(#(#unary_names)|* => #over_stream,));
    let fallback = streaming.iter().find(|operation| operation.name.is_none());
    let other = match fallback {
        Some(operation) => stream_answer(ident, operation),
        None if unary.iter().any(|operation| operation.name.is_none()) => over_stream,
        None => unknown(ident),
    };
    quote!(match method { #(#arms)* #serve_unary _ => { #other } })
}

fn unary_answer(ident: &Ident, operation: &Operation) -> TokenStream {
    let request = operation.request.as_ref().map(|ty| {
        quote_spanned!(ty.span()=> let request: #ty = ::postern_guest::service::request(message)?;)
    });
    let ignored = request.is_none().then(|| quote!(let _ = message;));
    let invoke = invoke(ident, operation);
    quote! {
        #request
        #ignored
        let response = #invoke;
        ::postern_guest::service::reply(response)
    }
}

fn stream_answer(ident: &Ident, operation: &Operation) -> TokenStream {
    let request = operation.request.as_ref().map(|ty| {
        quote_spanned!(ty.span()=> let request: #ty = ::postern_guest::service::stream_request()?;)
    });
    let invoke = invoke(ident, operation);
    if operation.outgoing.is_some() {
        return quote! {
            #request
            #invoke;
            ::core::result::Result::Ok(())
        };
    }
    quote! {
        #request
        let response = #invoke;
        ::postern_guest::service::stream_reply(response)
    }
}

/// The function called with what it takes, in the order of design: name, request, streams.
fn invoke(ident: &Ident, operation: &Operation) -> TokenStream {
    let function = &operation.function;
    let receiver = operation.on_value.then(|| quote!(value,));
    let name = operation.name.is_none().then(|| quote!(method,));
    let request = operation.request.is_some().then(|| quote!(request,));
    let incoming = operation
        .incoming
        .as_ref()
        .map(|ty| direction("Incoming", ty));
    let outgoing = operation
        .outgoing
        .as_ref()
        .map(|ty| direction("Outgoing", ty));
    let call = quote!(<#ident>::#function(#receiver #name #request #incoming #outgoing));
    let call = if operation.on_value {
        quote!(VALUE.with(|value| #call))
    } else {
        call
    };
    if operation.fallible {
        quote!(#call?)
    } else {
        call
    }
}

fn direction(name: &str, ty: &Type) -> TokenStream {
    let name = Ident::new(name, Span::call_site());
    quote!(::postern_guest::#name::<#ty>::of_call(),)
}

fn unknown(ident: &Ident) -> TokenStream {
    quote!(::core::result::Result::Err(::postern_guest::service::unknown_method::<#ident>(method)))
}

/// Names the service where nothing is exported, so that it does not count as unused.
fn named(ident: &Ident) -> TokenStream {
    quote! {
        const _: () = ::postern_guest::service::exported::<#ident>();
    }
}

/// Only wasm32 exports: natively the names would clash between plugins in one test binary, and are
/// no names that a linker for shared objects accepts.
fn exports(ident: &Ident, operations: &[Operation], options: &ServiceOptions) -> TokenStream {
    let named = named(ident);
    if options.is_part {
        return named;
    }
    let is_text = options.is_text;
    let unary = operations.iter().any(|operation| !operation.is_streaming());
    let streaming = operations.iter().any(Operation::is_streaming);
    let text_handler = (unary && is_text).then(|| {
        quote! {
            ::postern_guest::bindings::text_handler::export_text_handler!(
                #ident with_types_in ::postern_guest::exports::text_handler
            );
        }
    });
    let handler = (unary && !is_text).then(|| {
        quote! {
            ::postern_guest::bindings::handler::export_handler!(
                #ident with_types_in ::postern_guest::exports::handler
            );
            ::postern_guest::bindings::batch_handler::export_batch_handler!(
                #ident with_types_in ::postern_guest::exports::batch_handler
            );
        }
    });
    let stream_handler = streaming.then(|| {
        quote! {
            ::postern_guest::bindings::stream_handler::export_stream_handler!(
                #ident with_types_in ::postern_guest::exports::stream_handler
            );
        }
    });
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated exports")]
        const _: () = {
            #handler
            #text_handler
            #stream_handler
            ::postern_guest::bindings::health::export_health!(#ident);
            ::postern_guest::bindings::describe::export_describe!(#ident);
            ::postern_guest::bindings::schemas::export_schemas!(#ident);
        };

        #[cfg(not(target_arch = "wasm32"))]
        #named
    }
}

/// Generated code names the type by one word.
fn self_ident(block: &ItemImpl) -> Result<Ident> {
    if let Some((_, path, _)) = &block.trait_ {
        return Err(Error::new(
            path.span(),
            "a service is a block of its own functions, no trait",
        ));
    }
    if let Type::Path(path) = &*block.self_ty
        && block.generics.params.is_empty()
        && let Some(ident) = path.path.get_ident()
    {
        return Ok(ident.clone());
    }
    Err(Error::new(
        block.self_ty.span(),
        "a service is a plain type of this module",
    ))
}
