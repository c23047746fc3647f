//! Services of this gateway at an agent of Consul, so that programs of velithon, and of others, find it there.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `registration` | what is to be registered, and what is done about it; pure |
//! | `agent` | the agent's interface over HTTP |
//! | `follower` | doing it, until the gateway leaves |

mod agent;
mod follower;
mod registration;

pub(crate) use self::follower::follow;
