//! Files of recorded calls replayed, and what came of it, for `postern test` and `postern plugins shadow`.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::{failure::CommandFailure, output::Output};
use crate::{
    plugins::folder::{self, Package},
    printed,
    recording::{self, CallReport, LocalReplay, RecordingFault, ReplayCounts, accept, report},
};

/// Calls whose differences are shown.
const SHOWN_MAX: usize = 50;

/// What came of the calls of one file.
#[derive(Debug)]
pub(super) struct FileReplay {
    pub file: PathBuf,
    pub counts: ReplayCounts,
    /// Calls that differ, and calls of which something is noted.
    pub reports: Vec<CallReport>,
}

/// Replays the calls of `file` by a component; with `update` the answers become those of the file.
///
/// # Errors
/// What is wrong with the file.
pub(super) async fn replay_file(
    replay: &mut LocalReplay,
    file: &Path,
    update: bool,
) -> Result<FileReplay, RecordingFault> {
    let mut calls = recording::read(file)?;
    let mut replayed = FileReplay::new(file);
    let mut accepted = Vec::new();
    while let Some((line, header, call)) = calls.next()? {
        let outcome = replay.replay(&header, &call).await;
        let mut report = report(line, &header, &call, &outcome);
        if update {
            let kept = accept(*call, outcome, &mut report);
            accepted.push((header, Box::new(kept)));
        }
        replayed.count(report);
    }
    if update && replayed.counts.differed() > 0 {
        recording::replace(file, &accepted)?;
    }
    Ok(replayed)
}

/// The component in `file`, and the manifest beside it.
pub(super) fn package(file: &Path) -> Result<Package, CommandFailure> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let missing = || CommandFailure::new(format!("{} is not there", file.display()));
    let package = folder::read(folder, &name);
    let package = package.map_err(|error| CommandFailure::new(error.to_string()))?;
    package.ok_or_else(missing)
}

impl FileReplay {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            counts: ReplayCounts::default(),
            reports: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, report: CallReport) {
        self.counts.count(&report);
        let is_told = !report.is_equal || !report.notes.is_empty();
        if is_told && self.reports.len() < SHOWN_MAX {
            self.reports.push(report);
        }
    }

    pub(super) fn to_json(&self) -> Json {
        json!({ "file": self.file, "counts": self.counts, "calls": self.reports })
    }
}

/// Shows what came of files: a table, and below it every call that differs.
pub(super) fn show(files: &[FileReplay], output: &Output) -> Result<(), CommandFailure> {
    let head = [
        "CALLS",
        "EQUAL",
        "REPLY DIFFERS",
        "ASKED OTHERWISE",
        "FAULTY",
        "FILE",
    ];
    let row = |file: &FileReplay| {
        let counts = &file.counts;
        vec![
            counts.total().to_string(),
            counts.equal.to_string(),
            counts.reply.to_string(),
            counts.asked.to_string(),
            counts.fault.to_string(),
            file.file.display().to_string(),
        ]
    };
    output.table(&head, files.iter().map(row).collect())?;
    for file in files {
        for report in file.reports.iter().filter(|report| !report.is_equal) {
            show_call(&file.file, report, output)?;
        }
        let n_noted = file.reports.iter().filter(|report| report.is_equal).count();
        if n_noted > 0 {
            let name = file.file.display();
            output.note(&format!(
                "{name}: {n_noted} equal calls read or logged otherwise (--output json tells)"
            ));
        }
        let n_more = usize::try_from(file.counts.differed()).unwrap_or(usize::MAX);
        if n_more > SHOWN_MAX {
            output.note(&format!(
                "and {} calls more that differ",
                n_more - SHOWN_MAX
            ));
        }
    }
    Ok(())
}

fn show_call(file: &Path, report: &CallReport, output: &Output) -> Result<(), CommandFailure> {
    // The recording and the component may be somebody else's.
    let method = printed::plain(&report.method);
    output.line(&format!("\n{}:{} {method}", file.display(), report.line))?;
    let reply = report.reply.iter().map(ToString::to_string);
    let asked = report.asked.iter().cloned();
    let fault = report.fault.iter().cloned();
    for line in fault.chain(reply).chain(asked) {
        output.line(&format!("  {}", printed::plain(&line)))?;
    }
    for note in &report.notes {
        output.line(&format!("  note: {}", printed::plain(note)))?;
    }
    Ok(())
}

/// `2 of 7 recorded calls differ`.
pub(super) fn verdict(files: &[FileReplay]) -> Result<(), String> {
    let differed: u64 = files.iter().map(|file| file.counts.differed()).sum();
    let total: u64 = files.iter().map(|file| file.counts.total()).sum();
    match differed {
        0 => Ok(()),
        differed => Err(format!("{differed} of {total} recorded calls differ")),
    }
}
