//! The patterns of VYRA, revision J: names, messages and JSON as its peers write them. Pure.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `name` | topics, and the channels, keys and socket files of each |
//! | `python_json` | JSON as `json.dumps` of Python writes it |
//! | `message` | what goes over the channels, read and written |
//! | `goal` | a goal: its states, and which item of a stream is feedback and which the result |
//! | `frame` | the length before a message on a stream socket |
//!
//! VYRA's messages have no version and no marks, so whatever does not fit is passed over as its peers pass
//! it over: told to nobody.

mod frame;
mod goal;
mod message;
mod name;
mod python_json;

pub use self::{
    frame::{FRAME_HEAD_BYTES, frame, frame_length},
    goal::{GoalItem, GoalItems, GoalStatus},
    message::{
        VyraAnswer, VyraCancel, VyraCancelAnswer, VyraGoal, VyraRequest, VyraResponse, VyraUpdate,
        as_published, as_result, goal_state, is_object, status_of,
    },
    name::{NameError, VyraModule, VyraTopic, is_goal_id, uuid4},
    python_json::{dumps, push_text},
};

/// How long the state, the feedback and the result of a goal are kept.
pub const KEY_EXPIRY_SECONDS: u64 = 3600;
/// Longest datagram that a peer reads.
pub const DATAGRAM_BYTES_MAX: usize = 65_536;
