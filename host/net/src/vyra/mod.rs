//! Unix sockets as VYRA's peers use them: a request for each connection of a stream socket, and datagrams
//! for whoever has said by a file which topic it wants.

mod datagrams;
mod requests;

pub use self::{
    datagrams::{VyraSubscriber, publish},
    requests::{VyraHandler, VyraRequestServer, request},
};
