//! The way of calls, on tokio's paused clock, with instances in memory.

mod crowding;
mod failing;
mod following;
mod hedging;
mod placing;
mod spreading;
mod stage;
