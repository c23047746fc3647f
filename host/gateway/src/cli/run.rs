//! `postern run`.

use std::{fmt::Write as _, path::PathBuf, sync::mpsc, thread, time::Duration};

use clap::Args;
use postern_net::{PassedSockets, Shutdown};
use serde_json::json;

use super::{failure::CommandFailure, options::SharedOptions, output::Output, runtime::block_on};
use crate::{
    app::{self, ServingAddresses, StartError},
    config::Loaded,
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  postern run
  postern run --config /etc/postern.toml --plugins /srv/plugins
  POSTERN_LISTENERS_VSTP_ADDRESS=127.0.0.1:9091 postern run

SIGTERM, SIGQUIT and ctrl-c drain: the gateway says that it is not ready, takes calls for drain-delay
more, then nothing new, and finishes what is in flight. The second ends at once. SIGHUP reads the
configuration and key files again. Logs go to the standard error output.")]
pub(super) struct RunArgs {
    /// Folder of plugins, in the place of the configured one.
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Folder for what the gateway writes, in the place of the configured one.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl RunArgs {
    /// The configuration, with these options as if they were environment variables.
    pub(super) fn load(
        &self,
        options: &SharedOptions,
        output: &Output,
    ) -> Result<Loaded, CommandFailure> {
        self.load_over(Vec::new(), options, output)
    }

    /// As `load`; `further` are other variables.
    pub(super) fn load_over(
        &self,
        further: Vec<(&str, String)>,
        options: &SharedOptions,
        output: &Output,
    ) -> Result<Loaded, CommandFailure> {
        let variables = [
            ("POSTERN_PLUGINS_FOLDER", &self.plugins),
            ("POSTERN_DATA_DIR", &self.data_dir),
        ];
        let written = |(variable, folder): (&'static str, &Option<PathBuf>)| {
            Some((variable, folder.as_ref()?.to_string_lossy().into_owned()))
        };
        let overrides = variables.into_iter().filter_map(written);
        let overrides: Vec<_> = overrides.chain(further).collect();
        options.load_whole(&overrides, output)
    }
}

pub(super) fn run(
    options: &SharedOptions,
    args: &RunArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let passed = PassedSockets::from_environment();
    let loaded = args.load(options, output)?;
    block_on(async {
        let announce = |serving: &ServingAddresses| announce(serving, output);
        Box::pin(app::run(loaded, passed, Shutdown::new(), announce))
            .await
            .map_err(|error| failure(&error))
    })
}

/// Where it serves, for people or programs.
pub(super) fn announce(serving: &ServingAddresses, output: &Output) {
    let text = if output.is_json() {
        let bound_addresses = serving.listeners.iter().flat_map(|(name, bound_addresses)| {
            bound_addresses.iter().map(move |bound| {
                json!({ "listener": name, "transport": bound.transport.name(), "address": bound.address.to_string() })
            })
        });
        let bound_addresses = json!({
            "listeners": bound_addresses.collect::<Vec<_>>(),
            "admin": serving.admin.as_ref().map(ToString::to_string),
            "plugins": serving.plugin_folder,
        });
        format!("{bound_addresses}\n")
    } else {
        table(serving)
    };
    let (output, (done, is_done)) = (*output, mpsc::channel());
    // A thread of its own, which ends with the process: the gateway serves whether somebody reads this
    // or not.
    thread::spawn(move || {
        if let Err(failure) = output.text(&text) {
            tracing::debug!(reason = failure.message, "not announced");
        }
        // Nobody waits any more when it took long.
        let _ = done.send(());
    });
    if is_done.recv_timeout(ANNOUNCE_MAX).is_err() {
        tracing::warn!(
            "nobody reads the standard output; where the gateway serves is not told there"
        );
    }
}

/// How long the start waits for whoever reads the standard output.
const ANNOUNCE_MAX: Duration = Duration::from_secs(1);

fn table(serving: &ServingAddresses) -> String {
    let mut text = format!("postern {}\n", env!("CARGO_PKG_VERSION"));
    // Writing to a `String` does not fail.
    for (name, bound_addresses) in &serving.listeners {
        for bound in bound_addresses {
            let _ = writeln!(
                text,
                "  {name:<8} {:<6} {}",
                bound.transport.name(),
                bound.address
            );
        }
    }
    if let Some(address) = &serving.admin {
        let _ = writeln!(text, "  {:<8} {:<6} {address}", "admin", "http");
    }
    let _ = writeln!(
        text,
        "  {:<8} {}",
        "plugins",
        serving.plugin_folder.display()
    );
    text
}

pub(super) fn failure(error: &StartError) -> CommandFailure {
    let failure = CommandFailure::new(error.to_string());
    match error {
        StartError::Bind(_) => {
            failure.with_remedy("is another gateway running? stop it, or configure another address")
        }
        StartError::Log(_)
        | StartError::DataDir { .. }
        | StartError::Runtime(_)
        | StartError::Guard(_)
        | StartError::Owner(_)
        | StartError::Certificates(_)
        | StartError::UpstreamSchemas(_)
        | StartError::Directory(_)
        | StartError::Schemas(_)
        | StartError::Store(_)
        | StartError::Events(_)
        | StartError::Topics(_)
        | StartError::Mqtt(_)
        | StartError::KeyValues(_)
        | StartError::Pool(_)
        | StartError::Signals(_) => failure,
    }
}
