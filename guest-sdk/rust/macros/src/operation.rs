//! One function of the block: its name on the wire and its shape, read off its signature.

use proc_macro2::Span;
use syn::{
    Error, FnArg, GenericArgument, Ident, ImplItemFn, LitStr, PathArguments, Result, ReturnType,
    Signature, Type, spanned::Spanned,
};

use crate::options::{MethodOptions, pascal_case, summary};

/// A function that answers calls.
pub(crate) struct Operation {
    pub(crate) function: Ident,
    /// On the wire; `None` for the fallback.
    pub(crate) name: Option<LitStr>,
    pub(crate) summary: String,
    pub(crate) idempotent: bool,
    /// Takes `&self`.
    pub(crate) on_value: bool,
    pub(crate) request: Option<Type>,
    pub(crate) incoming: Option<Type>,
    pub(crate) outgoing: Option<Type>,
    /// What it returns, without the `Result` around it; `None` for nothing.
    pub(crate) response: Option<Type>,
    /// Whether it returns a `Result`.
    pub(crate) fallible: bool,
}

impl Operation {
    pub(crate) fn read(function: &ImplItemFn, options: MethodOptions) -> Result<Self> {
        let signature = &function.sig;
        refuse_unsupported(signature)?;
        let (response, fallible) = returned(&signature.output);
        response.as_ref().map_or(Ok(()), refuse_octets_as_json)?;
        let ident = signature.ident.clone();
        let name = match options {
            MethodOptions { fallback: true, .. } => None,
            MethodOptions {
                name: Some(name), ..
            } => Some(name),
            MethodOptions { .. } => {
                Some(LitStr::new(&pascal_case(&ident.to_string()), ident.span()))
            }
        };
        let mut operation = Self {
            function: ident,
            name,
            summary: summary(&function.attrs),
            idempotent: options.idempotent,
            on_value: false,
            request: None,
            incoming: None,
            outgoing: None,
            response,
            fallible,
        };
        operation.read_arguments(signature, options.fallback)?;
        if operation.outgoing.is_some() && operation.response.is_some() {
            let text = "a method that sends by `Outgoing` returns `()` or `Result<(), _>`";
            return Err(Error::new(signature.output.span(), text));
        }
        Ok(operation)
    }

    pub(crate) const fn is_streaming(&self) -> bool {
        self.incoming.is_some() || self.outgoing.is_some()
    }

    /// The variant of `Shape`.
    pub(crate) fn shape(&self) -> Ident {
        let name = match (&self.incoming, &self.outgoing) {
            (None, None) => "Unary",
            (Some(_), None) => "ClientStream",
            (None, Some(_)) => "ServerStream",
            (Some(_), Some(_)) => "Bidirectional",
        };
        Ident::new(name, Span::call_site())
    }

    /// Name of the type that goes in; empty for none.
    pub(crate) fn request_name(&self) -> String {
        self.incoming
            .as_ref()
            .or(self.request.as_ref())
            .map_or_else(String::new, type_name)
    }

    /// Name of the type that comes out; empty for none.
    pub(crate) fn response_name(&self) -> String {
        self.outgoing
            .as_ref()
            .or(self.response.as_ref())
            .map_or_else(String::new, type_name)
    }

    fn read_arguments(&mut self, signature: &Signature, fallback: bool) -> Result<()> {
        let mut name_expected = fallback;
        for argument in &signature.inputs {
            let argument = match argument {
                FnArg::Receiver(receiver) => {
                    let by_reference =
                        receiver.reference.is_some() && receiver.mutability.is_none();
                    if !by_reference {
                        return Err(Error::new(
                            receiver.span(),
                            "take `&self`, or no value at all",
                        ));
                    }
                    self.on_value = true;
                    continue;
                }
                FnArg::Typed(typed) => &*typed.ty,
            };
            if name_expected {
                name_expected = false;
                continue;
            }
            refuse_octets_as_json(argument)?;
            if self.outgoing.is_some() && !is_outgoing(argument) {
                let text = "the order is: request or `Incoming`, then `Outgoing`";
                return Err(Error::new(argument.span(), text));
            }
            let (slot, ty) = match wrapper(argument) {
                Some((wrapper, inner)) if wrapper == "Incoming" => (&mut self.incoming, inner),
                Some((wrapper, inner)) if wrapper == "Outgoing" => (&mut self.outgoing, inner),
                _ => (&mut self.request, argument),
            };
            if slot.replace(ty.clone()).is_some() {
                let text = "a method takes one request, or one `Incoming`, and one `Outgoing`";
                return Err(Error::new(argument.span(), text));
            }
        }
        if name_expected {
            let text = "a fallback takes the method's name, `&str`, before anything else";
            return Err(Error::new(signature.ident.span(), text));
        }
        if self.request.is_some() && self.incoming.is_some() {
            let text = "a method takes a request or an `Incoming`, not both";
            return Err(Error::new(signature.inputs.span(), text));
        }
        Ok(())
    }
}

fn refuse_unsupported(signature: &Signature) -> Result<()> {
    if let Some(keyword) = &signature.asyncness {
        let text = "methods are synchronous: a call blocks only its own instance";
        return Err(Error::new(keyword.span(), text));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(
            signature.generics.span(),
            "a method has no generics",
        ));
    }
    Ok(())
}

/// `Vec<u8>` would travel as a JSON list of numbers, which nobody means.
fn refuse_octets_as_json(ty: &Type) -> Result<()> {
    let Some((vec, Type::Path(inner))) = wrapper(ty) else {
        return Ok(());
    };
    if vec == "Vec" && inner.path.is_ident("u8") {
        let text = "`Vec<u8>` would be a JSON list of numbers; take and return `Octets`";
        return Err(Error::new(ty.span(), text));
    }
    Ok(())
}

/// The type inside of `Result`, and whether there was a `Result`; `None` for nothing.
fn returned(output: &ReturnType) -> (Option<Type>, bool) {
    let ReturnType::Type(_, ty) = output else {
        return (None, false);
    };
    let (ty, fallible) = match wrapper(ty) {
        Some((name, inner)) if name == "Result" => (inner, true),
        _ => (&**ty, false),
    };
    let nothing = matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty());
    ((!nothing).then(|| ty.clone()), fallible)
}

/// `Incoming<T>` is `("Incoming", T)`; whatever the path before it.
fn wrapper(ty: &Type) -> Option<(&Ident, &Type)> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    let Some(GenericArgument::Type(inner)) = arguments.args.first() else {
        return None;
    };
    Some((&segment.ident, inner))
}

fn is_outgoing(ty: &Type) -> bool {
    wrapper(ty).is_some_and(|(name, _)| name == "Outgoing")
}

/// For people: without paths and without blanks.
fn type_name(ty: &Type) -> String {
    match (ty, wrapper(ty)) {
        (_, Some((name, inner))) => format!("{name}<{}>", type_name(inner)),
        (Type::Path(path), None) => path
            .path
            .segments
            .last()
            .map_or_else(String::new, |last| last.ident.to_string()),
        (other, None) => quote::quote!(#other).to_string().replace(' ', ""),
    }
}
