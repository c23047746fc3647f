//! The command line: what can be asked for, and how an answer or a failure is shown.
//!
//! Exit codes: 0 done, 1 failed, 2 asked wrongly. Answers go to the standard output, everything else
//! to the standard error output; with `--output json` both are JSON.

mod admin;
mod approval;
mod bridges;
mod build;
mod call;
mod certs;
mod channels;
mod check;
mod component;
mod config;
mod dev;
mod failure;
mod inspect;
mod message_lines;
mod mqtt;
mod new;
mod openapi;
mod options;
mod output;
mod plugin_usage;
mod plugin_versions;
mod plugins;
mod progress;
mod publish;
mod pull;
mod record;
mod replays;
mod run;
mod runtime;
mod services;
mod shadow;
mod sources;
mod stores;
mod subscribe;
mod target;
mod test;
mod topics;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::{failure::CommandFailure, options::SharedOptions, output::Output};
use crate::telemetry;

/// An edge gateway whose handlers are WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "postern", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    options: SharedOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve.
    Run(run::RunArgs),
    /// Build the plugins in the plugin folder, serve, and build again what changes. Builds run code of the projects: build only what
    /// you trust.
    Dev(run::RunArgs),
    /// Begin a plugin project.
    New(new::NewArgs),
    /// Build a plugin project into DIR/NAME.wasm.
    Build(build::BuildArgs),
    /// Run the unit tests of a plugin project, then replay its recorded calls.
    Test(test::TestArgs),
    /// Look into a component file, whoever made it.
    #[command(subcommand)]
    Component(component::ComponentCommand),
    /// Check the configuration, the manifests and the components, without starting anything.
    Check(check::CheckArgs),
    /// Call a method of a service.
    Call(call::CallArgs),
    /// Publish an event.
    Pub(publish::PublishArgs),
    /// Print events as they come.
    Sub(subscribe::SubscribeArgs),
    /// Look at plugins of a running gateway, approve or roll one back; fetch one from a registry.
    #[command(subcommand)]
    Plugins(plugins::PluginsCommand),
    /// Keep calls of a plugin of a running gateway in a file, to be replayed.
    Record(record::RecordArgs),
    /// Look at services of a running gateway.
    #[command(subcommand)]
    Services(services::ServicesCommand),
    /// Look at clients of MQTT of a running gateway, or disconnect one.
    #[command(subcommand)]
    Mqtt(mqtt::MqttCommand),
    /// Look at bridges of a running gateway to brokers of others.
    #[command(subcommand)]
    Bridges(bridges::BridgesCommand),
    /// Look at the stores of a running gateway.
    #[command(subcommand)]
    Stores(stores::StoresCommand),
    /// Look at channels of a running gateway.
    #[command(subcommand)]
    Channels(channels::ChannelsCommand),
    /// Look at events of a running gateway that are kept, and at those who take them.
    #[command(subcommand)]
    Topics(topics::TopicsCommand),
    /// Print what a running gateway may be asked, as OpenAPI 3.1.
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApiArgs),
    /// Look at the certificates that listeners show, or make some to develop with.
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Decode frames: from hex, from a capture file, or live as a relay.
    Inspect(inspect::InspectArgs),
    /// Print the configuration's schema, defaults, or effective values.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  postern completions bash > /etc/bash_completion.d/postern")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // Ends the process by itself: with 2 for a wrong command line, with 0 for help and version.
    let cli = Cli::parse();
    let output = Output::new(cli.options.output);
    let result = dispatch(cli, &output);
    telemetry::log::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}

fn dispatch(cli: Cli, output: &Output) -> Result<(), CommandFailure> {
    let Cli { options, command } = cli;
    match command {
        Command::Run(args) => run::run(&options, &args, output),
        Command::Dev(args) => dev::dev(&options, &args, output),
        Command::New(args) => new::new(&args, output),
        Command::Build(args) => build::build(&args, output),
        Command::Test(args) => test::test(&options, &args, output),
        Command::Component(command) => component::component(&command, output),
        Command::Check(args) => check::check(&options, &args, output),
        Command::Call(args) => call::call(&options, args, output),
        Command::Pub(args) => publish::publish(&options, args, output),
        Command::Sub(args) => subscribe::subscribe(&options, args, output),
        Command::Plugins(command) => plugins::plugins(&options, command, output),
        Command::Record(args) => record::record(&options, &args, output),
        Command::Services(command) => services::services(&options, command, output),
        Command::Mqtt(command) => mqtt::mqtt(&options, command, output),
        Command::Bridges(command) => bridges::bridges(&options, &command, output),
        Command::Stores(command) => stores::stores(&options, command, output),
        Command::Channels(command) => channels::channels(&options, &command, output),
        Command::Topics(command) => topics::topics(&options, command, output),
        Command::OpenApi(args) => openapi::openapi(&options, &args, output),
        Command::Certs(command) => certs::certs(&options, &command, output),
        Command::Inspect(args) => inspect::inspect(&args, output),
        Command::Config(command) => config::config(&options, &command, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "postern", &mut script);
            output.text(&String::from_utf8_lossy(&script))
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  postern dev                                    build the plugins, serve, build again what changes
  postern call users/ListUsers '{}'              call a method over VSTP
  postern call --transport http users/ListUsers  the same over HTTP
  postern sub 'user.*'                           print events of these topics
  postern new --lang rust greeter                begin a plugin; also python, js, ts, go, c
  postern plugins list                           what runs, and why a file was refused
  postern plugins approve users                  let a version run that asks for more

Every key of the configuration has an environment twin: `postern config default` lists both.
Exit codes: 0 done, 1 failed, 2 wrong usage. NO_COLOR turns colours off.";

#[cfg(test)]
mod tests;
