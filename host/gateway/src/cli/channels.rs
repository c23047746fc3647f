//! `postern channels list`.

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
pub(super) enum ChannelsCommand {
    /// Every channel: its brokers in the order of preference, which one carries, how each is.
    List(AdminArgs),
}

pub(super) fn channels(
    options: &SharedOptions,
    command: &ChannelsCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    let ChannelsCommand::List(args) = command;
    let admin = Admin::new(options, args, output)?;
    let reply = block_on(admin.read("/channels"))?;
    if output.is_json() {
        return output.json(&reply);
    }
    let channels = reply.get("channels").and_then(Json::as_array);
    let rows = channels.into_iter().flatten().flat_map(rows);
    let head = [
        "CHANNEL", "BROKER", "PROTOCOL", "CARRIES", "STATE", "SECONDS", "SENT", "FAILED",
        "RECEIVED", "SWITCHES", "LOST", "FAULT",
    ];
    output.table(&head, rows.collect())
}

/// A row for each broker; what is of the channel stands in the first.
fn rows(channel: &Json) -> Vec<Vec<String>> {
    let members = channel.get("members").and_then(Json::as_array);
    let row = |(index, member): (usize, &Json)| {
        let of_channel = |pointer: &str| match index {
            0 => text(channel, pointer),
            _ => String::new(),
        };
        let carries = member.get("is-current").and_then(Json::as_bool);
        let seconds = member.get("seconds").and_then(Json::as_f64);
        vec![
            of_channel("/name"),
            text(member, "/broker"),
            text(member, "/protocol"),
            if carries == Some(true) { "yes" } else { "" }.to_owned(),
            text(member, "/state"),
            seconds.map_or_else(String::new, |seconds| format!("{seconds:.0}")),
            text(member, "/sent"),
            text(member, "/failed"),
            text(member, "/received"),
            of_channel("/switches"),
            of_channel("/lost"),
            text(member, "/fault"),
        ]
    };
    members.into_iter().flatten().enumerate().map(row).collect()
}
