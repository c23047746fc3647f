//! What stands in `#[service(..)]`, `#[method(..)]` and doc comments, and the names made of Rust's.

use proc_macro2::Span;
use syn::{
    Attribute, Expr, ExprLit, Lit, LitStr, Meta, Result, Token,
    parse::{Parse, ParseStream},
};

/// `#[service(name = "users", version = "1.2.0", text, part)]`
#[derive(Default)]
pub(crate) struct ServiceOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<LitStr>,
    /// Whether unary messages are text.
    pub(crate) is_text: bool,
    /// Whether it is one of several services of its component, which `services!` exports.
    pub(crate) is_part: bool,
}

/// `#[method(name = "GetUser", idempotent, fallback)]`
#[derive(Default)]
pub(crate) struct MethodOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) idempotent: bool,
    pub(crate) fallback: bool,
}

impl Parse for ServiceOptions {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let key: syn::Ident = input.parse()?;
            let value = |input: ParseStream<'_>| {
                input.parse::<Token![=]>()?;
                input.parse::<LitStr>()
            };
            let is_twice = match key.to_string().as_str() {
                "name" => options.name.replace(value(input)?).is_some(),
                "version" => options.version.replace(value(input)?).is_some(),
                "text" => std::mem::replace(&mut options.is_text, true),
                "part" => std::mem::replace(&mut options.is_part, true),
                other => {
                    let text = format!(
                        "unknown option `{other}`; a service has `name`, `version`, `text`, `part`"
                    );
                    return Err(syn::Error::new(key.span(), text));
                }
            };
            if is_twice {
                let text = format!("`{key}` is given twice");
                return Err(syn::Error::new(key.span(), text));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl MethodOptions {
    /// Takes the attribute `#[method]` out of `attributes`.
    pub(crate) fn take(attributes: &mut Vec<Attribute>) -> Result<Self> {
        let mut options = Self::default();
        for attribute in extract(attributes, "method") {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    options.name = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("idempotent") {
                    options.idempotent = true;
                } else if meta.path.is_ident("fallback") {
                    options.fallback = true;
                } else {
                    let text = "unknown option; a method has `name`, `idempotent`, `fallback`";
                    return Err(meta.error(text));
                }
                Ok(())
            })?;
        }
        if options.fallback && options.name.is_some() {
            let text = "a fallback answers every name and has none of its own";
            return Err(syn::Error::new(Span::call_site(), text));
        }
        Ok(options)
    }
}

/// Takes all attributes of that name out of `attributes`.
pub(crate) fn extract(attributes: &mut Vec<Attribute>, name: &str) -> Vec<Attribute> {
    attributes
        .extract_if(.., |attribute| attribute.path().is_ident(name))
        .collect()
}

/// The first paragraph of a doc comment, on one line.
pub(crate) fn summary(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(doc_line);
    let paragraph: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    paragraph.join(" ")
}

/// `get_user` is `GetUser`.
pub(crate) fn pascal_case(snake: &str) -> String {
    let words = snake.trim_start_matches("r#").split('_');
    words.map(capitalised).collect()
}

/// `GeoBalancer` is `geo-balancer`.
pub(crate) fn kebab_case(pascal: &str) -> String {
    let mut kebab = String::with_capacity(pascal.len() + 4);
    let mut lower_before = false;
    for letter in pascal.chars() {
        if letter.is_uppercase() && lower_before {
            kebab.push('-');
        }
        lower_before = letter.is_lowercase() || letter.is_numeric();
        kebab.extend(letter.to_lowercase());
    }
    kebab
}

/// The text of `#[doc = "text"]`.
fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = &pair.value
    else {
        return None;
    };
    pair.path
        .is_ident("doc")
        .then(|| text.value().trim().to_owned())
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_methods() {
        let check = |rust: &str, wire: &str| assert_eq!(pascal_case(rust), wire);
        check("add", "Add");
        check("get_user", "GetUser");
        check("r#type", "Type");
        check("list_v2_users", "ListV2Users");
    }

    #[test]
    fn names_of_services() {
        let check = |rust: &str, wire: &str| assert_eq!(kebab_case(rust), wire);
        check("Users", "users");
        check("GeoBalancer", "geo-balancer");
        check("HTTPEcho2Go", "httpecho2-go");
    }

    #[test]
    fn the_summary_is_the_first_paragraph() {
        let function: syn::ItemFn = syn::parse_quote! {
            /// Finds a user
            /// by its id.
            ///
            /// Slow.
            fn get() {}
        };
        assert_eq!(summary(&function.attrs), "Finds a user by its id.");
    }

    #[test]
    fn unknown_options_are_refused_by_name() {
        let Err(error) = syn::parse_str::<ServiceOptions>("nam = \"users\"") else {
            panic!("accepted");
        };
        assert_eq!(
            error.to_string(),
            "unknown option `nam`; a service has `name`, `version`, `text`, `part`"
        );
        let options = syn::parse_str::<ServiceOptions>("text, name = \"users\"");
        assert!(options.is_ok_and(|options| options.is_text && options.name.is_some()));
        let Err(error) = syn::parse_str::<ServiceOptions>("text, text") else {
            panic!("accepted");
        };
        assert_eq!(error.to_string(), "`text` is given twice");
        let options = syn::parse_str::<ServiceOptions>("part");
        assert!(options.is_ok_and(|options| options.is_part));
    }
}
