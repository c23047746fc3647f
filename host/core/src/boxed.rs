//! A future in a box, as the joint and everything beside it gives.

use std::pin::Pin;

/// A boxed future that owns what it needs. Dropping it cancels what it stands for.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;
