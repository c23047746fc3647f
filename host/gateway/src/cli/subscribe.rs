//! `postern sub`.

use std::{future::pending, time::Duration};

use clap::Args;
use postern_core::{
    Call, Handler,
    event::{Delivery, SERVICE, TopicPattern},
};
use postern_net::Client;
use serde_json::json;

use super::{
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    runtime::block_on,
    target::{self, CallTarget, Caller, WrittenTarget},
};
use crate::{config::parse_duration, events::to_line};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern sub 'user.*'
  postern sub 'order.>' user.created --count 10 --timeout 1m
  postern sub '>' | jq .topic
  postern sub --durable billing 'orders.>'

Prints one line of JSON per event: topic, content-type, payload (payload-base64 where it is neither
JSON nor text), and missed: how many events were lost just before because this end was too slow.
`*` stands for one level of a topic, `>` for all that follow. With --durable the events come out of the
logs of durable topics: what was printed is acknowledged, and the next run under that name goes on there. Ends with 0 after --count events or at
the --timeout, and with 1 when the timeout came before the count or the session ended.")]
pub(super) struct SubscribeArgs {
    /// Which topics.
    #[arg(value_name = "PATTERN", required = true, value_parser = read_pattern)]
    topics: Vec<TopicPattern>,
    #[arg(long, short, env = "POSTERN_TRANSPORT", default_value = "tcp", help = target::help())]
    transport: WrittenTarget,
    /// Take events of durable topics under this name, and acknowledge what was printed.
    #[arg(long, value_name = "NAME")]
    durable: Option<String>,
    /// Begin with the oldest event that is kept, where nobody has used the name yet.
    #[arg(long, requires = "durable")]
    first: bool,
    /// How many events to wait for.
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How long to wait.
    #[arg(long, value_parser = parse_duration)]
    timeout: Option<Duration>,
}

pub(super) fn subscribe(
    options: &SharedOptions,
    args: SubscribeArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let config = args.transport.configuration(options, output)?;
    let target = args.transport.clone().resolve(&config)?;
    block_on(async {
        let client = connect(&target).await?;
        let over = async {
            match args.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => pending().await,
            }
        };
        let printing = print(&client, &args, output);
        let result = tokio::select! {
            result = printing => result,
            () = over => match args.count {
                Some(count) => Err(CommandFailure::new(format!(
                    "not all of {count} events came within the time"
                ))),
                None => Ok(()),
            },
        };
        client.close().await;
        result
    })
}

async fn connect(target: &CallTarget) -> Result<Client, CommandFailure> {
    match target.open(None).await? {
        Caller::Session(client) => Ok(client),
        Caller::Requests(_) => {
            let failure = CommandFailure::usage("events come over VSTP here");
            let remedy = "name a VSTP listener: --transport vstp://HOST:PORT, or read the stream \
                          with curl -N -H 'content-type: application/json' \
                          -d '{\"topics\":[\">\"]}' \
                          http://HOST:PORT/v1/services/events/subscribe";
            Err(failure.with_remedy(remedy))
        }
    }
}

/// Prints events until there were enough of them.
async fn print(
    client: &Client,
    args: &SubscribeArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let mut events = client.events();
    let topics: Vec<_> = args.topics.iter().map(TopicPattern::as_str).collect();
    let message = match &args.durable {
        None => json!({ "topics": topics }),
        Some(name) => {
            let start = if args.first { "first" } else { "new" };
            json!({ "topics": topics, "durable": name, "start": start })
        }
    };
    let message = message.to_string();
    client
        .call(Call::unary(SERVICE, "subscribe", message))
        .await
        .map_err(|error| CommandFailure::call(&error))?;
    output.note(&format!("subscribed to {}", topics.join(", ")));
    let mut n_printed = 0;
    while args.count.is_none_or(|count| n_printed < count) {
        let Some(delivery) = events.next().await else {
            return Err(CommandFailure::new("the session has ended"));
        };
        output.octets(&[&to_line(&delivery)[..], b"\n"].concat())?;
        acknowledge(client, &delivery).await?;
        n_printed += 1;
    }
    Ok(())
}

/// Says that an event of a durable topic was printed.
async fn acknowledge(client: &Client, delivery: &Delivery) -> Result<(), CommandFailure> {
    let Some(id) = delivery.event.headers.get_str("delivery") else {
        return Ok(());
    };
    let message = json!({ "deliveries": [id] }).to_string();
    let acknowledging = client.call(Call::unary(SERVICE, "acknowledge", message));
    let acknowledged = acknowledging.await;
    acknowledged.map_err(|error| CommandFailure::call(&error))?;
    Ok(())
}

fn read_pattern(text: &str) -> Result<TopicPattern, String> {
    TopicPattern::new(text).map_err(|error| error.to_string())
}
