//! Requests to APIs of the shapes that Google publishes, and what their methods are called with.

mod faults;
mod fixture;
mod replies;
mod requests;
