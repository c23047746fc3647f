//! `postern certs list`: what the listeners of a configuration show.

use clap::Subcommand;
use serde_json::json;

use super::{failure::CommandFailure, options::SharedOptions, output::Output};
use crate::certificates::{Certificates, ShownCertificate, unix_seconds};

#[derive(Debug, Subcommand)]
pub(super) enum CertsCommand {
    /// Every certificate that a listener shows: its names, and when it expires.
    #[command(after_help = "\
Example:
  postern certs list --config edge.toml

Reads the files that the configuration names, as `postern run` does; a gateway need not run.")]
    List,
}

pub(super) fn certs(
    options: &SharedOptions,
    command: &CertsCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    let CertsCommand::List = command;
    let loaded = options.load(&[], output)?;
    let certificates = Certificates::open(&loaded.config);
    let certificates = certificates.map_err(|error| CommandFailure::new(error.to_string()))?;
    let shown = certificates.shown();
    if output.is_json() {
        let shown: Vec<_> = shown.iter().map(to_json).collect();
        return output.json(&json!({ "certificates": shown }));
    }
    if shown.is_empty() {
        return output.line("no listener has TLS");
    }
    let now = unix_seconds();
    let rows = shown.iter().map(|shown| {
        let info = &shown.info;
        let left = (info.not_after - now).div_euclid(DAY);
        vec![
            shown.table.clone(),
            info.name.clone(),
            names(shown).join(" "),
            format!("{left} days"),
        ]
    });
    output.table(&["TABLE", "FILE", "NAMES", "EXPIRES IN"], rows.collect())
}

fn names(shown: &ShownCertificate) -> Vec<String> {
    shown.info.names.iter().map(ToString::to_string).collect()
}

fn to_json(shown: &ShownCertificate) -> serde_json::Value {
    let info = &shown.info;
    json!({
        "table": shown.table,
        "file": info.name,
        "subject": &*info.subject,
        "names": names(shown),
        "not-before": info.not_before,
        "not-after": info.not_after,
        "fingerprint": info.fingerprint.to_string(),
    })
}

const DAY: i64 = 24 * 3600;
