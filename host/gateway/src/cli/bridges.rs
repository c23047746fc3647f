//! `postern bridges list`.

use clap::Subcommand;
use serde_json::Value as Json;

use super::{
    admin::{Admin, AdminArgs},
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    plugins::text,
    runtime::block_on,
};

#[derive(Debug, Subcommand)]
pub(super) enum BridgesCommand {
    /// Every bridge: whether its broker is connected, and what became of its messages.
    List(AdminArgs),
}

pub(super) fn bridges(
    options: &SharedOptions,
    command: &BridgesCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    let BridgesCommand::List(args) = command;
    let admin = Admin::new(options, args, output)?;
    let reply = block_on(admin.read("/bridges"))?;
    if output.is_json() {
        return output.json(&reply);
    }
    let bridges = reply.get("bridges").and_then(Json::as_array);
    let row = |bridge: &Json| {
        let is_connected = bridge.get("is_connected").and_then(Json::as_bool);
        let state = match is_connected {
            Some(true) => "connected".to_owned(),
            Some(false) | None => text(bridge, "/reason"),
        };
        let count = |key: &str| text(bridge, &format!("/{key}"));
        vec![
            text(bridge, "/name"),
            text(bridge, "/url"),
            text(bridge, "/version"),
            state,
            count("taken"),
            count("refused"),
            count("looped"),
            count("sent"),
            count("queued"),
            count("dropped"),
        ]
    };
    let head = [
        "BRIDGE", "URL", "MQTT", "STATE", "IN", "REFUSED", "LOOPED", "OUT", "QUEUED", "DROPPED",
    ];
    output.table(&head, bridges.into_iter().flatten().map(row).collect())
}
