//! Several services in one component. A component with one `#[service]` block needs nothing of this.

use crate::{
    failure::Failure,
    service::{Health, Method, Service},
};

/// What a component answers for: the one service of a `#[service]` block, or what
/// [`services!`](crate::services) lists.
#[doc(hidden)]
pub trait Services: 'static {
    /// Each service with its methods, in the order of the list.
    fn described() -> Vec<Described>;

    /// Answers one unary call.
    ///
    /// # Errors
    /// As [`Service::call`]; `not-found` for a service that is not of the list.
    fn call(service: &str, method: &str, message: Vec<u8>) -> Result<Vec<u8>, Failure>;

    /// Answers one call of many messages.
    ///
    /// # Errors
    /// As [`Services::call`], and whatever ends the streams.
    fn call_stream(service: &str, method: &str) -> Result<(), Failure>;

    /// Whether the plugin can serve: as well as the service that is worst.
    fn health() -> Health;

    /// Names and JSON Schemas of the types of all methods.
    fn schemas() -> Vec<(String, String)>;
}

/// A service as `describe` tells it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    pub name: &'static str,
    pub version: &'static str,
    pub summary: &'static str,
    pub methods: &'static [Method],
}

/// The manifest may give the only service another name, so that it answers to every name.
impl<S: Service> Services for S {
    fn described() -> Vec<Described> {
        vec![Described::of::<S>()]
    }

    fn call(_service: &str, method: &str, message: Vec<u8>) -> Result<Vec<u8>, Failure> {
        <S as Service>::call(method, message)
    }

    fn call_stream(_service: &str, method: &str) -> Result<(), Failure> {
        <S as Service>::call_stream(method)
    }

    fn health() -> Health {
        <S as Service>::health()
    }

    fn schemas() -> Vec<(String, String)> {
        <S as Service>::schemas()
    }
}

impl Described {
    #[must_use]
    pub const fn of<S: Service>() -> Self {
        Self {
            name: S::NAME,
            version: S::VERSION,
            summary: S::SUMMARY,
            methods: S::METHODS,
        }
    }
}

/// The worse of two answers; of two that are alike the first.
#[doc(hidden)]
#[must_use]
pub fn worse(one: Health, other: Health) -> Health {
    match (&one, &other) {
        (Health::NotServing(_), _) | (_, Health::Serving) => one,
        (Health::Degraded(_), Health::Degraded(_)) => one,
        (Health::Serving | Health::Degraded(_), Health::NotServing(_))
        | (Health::Serving, Health::Degraded(_)) => other,
    }
}

#[doc(hidden)]
#[must_use]
#[cold]
pub fn unknown_service(service: &str, known: &[Described]) -> Failure {
    let names: Vec<&str> = known.iter().map(|service| service.name).collect();
    let names = names.join(", ");
    Failure::not_found(format!("no service `{service}` here; there are {names}"))
}

/// Exports several services as one component. Each block is marked as a `part`:
///
/// ```
/// # use postern_guest::Octets;
/// struct Users;
/// struct Groups;
///
/// #[postern_guest::service(part)]
/// impl Users { fn get(id: u64) -> u64 { id } }
///
/// #[postern_guest::service(name = "acme.Groups", part)]
/// impl Groups { fn get(name: String) -> String { name } }
///
/// postern_guest::services!(Users, Groups);
/// ```
///
/// Types of one name are one type for `schemas`, whichever service they are of.
#[macro_export]
macro_rules! services {
    ($first:ident $(, $other:ident)* $(,)?) => {
        const _: () = {
            struct Component;

            impl $crate::services::Services for Component {
                fn described() -> ::std::vec::Vec<$crate::services::Described> {
                    ::std::vec![
                        $crate::services::Described::of::<$first>(),
                        $($crate::services::Described::of::<$other>(),)*
                    ]
                }

                fn call(
                    service: &str,
                    method: &str,
                    message: ::std::vec::Vec<u8>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::Failure> {
                    match service {
                        <$first as $crate::Service>::NAME => {
                            <$first as $crate::Service>::call(method, message)
                        }
                        $(<$other as $crate::Service>::NAME => {
                            <$other as $crate::Service>::call(method, message)
                        })*
                        _ => Err($crate::services::unknown_service(service, &Self::described())),
                    }
                }

                fn call_stream(
                    service: &str,
                    method: &str,
                ) -> ::core::result::Result<(), $crate::Failure> {
                    match service {
                        <$first as $crate::Service>::NAME => {
                            <$first as $crate::Service>::call_stream(method)
                        }
                        $(<$other as $crate::Service>::NAME => {
                            <$other as $crate::Service>::call_stream(method)
                        })*
                        _ => Err($crate::services::unknown_service(service, &Self::described())),
                    }
                }

                fn health() -> $crate::Health {
                    let health = <$first as $crate::Service>::health();
                    $(let health = $crate::services::worse(
                        health,
                        <$other as $crate::Service>::health(),
                    );)*
                    health
                }

                fn schemas() -> ::std::vec::Vec<(::std::string::String, ::std::string::String)> {
                    let mut types = $crate::schema::ServiceSchemas::default();
                    types.extend(<$first as $crate::Service>::schemas());
                    $(types.extend(<$other as $crate::Service>::schemas());)*
                    types.into_pairs()
                }
            }

            const _: () = assert!(
                !(<$first as $crate::Service>::IS_TEXT $(|| <$other as $crate::Service>::IS_TEXT)*),
                "a service that is a `part` is not `text`"
            );

            #[cfg(target_arch = "wasm32")]
            #[allow(unsafe_code, reason = "generated exports")]
            const _: () = {
                $crate::bindings::handler::export_handler!(
                    Component with_types_in $crate::exports::handler
                );
                $crate::bindings::batch_handler::export_batch_handler!(
                    Component with_types_in $crate::exports::batch_handler
                );
                $crate::bindings::stream_handler::export_stream_handler!(
                    Component with_types_in $crate::exports::stream_handler
                );
                $crate::bindings::health::export_health!(Component);
                $crate::bindings::describe::export_describe!(Component);
                $crate::bindings::schemas::export_schemas!(Component);
            };

            #[cfg(not(target_arch = "wasm32"))]
            const _: () = $crate::services::exported::<Component>();
        };
    };
}

/// Stands for the exports where there are none.
#[doc(hidden)]
pub const fn exported<S: Services>() {}
