//! `postern mqtt sessions list|info|disconnect`.

use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::{
    admin::{Admin, AdminArgs, path},
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    plugins::text,
    runtime::block_on,
};

#[derive(Debug, Subcommand)]
pub(super) enum MqttCommand {
    /// Sessions of clients, connected or kept.
    #[command(subcommand)]
    Sessions(SessionsCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// Every session: who it is, since when, and what waits for it.
    List(AdminArgs),
    /// One session, and what it is subscribed to.
    Info(ClientArgs),
    /// End the connection of a client. Its session is kept as it asked for.
    Disconnect(ClientArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct ClientArgs {
    /// Identifier of the client.
    client: String,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn mqtt(
    options: &SharedOptions,
    command: MqttCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    let MqttCommand::Sessions(command) = command;
    match command {
        SessionsCommand::List(args) => {
            let admin = Admin::new(options, &args, output)?;
            let reply = block_on(admin.read("/mqtt/sessions"))?;
            if output.is_json() {
                return output.json(&reply);
            }
            list(&reply, output)
        }
        SessionsCommand::Info(args) => {
            let admin = Admin::new(options, &args.admin, output)?;
            let session = block_on(admin.read(&path("mqtt/sessions", &args.client, "")))?;
            if output.is_json() {
                return output.json(&session);
            }
            info(&session, output)
        }
        SessionsCommand::Disconnect(args) => {
            let admin = Admin::new(options, &args.admin, output)?;
            let path = path("mqtt/sessions", &args.client, "/disconnect");
            let reply = block_on(admin.change(&path))?;
            if output.is_json() {
                return output.json(&reply);
            }
            output.line(&format!("{} is disconnected", args.client))
        }
    }
}

fn list(reply: &Json, output: &Output) -> Result<(), CommandFailure> {
    let sessions = reply.get("clients").and_then(Json::as_array);
    let row = |session: &Json| {
        vec![
            text(session, "/client"),
            state(session),
            text(session, "/version"),
            text(session, "/principal"),
            text(session, "/address"),
            text(session, "/subscriptions"),
            text(session, "/queued"),
            text(session, "/dropped"),
        ]
    };
    let head = [
        "CLIENT",
        "STATE",
        "VERSION",
        "PRINCIPAL",
        "ADDRESS",
        "SUBSCRIPTIONS",
        "QUEUED",
        "DROPPED",
    ];
    output.table(&head, sessions.into_iter().flatten().map(row).collect())
}

fn info(session: &Json, output: &Output) -> Result<(), CommandFailure> {
    output.line(&format!(
        "{}: {}, MQTT {}, principal {}, user name {}, {} {}, {} queued, {} dropped",
        text(session, "/client"),
        state(session),
        text(session, "/version"),
        text(session, "/principal"),
        text(session, "/user_name"),
        text(session, "/transport"),
        text(session, "/address"),
        text(session, "/queued"),
        text(session, "/dropped"),
    ))?;
    let filters = session.get("filters").and_then(Json::as_array);
    let row = |filter: &Json| vec![text(filter, "/filter"), text(filter, "/qos")];
    let rows = filters.into_iter().flatten().map(row).collect();
    output.table(&["FILTER", "QOS"], rows)
}

fn state(session: &Json) -> String {
    let is_connected = session.get("is_connected").and_then(Json::as_bool);
    if is_connected == Some(true) {
        "connected".to_owned()
    } else {
        "away".to_owned()
    }
}
