//! `postern pub`.

use std::time::Duration;

use clap::Args;
use postern_core::{
    Call, Context, Headers,
    event::{PUBLISH, SERVICE, check_topic},
};
use postern_system::clock;

use super::{
    call,
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    runtime::block_on,
    target::{self, WrittenTarget},
};
use crate::config::parse_duration;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern pub user.created '{\"id\":\"1\"}'
  postern pub --raw --content-type text/plain log.line 'no JSON at all'
  echo '{\"id\":\"1\"}' | postern pub user.created -

Prints how many subscribers there were. An event of a durable topic is stored by then (postern topics
list). Of others delivery is at most once: a subscriber whose queue is full loses its oldest event.")]
pub(super) struct PublishArgs {
    /// What happened: names parted by dots.
    #[arg(value_name = "TOPIC", value_parser = read_topic)]
    topic: String,
    /// The payload; `-` reads it from the standard input.
    #[arg(value_name = "JSON", default_value = "{}")]
    payload: String,
    #[arg(long, short, env = "POSTERN_TRANSPORT", default_value = "tcp", help = target::help())]
    transport: WrittenTarget,
    /// What the payload is; `application/json`, or `application/octet-stream` with --raw.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// How long to wait for the answer.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
    /// Send the payload as it is, whether it is JSON or not.
    #[arg(long)]
    raw: bool,
}

pub(super) fn publish(
    options: &SharedOptions,
    args: PublishArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let payload = call::read_message(&args.payload, args.raw)?;
    let config = args.transport.configuration(options, output)?;
    let target = args.transport.clone().resolve(&config)?;
    let headers = headers(&args)?;
    let context = Context {
        deadline: clock::now().checked_add(args.timeout),
        ..Context::default()
    };
    let call = Call {
        headers,
        context,
        ..Call::unary(SERVICE, PUBLISH, payload)
    };
    block_on(async {
        let (reply, _session) = call::send(&target, call, args.timeout).await?;
        call::print(reply, output).await
    })
}

fn headers(args: &PublishArgs) -> Result<Headers, CommandFailure> {
    let default = if args.raw {
        "application/octet-stream"
    } else {
        "application/json"
    };
    let content_type = args.content_type.as_deref().unwrap_or(default);
    let mut headers = Headers::new();
    headers
        .push("event-type", &args.topic)
        .and_then(|()| headers.push("content-type", content_type))
        .map_err(|error| CommandFailure::usage(format!("--content-type: {error}")))?;
    Ok(headers)
}

fn read_topic(text: &str) -> Result<String, String> {
    check_topic(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}
