//! `postern certs`: what the listeners of a configuration show, and certificates to develop with.

use std::{collections::BTreeMap, fs, path::PathBuf, time::UNIX_EPOCH};

use clap::{Args, Subcommand};
use postern_system::clock;
use serde_json::json;

use super::{failure::CommandFailure, options::SharedOptions, output::Output};
use crate::{
    acme::{self, AuthorityFolder, Standing},
    certificates::{Certificates, ShownCertificate, unix_seconds},
    local_authority::{self, LEAF_LIFE, LeafNames, LocalCertificates, LocalCertificatesError},
    private_file,
};

#[derive(Debug, Subcommand)]
pub(super) enum CertsCommand {
    /// Every certificate that a listener shows: its names, and when it expires; of those that an authority
    /// issues when they are renewed, or why there is none.
    #[command(after_help = "\
Example:
  postern certs list --config edge.toml

Reads the files that the configuration names, as `postern run` does; a gateway need not run.")]
    List,
    /// Make an authority for this machine, and a certificate for localhost.
    #[command(after_help = "\
Examples:
  postern certs dev                        tls/localhost.pem for localhost, 127.0.0.1 and ::1
  postern certs dev certs --name api.test  certs/localhost.pem, for api.test, too
  postern certs dev --hosts-only           for localhost alone: clients with BoringSSL take it

The authority may vouch for these names only. It is made anew each time.")]
    Dev(DevArgs),
}

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// Where the files go.
    #[arg(default_value = "tls")]
    folder: PathBuf,
    /// A further name or IP address; may be repeated.
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Leave addresses out of the certificate. Clients with BoringSSL (grpcio, Envoy) take no certificate with an
    /// address of an authority that may vouch for some addresses only.
    #[arg(long)]
    hosts_only: bool,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

pub(super) fn certs(
    options: &SharedOptions,
    command: &CertsCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    match command {
        CertsCommand::List => list(options, output),
        CertsCommand::Dev(args) => dev(args, output),
    }
}

fn list(options: &SharedOptions, output: &Output) -> Result<(), CommandFailure> {
    let loaded = options.load(&[], output)?;
    let certificates = Certificates::open(&loaded.config);
    let certificates = certificates.map_err(|error| CommandFailure::new(error.to_string()))?;
    let shown = certificates.shown();
    let folder = AuthorityFolder::of(&loaded.config);
    let names = loaded.config.acme_names();
    let issued: Vec<_> = names.iter().map(|name| folder.standing(name)).collect();
    if output.is_json() {
        let shown: Vec<_> = shown.iter().map(to_json).collect();
        let issued: Vec<_> = issued.iter().map(standing_to_json).collect();
        return output.json(&json!({ "certificates": shown, "acme": issued }));
    }
    if shown.is_empty() && issued.is_empty() {
        return output.line("no listener has TLS");
    }
    let files = issued.iter().map(|standing| {
        let path = folder.issued(&standing.name);
        (std::path::absolute(&path).unwrap_or(path), standing)
    });
    let files: BTreeMap<_, _> = files.collect();
    let now = unix_seconds();
    let mut rows: Vec<_> = shown
        .iter()
        .map(|shown| {
            let info = &shown.info;
            let left = (info.not_after - now).div_euclid(DAY);
            let standing = files.get(&PathBuf::from(&info.name));
            vec![
                shown.table.clone(),
                info.name.clone(),
                names_of(shown).join(" "),
                format!("{left} days"),
                standing.map_or_else(String::new, |standing| renewed(standing, now)),
            ]
        })
        .collect();
    for standing in issued.iter().filter(|one| one.info.is_none()) {
        let name = format!("DNS:{}", standing.name);
        let cell = String::new;
        rows.push(vec![
            "acme".to_owned(),
            cell(),
            name,
            cell(),
            renewed(standing, now),
        ]);
    }
    output.table(&["TABLE", "FILE", "NAMES", "EXPIRES IN", "RENEWED"], rows)
}

/// When, or why it is not.
fn renewed(standing: &Standing, now: i64) -> String {
    let due = standing.renewal().map(acme::date);
    standing.trouble(now).or(due).unwrap_or_default()
}

fn standing_to_json(standing: &Standing) -> serde_json::Value {
    let attempts = &standing.attempts;
    let has_failed = attempts.failures > 0;
    json!({
        "name": standing.name,
        "state": match (&standing.info, has_failed) {
            (Some(_), false) => "issued",
            (None, false) => "awaited",
            (_, true) => "failing",
        },
        "not-after": standing.info.as_ref().map(|info| info.not_after),
        "renewal": standing.renewal(),
        "failures": attempts.failures,
        "reason": has_failed.then_some(&attempts.reason),
        "next-try": has_failed.then_some(attempts.next_try),
    })
}

