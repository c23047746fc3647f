//! How a plugin is entered: one file per role. Each has the functions of its role with their shapes, what
//! it puts into a store and takes out of it, and the choice of the call path: inline or async, in a
//! batch or not.

pub(crate) mod async_stream;
pub(crate) mod balancer;
pub(crate) mod batch;
pub(crate) mod describe;
pub(crate) mod event;
pub(crate) mod first_answers;
pub(crate) mod frame;
pub(crate) mod handler;
pub(crate) mod health;
pub(crate) mod identity;
pub(crate) mod interceptor;
pub(crate) mod role_call;
pub(crate) mod schemas;
pub(crate) mod stream;
pub(crate) mod text;
pub(crate) mod web;
