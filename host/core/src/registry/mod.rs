//! placeholder
pub mod address;
pub mod entry;
pub mod health;
pub mod lease;
pub mod owner;
pub mod query;
pub mod value;
pub mod version;
