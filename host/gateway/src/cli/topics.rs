//! `postern topics list|info|consumers|events|forget`.

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
pub(super) enum TopicsCommand {
    /// Every log of events that are kept: what it holds, and how far its consumers are behind.
    List(AdminArgs),
    /// One log.
    Info(TopicArgs),
    /// Who takes events of one log under a durable name.
    Consumers(TopicArgs),
    /// Events that a log keeps; dead letters with what happened to them.
    #[command(after_help = "Example:\n  postern topics events 'dead-letter.>' --limit 10")]
    Events(EventsArgs),
    /// Forget a durable name and what it was to get.
    Forget(ForgetArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct TopicArgs {
    /// The log, as `list` shows it: the pattern of its table in the configuration.
    topic: String,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct EventsArgs {
    /// The log, as `list` shows it.
    topic: String,
    /// The first position.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ForgetArgs {
    /// The log, as `list` shows it.
    topic: String,
    /// The durable name, as `consumers` shows it.
    consumer: String,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn topics(
    options: &SharedOptions,
    command: TopicsCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    match command {
        TopicsCommand::List(args) => {
            let reply = ask(options, &args, "/topics", output)?;
            show(&reply, output, || list(&items(&reply, "topics"), output))
        }
        TopicsCommand::Info(args) => {
            let log = ask(
                options,
                &args.admin,
                &path("topics", &args.topic, ""),
                output,
            )?;
            show(&log, output, || list(std::slice::from_ref(&log), output))
        }
        TopicsCommand::Consumers(args) => {
            let log = ask(
                options,
                &args.admin,
                &path("topics", &args.topic, ""),
                output,
            )?;
            show(&log, output, || {
                consumers(&items(&log, "consumers"), output)
            })
        }
        TopicsCommand::Events(args) => {
            let (from, limit) = (args.from, args.limit);
            let end = format!("/events?from={from}&limit={limit}");
            let reply = ask(
                options,
                &args.admin,
                &path("topics", &args.topic, &end),
                output,
            )?;
            show(&reply, output, || events(&items(&reply, "events"), output))
        }
        TopicsCommand::Forget(args) => {
            let admin = Admin::new(options, &args.admin, output)?;
            let end = path("consumers", &args.consumer, "/delete");
            let reply = block_on(admin.change(&path("topics", &args.topic, &end)))?;
            show(&reply, output, || {
                let (consumer, topic) = (&args.consumer, &args.topic);
                output.line(&format!("{consumer} of {topic} is forgotten"))
            })
        }
    }
}

fn ask(
    options: &SharedOptions,
    args: &AdminArgs,
    path: &str,
    output: &Output,
) -> Result<Json, CommandFailure> {
    let admin = Admin::new(options, args, output)?;
    block_on(admin.read(path))
}

fn show(
    reply: &Json,
    output: &Output,
    table: impl FnOnce() -> Result<(), CommandFailure>,
) -> Result<(), CommandFailure> {
    match output.is_json() {
        true => output.json(reply),
        false => table(),
    }
}

fn items(reply: &Json, key: &str) -> Vec<Json> {
    let items = reply.get(key).and_then(Json::as_array);
    items.cloned().unwrap_or_default()
}

fn list(logs: &[Json], output: &Output) -> Result<(), CommandFailure> {
    let row = |log: &Json| {
        let consumers = items(log, "consumers");
        let number = |consumer: &Json, key: &str| consumer.get(key).and_then(Json::as_u64);
        let most = consumers
            .iter()
            .filter_map(|one| number(one, "pending"))
            .max();
        let dead: u64 = consumers.iter().filter_map(|one| number(one, "dead")).sum();
        vec![
            text(log, "/topic"),
            text(log, "/store"),
            text(log, "/events"),
            text(log, "/bytes"),
            text(log, "/first"),
            text(log, "/last"),
            consumers.len().to_string(),
            most.unwrap_or(0).to_string(),
            dead.to_string(),
            text(log, "/fault"),
        ]
    };
    let head = [
        "TOPIC",
        "STORE",
        "EVENTS",
        "BYTES",
        "FIRST",
        "LAST",
        "CONSUMERS",
        "PENDING MAX",
        "DEAD",
        "FAULT",
    ];
    output.table(&head, logs.iter().map(row).collect())
}

fn consumers(consumers: &[Json], output: &Output) -> Result<(), CommandFailure> {
    let row = |consumer: &Json| {
        let topics = items(consumer, "topics");
        let topics: Vec<_> = topics.iter().filter_map(Json::as_str).collect();
        vec![
            text(consumer, "/name"),
            topics.join(", "),
            text(consumer, "/acknowledged"),
            text(consumer, "/pending"),
            text(consumer, "/in_flight"),
            text(consumer, "/redelivered"),
            text(consumer, "/dead"),
            text(consumer, "/members"),
        ]
    };
    let head = [
        "CONSUMER",
        "TOPICS",
        "ACKNOWLEDGED",
        "PENDING",
        "IN FLIGHT",
        "REDELIVERED",
        "DEAD",
        "MEMBERS",
    ];
    output.table(&head, consumers.iter().map(row).collect())
}

fn events(events: &[Json], output: &Output) -> Result<(), CommandFailure> {
    events
        .iter()
        .try_for_each(|event| output.octets(format!("{event}\n").as_bytes()))
}