fn names_of(shown: &ShownCertificate) -> Vec<String> {
    shown.info.names.iter().map(ToString::to_string).collect()
}

fn to_json(shown: &ShownCertificate) -> serde_json::Value {
    let info = &shown.info;
    json!({
        "table": shown.table,
        "file": info.name,
        "subject": &*info.subject,
        "names": names_of(shown),
        "not-before": info.not_before,
        "not-after": info.not_after,
        "fingerprint": info.fingerprint.to_string(),
    })
}

fn dev(args: &DevArgs, output: &Output) -> Result<(), CommandFailure> {
    let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let leaf_names = match args.hosts_only {
        true => LeafNames::HostsOnly,
        false => LeafNames::All,
    };
    let made = local_authority::create(&args.names, leaf_names, now);
    let made = made.map_err(|error| not_made(&error))?;
    let [ca, ca_key, pem, key] = FILES.map(|name| args.folder.join(name));
    let LocalCertificates {
        authority,
        server,
        names,
    } = made;
    let files = [
        (&ca, authority.certificate),
        (&ca_key, authority.key),
        (&pem, server.certificate),
        (&key, server.key),
    ];
    if !args.force {
        refuse_to_replace(&files.each_ref().map(|(path, _)| *path))?;
    }
    let written = fs::create_dir_all(&args.folder).map_err(|error| (args.folder.clone(), error));
    written
        .and_then(|()| {
            let mut files = files.iter();
            files.try_for_each(|(path, text)| {
                private_file::put(path, text.as_bytes()).map_err(|error| ((*path).clone(), error))
            })
        })
        .map_err(|(path, error)| {
            CommandFailure::new(format!("cannot write {}: {error}", path.display()))
        })?;
    let life_days = LEAF_LIFE.as_secs() / DAY.unsigned_abs();
    if output.is_json() {
        return output.json(&json!({
            "authority": ca,
            "authority-key": ca_key,
            "certificate": pem,
            "key": key,
            "names": names,
            "days": life_days,
        }));
    }
    let names = names.join(", ");
    let [ca, ca_key, pem, key] = [ca, ca_key, pem, key].map(|path| path.display().to_string());
    output.text(&format!(
        "{pem} is good for {life_days} days, for {names}\n\n\
         In postern.toml, for the listener http:\n\n\
         [listeners.http.tls]\n\
         certificate-file = {pem:?}\n\
         key-file = {key:?}\n\n\
         [upstream-tls]                  # for gateways and `postern call` that dial it\n\
         ca-files = [{ca:?}]\n\n\
         Others believe it when they believe its authority, {ca}:\n\n\
         curl --cacert {ca} https://localhost:8080/v1/services\n\
         Debian, Ubuntu: sudo cp {ca} /usr/local/share/ca-certificates/postern.crt && sudo update-ca-certificates\n\
         Fedora:         sudo trust anchor {ca}\n\
         macOS:          sudo security add-trusted-cert -d -k /Library/Keychains/System.keychain {ca}\n\
         Firefox:        Settings, Certificates, Authorities, Import\n\n\
         Whoever has {ca_key} can pretend to be these names to those who believe it; remove it when it is\n\
         not needed.\n"
    ))
}

fn not_made(error: &LocalCertificatesError) -> CommandFailure {
    let told = error.to_string();
    match error {
        LocalCertificatesError::Name(_) => CommandFailure::usage(told)
            .with_remedy("write a name such as api.test, *.api.test or 10.0.0.7"),
        LocalCertificatesError::Address(_) => {
            CommandFailure::usage(told).with_remedy("leave out --hosts-only, or the address")
        }
        LocalCertificatesError::Made(_) => CommandFailure::new(told),
    }
}

fn refuse_to_replace(files: &[&PathBuf]) -> Result<(), CommandFailure> {
    let mut files = files.iter();
    match files.find(|path| path.symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(path) => {
            let failure = CommandFailure::new(format!("{} is there already", path.display()));
            Err(failure.with_remedy("name another folder, or replace all files by --force"))
        }
    }
}

/// The authority's certificate and key, and those of the server.
const FILES: [&str; 4] = ["ca.pem", "ca.key", "localhost.pem", "localhost.key"];
const DAY: i64 = 24 * 3600;
