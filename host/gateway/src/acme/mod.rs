//! Certificates that an authority issues by itself (ACME, RFC 8555): when one is due, what is said to the
//! authority, and the files that are kept of it. Each name has a certificate of its own.
//!
//! ```text
//! FOLDER/AUTHORITY/lock                     held by the gateway that orders
//!                 /account.json             key and number of the account
//!                 /certificates/NAME.pem    key and chain in one file, renamed into place
//!                 /certificates/NAME.json   failures since then: why, and when to try again
//!                 /challenges/...           what authorities are answered, while an order is under way
//! ```
//! Several gateways may share the folder. One orders, all answer what the authority asks, and those that
//! did not order take the certificate as any file that changes.
//!
//! **Invariant:** what is in force is taken away by no failure: a certificate is replaced by one that is
//! good, or stays.
//!
//! **Invariant:** keys stand in files that their owner alone reads, and nowhere else.

mod account;
mod answers;
mod client;
mod folder;
mod order;
mod standing;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    answers::Answers,
    folder::{AuthorityFolder, usable},
    order::{Authority, server_tls},
    standing::{Attempts, Pauses, Standing, date},
    status::{AcmeNumbers, AcmeStatus},
};
