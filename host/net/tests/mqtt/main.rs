//! The MQTT broker from raw packets over links in memory: what it answers, octet by octet, and who gets
//! what. Time is virtual.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect must fail"
)]

mod client;
mod connecting;
mod faults;
mod fixture;
mod flow;
mod publishing;
mod sessions;
mod shares;
mod store;
mod stored;
mod subscribing;
mod wills;
