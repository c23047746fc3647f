//! What a Postern plugin written in Rust imports.
//!
//! A service is an `impl` block. Arguments and results are serde types, carried as JSON:
//!
//! ```
//! use postern_guest::{Failure, kv};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Key { key: String }
//! #[derive(Deserialize)]
//! struct Entry { key: String, value: String }
//! #[derive(Serialize)]
//! struct Found { value: String }
//!
//! struct Notes;
//!
//! /// Remembers short texts.
//! #[postern_guest::service]
//! impl Notes {
//!     /// Keeps a text.
//!     fn put(entry: Entry) -> Result<(), Failure> { kv::set(&entry.key, &entry.value) }
//!     /// Finds a text again.
//!     fn find(Key { key }: Key) -> Result<Found, Failure> {
//!         let value = kv::get(&key)?;
//!         Ok(Found { value: value.ok_or_else(|| Failure::not_found(format!("no note `{key}`")))? })
//!     }
//!     /// Forgets a text. Says whether there was one.
//!     fn forget(Key { key }: Key) -> Result<bool, Failure> { kv::delete(&key) }
//! }
//! ```
//!
//! The component exports the roles that the block needs and no others; see [`macro@service`]. Roles
//! that stand in the way of calls are traits, exported by [`export!`]: [`interceptor`], [`frame`],
//! [`balancer`], [`identity`], [`event`], `async_stream`.
//!
//! What the host offers is in [`call`], [`log`], [`config`], [`kv`], [`client`], [`events`], [`metrics`]
//! and [`directory`].
//! Compiled for anything but wasm32, the same modules speak to the [`fake`] host, so that `cargo
//! test` needs no gateway.

#[cfg(any(not(target_arch = "wasm32"), feature = "async-streams"))]
pub mod async_stream;
pub mod balancer;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
mod body;
pub mod call;
pub mod client;
#[cfg(target_arch = "wasm32")]
mod component;
pub mod config;
pub mod directory;
pub mod event;
pub mod events;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod exports;
mod failure;
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
pub mod frame;
pub mod identity;
pub mod interceptor;
pub mod kv;
pub mod log;
pub mod metrics;
#[doc(hidden)]
pub mod plugin;
mod proto;
#[doc(hidden)]
pub mod schema;
pub mod service;
#[doc(hidden)]
pub mod services;
mod stream;

#[cfg(any(not(target_arch = "wasm32"), feature = "async-streams"))]
pub use crate::async_stream::{AsyncReply, AsyncRequest, AsyncStreamHandler};
#[cfg(target_arch = "wasm32")]
use crate::component as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::fake::seam as host;
pub use crate::{
    balancer::{Balancer, Candidates, Instance, Outcome},
    body::{Decode, Encode, Octets},
    event::{Event, EventHandler},
    failure::{Failure, Kind},
    frame::{Direction, Frame, FrameExtension, FrameHead, FrameKind, Verdict},
    identity::{Authenticator, Authorizer, Credentials, Identity},
    interceptor::{Action, Reply, Request, RequestInterceptor, Response, ResponseInterceptor},
    plugin::Plugin,
    schema::JsonSchema,
    service::{Health, Service},
    stream::{Incoming, Outgoing},
};
/// Turns an `impl` block into the service that the component exports.
///
/// **Methods.** Every function of the block is a method, named in PascalCase (`get_user` is
/// `GetUser`) unless `#[method(name = "...")]` says otherwise. Keep other functions in a block of
/// their own. Functions may take `&self`; the value is then made once per instance by `Default`.
/// The first paragraph of a doc comment, of the block or of a function, is the summary that
/// `describe` tells.
///
/// **Shapes.** Any serde type goes in and out as JSON, [`Octets`] as they are. A function returns a
/// value or a `Result` whose error converts into [`Failure`]. [`Incoming`] and [`Outgoing`] make the
/// method streaming:
///
/// ```
/// # use postern_guest::{Failure, Incoming, Outgoing};
/// # struct Sums;
/// #[postern_guest::service]
/// impl Sums {
///     fn double(number: f64) -> f64 { number * 2.0 }
///     fn total(numbers: Incoming<f64>) -> Result<f64, Failure> { numbers.sum() }
///     fn count(up_to: u32, mut out: Outgoing<u32>) -> Result<(), Failure> {
///         (1..=up_to).try_for_each(|number| out.send(number))
///     }
///     fn doubles(numbers: Incoming<f64>, mut out: Outgoing<f64>) -> Result<(), Failure> {
///         numbers.into_iter().try_for_each(|number| out.send(number? * 2.0))
///     }
/// }
/// ```
///
/// **Options.** On the block: `#[service(name = "users", version = "1.2.0")]`; the defaults are the
/// type's name in kebab-case and the crate's version. With `text` the messages of unary methods are text,
/// JSON for example; with `part` it is one of several services of the component, which [`services!`] exports.
/// On a method: `#[method(name = "..")]`,
/// `#[method(idempotent)]` (a second identical call changes nothing more), `#[method(fallback)]`:
/// answers every method without a function of its own, and takes the method's name as `&str` before
/// anything else. `#[health]` marks a function without arguments that returns [`Health`]; without
/// one the plugin is always [`Health::Serving`].
///
/// **Schemas.** What a method takes and gives has a JSON Schema where its type implements [`JsonSchema`]:
/// numbers, texts and lists of such do, and of your own types those with
/// `#[derive(schemars::JsonSchema)]`. The gateway types parameters by it, checks requests where a route
/// asks for it, and shows it in OpenAPI. Doc comments are its descriptions.
///
/// **Exports.** `postern:gateway/describe`, `schemas` and `health` always, `handler` and `batch-handler` if there
/// is a unary method, or with `text` in their place `text-handler`, `stream-handler` if there is a streaming one. One block per component, or several that [`services!`] lists.
pub use postern_guest_macros::service;

/// What a method returns most of the time.
pub type Result<T, E = Failure> = core::result::Result<T, E>;
