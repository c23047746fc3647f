//! Calls through a cluster, on tokio's paused clock, with instances in memory.

mod crowding;
mod failing;
mod fixture;
mod following;
mod hedging;
mod placing;
mod spreading;
