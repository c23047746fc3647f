//! A component of other roles than services: a value of the author's, and what it exports.

#[cfg(target_arch = "wasm32")]
use std::{cell::RefCell, marker::PhantomData, thread::LocalKey};

use crate::{failure::Failure, service::Health};

/// The value behind a component's roles. Made once per instance; the gateway enters an instance with
/// one call at a time, and gives each role instances of its own. Every type with `Default` is one.
pub trait Plugin: Sized + 'static {
    /// Makes the value; the place to read `config`.
    ///
    /// # Errors
    /// What keeps it from working. The role `health` tells it, so that the generation before stays
    /// in service; where nobody asked, every entry fails with it.
    fn start() -> Result<Self, Failure>;

    /// Whether it can serve.
    fn health(&mut self) -> Health {
        Health::Serving
    }
}

impl<T: Default + 'static> Plugin for T {
    fn start() -> Result<Self, Failure> {
        Ok(Self::default())
    }
}

/// A plugin with a place for its value. Implemented by [`export!`](crate::export) alone.
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub trait Held: Plugin {
    fn place() -> &'static LocalKey<RefCell<Option<Self>>>;
}

/// What the component exports in the name of `P`.
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
#[derive(Debug)]
pub struct Exported<P>(PhantomData<P>);

/// Says which roles the component exports: `export!(Tag: RequestInterceptor, FrameExtension)`.
///
/// The type implements the trait of each role: [`RequestInterceptor`](crate::RequestInterceptor),
/// [`ResponseInterceptor`](crate::ResponseInterceptor), [`FrameExtension`](crate::FrameExtension), [`Balancer`](crate::Balancer),
/// [`Authenticator`](crate::Authenticator), [`Authorizer`](crate::Authorizer),
/// [`EventHandler`](crate::EventHandler), and with the feature `async-streams` `AsyncStreamHandler`. The role `health` is exported as well. Where a
/// `#[service]` block already does that, say so:
///
/// ```
/// # use postern_guest::{Event, EventHandler, Result, kv};
/// #[derive(Default)]
/// struct Seen;
///
/// #[postern_guest::service]
/// impl Seen {
///     fn last() -> Result<Option<String>> { kv::get("last") }
/// }
///
/// impl EventHandler for Seen {
///     fn on_event(&mut self, event: Event) -> Result<()> { kv::set("last", &event.topic) }
/// }
///
/// postern_guest::export!(Seen: EventHandler; beside service);
/// ```
#[macro_export]
macro_rules! export {
    ($plugin:ident: $($role:ident),+ $(,)?) => {
        $crate::export!(@component $plugin [$($role)+ Health] [$($role)+]);
    };
    ($plugin:ident: $($role:ident),+; beside service) => {
        $crate::export!(@component $plugin [$($role)+] [$($role)+]);
    };
    (@component $plugin:ident [$($export:ident)+] [$($role:ident)+]) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated exports")]
        const _: () = {
            ::std::thread_local! {
                static VALUE: ::std::cell::RefCell<::std::option::Option<$plugin>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::plugin::Held for $plugin {
                fn place() -> &'static ::std::thread::LocalKey<
                    ::std::cell::RefCell<::std::option::Option<Self>>,
                > {
                    &VALUE
                }
            }

            type Exports = $crate::plugin::Exported<$plugin>;
            $($crate::export!(@role $export Exports);)+
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            $({
                const fn has_role<P: $crate::$role>() {}
                has_role::<$plugin>();
            })+
        };
    };
    (@role RequestInterceptor $exports:ident) => {
        $crate::bindings::request_interceptor::export_request_interceptor!(
            $exports with_types_in $crate::exports::request_interceptor
        );
    };
    (@role ResponseInterceptor $exports:ident) => {
        $crate::bindings::response_interceptor::export_response_interceptor!(
            $exports with_types_in $crate::exports::response_interceptor
        );
    };
    (@role FrameExtension $exports:ident) => {
        $crate::bindings::frame_extension::export_frame_extension!(
            $exports with_types_in $crate::exports::frame_extension
        );
    };
    (@role Balancer $exports:ident) => {
        $crate::bindings::balancer::export_balancer!($exports);
    };
    (@role Authenticator $exports:ident) => {
        $crate::bindings::authenticator::export_authenticator!(
            $exports with_types_in $crate::exports::authenticator
        );
    };
    (@role Authorizer $exports:ident) => {
        $crate::bindings::authorizer::export_authorizer!(
            $exports with_types_in $crate::exports::authorizer
        );
    };
    (@role EventHandler $exports:ident) => {
        $crate::bindings::event_handler::export_event_handler!(
            $exports with_types_in $crate::exports::event_handler
        );
    };
    (@role AsyncStreamHandler $exports:ident) => {
        $crate::bindings::async_stream_handler::export_async_stream_handler!($exports);
    };
    (@role Health $exports:ident) => {
        $crate::bindings::health::export_health!($exports);
    };
}
