//! The command line: what can be asked for, and how an answer or a failure is shown.
//!
//! Exit codes: 0 done, 1 failed, 2 asked wrongly. Answers go to the standard output, everything else
//! to the standard error output; with `--output json` both are JSON.

mod admin;
mod build;
mod call;
mod check;
mod config;
mod dev;
mod failure;
mod inspect;
mod new;
mod output;
mod plugins;
mod progress;
mod publish;
mod run;
mod services;
mod sources;
mod subscribe;
mod target;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

use self::{
    failure::Failure,
    output::{Format, Output},
};
use crate::{
    config::{LoadError, Loaded, Source},
    sources::writers,
    telemetry,
};

/// An edge gateway whose handlers are WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "postern", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
struct Shared {
    /// Configuration file; `postern.toml` is read when it is there.
    #[arg(
        long,
        short,
        global = true,
        env = "POSTERN_CONFIG",
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    /// How to answer.
    #[arg(
        long,
        short,
        global = true,
        env = "POSTERN_OUTPUT",
        default_value = "text"
    )]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve.
    Run(run::RunArgs),
    /// Build the plugins in the plugin folder, serve, and build again what changes.
    Dev(run::RunArgs),
    /// Begin a plugin project.
    New(new::NewArgs),
    /// Build a plugin project into DIR/NAME.wasm.
    Build(build::BuildArgs),
    /// Check the configuration, the manifests and the components, without starting anything.
    Check(check::CheckArgs),
    /// Call a method of a service.
    Call(call::CallArgs),
    /// Publish an event.
    Pub(publish::PublishArgs),
    /// Print events as they come.
    Sub(subscribe::SubscribeArgs),
    /// Look at plugins of a running gateway, or roll one back.
    #[command(subcommand)]
    Plugins(plugins::PluginsCommand),
    /// Look at services of a running gateway.
    #[command(subcommand)]
    Services(services::ServicesCommand),
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
    let output = Output::new(cli.shared.output);
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

fn dispatch(cli: Cli, output: &Output) -> Result<(), Failure> {
    let Cli { shared, command } = cli;
    match command {
        Command::Run(args) => run::run(&shared, &args, output),
        Command::Dev(args) => dev::dev(&shared, &args, output),
        Command::New(args) => new::new(&args, output),
        Command::Build(args) => build::build(&args, output),
        Command::Check(args) => check::check(&shared, &args, output),
        Command::Call(args) => call::call(&shared, args, output),
        Command::Pub(args) => publish::publish(&shared, args, output),
        Command::Sub(args) => subscribe::subscribe(&shared, args, output),
        Command::Plugins(command) => plugins::plugins(&shared, command, output),
        Command::Services(command) => services::services(&shared, command, output),
        Command::Inspect(args) => inspect::inspect(&args, output),
        Command::Config(command) => config::config(&shared, &command, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "postern", &mut script);
            output.text(&String::from_utf8_lossy(&script))
        }
    }
}

impl Shared {
    /// As `load`, once nobody writes to the file any more.
    fn load_whole(&self, overrides: &[(&str, String)], output: &Output) -> Result<Loaded, Failure> {
        let source = Source::new(self.config.clone());
        let path = source.path();
        writers::wait_until_closed(path, || {
            let path = path.display();
            output.note(&format!(
                "{path} is being written; waiting until its writer closes it"
            ));
        });
        self.load(overrides, output)
    }

    /// The configuration of this file and environment, with `overrides` as variables on top.
    fn load(&self, overrides: &[(&str, String)], output: &Output) -> Result<Loaded, Failure> {
        let mut source = Source::new(self.config.clone());
        for (variable, value) in overrides {
            source
                .environment
                .insert((*variable).to_owned(), value.clone());
        }
        crate::config::load(&source).map_err(|error| match error {
            LoadError::Faults(faults) => Failure::faults(&faults, output),
            LoadError::Unreadable { .. } => {
                let failure = Failure::new(error.to_string());
                failure.with_remedy("`postern config default` writes one to begin with")
            }
        })
    }
}

/// Runs `future` to its end on a runtime of its own.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(format!("no runtime: {error}")))?;
    let result = runtime.block_on(future);
    // A task that blocks, such as a compiler that runs, must not hold up the end.
    runtime.shutdown_background();
    result
}

const EXAMPLES: &str = "\
Examples:
  postern dev                                    build the plugins, serve, build again what changes
  postern call users/ListUsers '{}'              call a method over VSTP
  postern call --transport http users/ListUsers  the same over HTTP
  postern sub 'user.*'                           print events of these topics
  postern new --lang rust greeter                begin a plugin
  postern plugins list                           what runs, and why a file was refused

Every key of the configuration has an environment twin: `postern config default` lists both.
Exit codes: 0 done, 1 failed, 2 wrong usage. NO_COLOR turns colours off.";

#[cfg(test)]
mod tests;
