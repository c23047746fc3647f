//! One suite over every link. `each_link!` makes a module of tests per link; what a test needs of a
//! link is in `links.rs`, the handler in `service.rs`.

mod calls;
mod datagrams;
mod links;
mod service;
mod sessions;
