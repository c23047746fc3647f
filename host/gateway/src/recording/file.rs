//! Files of recordings: read line by line, written for their owner alone, appended to where they are
//! recordings already.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use postern_wasm::RecordedCall;
use serde::Serialize;

use super::line::{
    self, LINE_BYTES_MAX, RecordedLine, RecordedLineFault, RecordingHeader, RecordingReader,
};
use crate::private_file;

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingFault {
    #[error("{path}: {source}", path = path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("{path}: {fault}", path = path.display())]
    Line {
        path: PathBuf,
        fault: RecordedLineFault,
    },
    #[error("{path}: it is empty", path = path.display())]
    Empty { path: PathBuf },
}

/// The calls of a file, each behind its header.
pub(crate) struct RecordingFile {
    path: PathBuf,
    file: BufReader<File>,
    reader: RecordingReader,
    header: Option<Arc<RecordingHeader>>,
}

/// The number of a call's line, the header before it, and the call.
type NumberedCall = (u64, Arc<RecordingHeader>, Box<RecordedCall>);

/// A file that calls are put into.
pub(crate) struct RecordingWriter {
    path: PathBuf,
    file: File,
    n_octets: u64,
}

/// Opens a file.
///
/// # Errors
/// Where it is not there or cannot be read.
pub(crate) fn read(path: &Path) -> Result<RecordingFile, RecordingFault> {
    let file = File::open(path).map_err(|source| unusable(path, source))?;
    Ok(RecordingFile {
        path: path.to_owned(),
        file: BufReader::new(file),
        reader: RecordingReader::default(),
        header: None,
    })
}

impl RecordingFile {
    /// The next call and the number of its line.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn next(&mut self) -> Result<Option<NumberedCall>, RecordingFault> {
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
            let mut bounded = (&mut self.file).take(limit.saturating_add(1));
            let read = bounded.read_until(b'\n', &mut line);
            if read.map_err(|source| unusable(&self.path, source))? == 0 {
                return match self.reader.has_header() {
                    true => Ok(None),
                    false => Err(RecordingFault::Empty {
                        path: self.path.clone(),
                    }),
                };
            }
            let read = self.reader.read(&line);
            let read = read.map_err(|fault| RecordingFault::Line {
                path: self.path.clone(),
                fault,
            })?;
            match (read, &self.header) {
                (Some(RecordedLine::Header(header)), _) => self.header = Some(header),
                (Some(RecordedLine::Call(call)), Some(header)) => {
                    return Ok(Some((self.reader.n_lines(), Arc::clone(header), call)));
                }
                (Some(RecordedLine::Call(_)) | None, _) => {}
            }
        }
    }
}

impl RecordingWriter {
    /// Opens `path` to put calls behind what it holds, or makes it, readable for its owner alone.
    ///
    /// # Errors
    /// Where it cannot be written, or holds something that is no whole recording.
    pub(crate) fn append(path: &Path) -> Result<Self, RecordingFault> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options
            .open(path)
            .map_err(|source| unusable(path, source))?;
        let length = file
            .metadata()
            .map_err(|source| unusable(path, source))?
            .len();
        if length > 0 {
            let mut before = read(path)?;
            while before.next()?.is_some() {}
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            n_octets: length,
        })
    }

    /// Puts a line that was received at the end. It is there whole or not at all.
    ///
    /// # Errors
    /// Where it cannot be written; what was begun of it is taken back.
    pub(crate) fn put(&mut self, line: &[u8]) -> Result<(), RecordingFault> {
        let whole = [line, b"\n"].concat();
        let written = self.file.write_all(&whole);
        if let Err(source) = written {
            // A full disk leaves a part of the line; the file stays one that can be read.
            drop(self.file.set_len(self.n_octets));
            return Err(unusable(&self.path, source));
        }
        self.n_octets += u64::try_from(whole.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Octets that the file holds.
    pub(crate) const fn n_octets(&self) -> u64 {
        self.n_octets
    }
}

/// Writes a file of these lines in the place of what is at `path`.
///
/// # Errors
/// What the operating system says; then `path` is as it was.
pub(crate) fn replace(
    path: &Path,
    calls: &[(Arc<RecordingHeader>, Box<RecordedCall>)],
) -> Result<(), RecordingFault> {
    let mut octets = Vec::new();
    let mut last: Option<&Arc<RecordingHeader>> = None;
    let mut push = |value: &dyn ErasedLine| -> io::Result<()> {
        octets.extend(value.line()?);
        Ok(())
    };
    let mut written = Ok(());
    for (header, call) in calls {
        if last.is_none_or(|last| !Arc::ptr_eq(last, header)) {
            written = written.and_then(|()| push(&**header));
            last = Some(header);
        }
        written = written.and_then(|()| push(&**call));
    }
    let written = written.and_then(|()| private_file::put(path, &octets));
    written.map_err(|source| unusable(path, source))
}

/// What is written as a line.
trait ErasedLine {
    fn line(&self) -> io::Result<Vec<u8>>;
}

impl<T: Serialize> ErasedLine for T {
    fn line(&self) -> io::Result<Vec<u8>> {
        Ok(line::to_line(self)?)
    }
}

fn unusable(path: &Path, source: io::Error) -> RecordingFault {
    RecordingFault::Unusable {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::line::tests::{call, header};

    fn json(value: &impl Serialize) -> Vec<u8> {
        serde_json::to_vec(value).expect("JSON")
    }

    fn methods(path: &Path) -> Result<Vec<(u64, String)>, RecordingFault> {
        let mut file = read(path)?;
        let mut methods = Vec::new();
        while let Some((line, _, call)) = file.next()? {
            methods.push((line, call.request.method));
        }
        Ok(methods)
    }

    fn write(path: &Path, names: &[&str]) {
        let mut writer = RecordingWriter::append(path).expect("writable");
        writer.put(&json(&header())).expect("written");
        for name in names {
            writer.put(&json(&call(name))).expect("written");
        }
    }

    #[test]
    fn a_file_grows_behind_what_it_holds_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.calls");
        write(&path, &["A", "B"]);
        write(&path, &["C"]);
        let read = methods(&path).expect("whole");
        let expected = [(2, "A"), (3, "B"), (5, "C")];
        assert_eq!(read, expected.map(|(line, name)| (line, name.to_owned())));
        #[cfg(unix)]
        {
            let metadata = path.metadata().expect("it is there");
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_is_cut_off_or_no_recording_is_neither_read_nor_appended_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.calls");
        write(&path, &["A", "B"]);
        let octets = std::fs::read(&path).expect("readable");
        std::fs::write(&path, &octets[..octets.len() - 5]).expect("writable");
        let cut = methods(&path).expect_err("cut off").to_string();
        assert!(cut.contains("line 3 ends after"), "{cut}");
        assert!(RecordingWriter::append(&path).is_err());
        std::fs::write(&path, "[package]\nname = \"users\"\n").expect("writable");
        let foreign = methods(&path).expect_err("foreign").to_string();
        assert!(foreign.contains("it is no recording"), "{foreign}");
        assert!(RecordingWriter::append(&path).is_err());
        std::fs::write(&path, "").expect("writable");
        assert!(matches!(methods(&path), Err(RecordingFault::Empty { .. })));
        assert!(RecordingWriter::append(&path).is_ok());
    }

    #[test]
    fn a_file_is_replaced_with_its_headers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.calls");
        write(&path, &["A"]);
        write(&path, &["B", "C"]);
        let before = std::fs::read(&path).expect("readable");
        let mut file = read(&path).expect("there");
        let mut calls = Vec::new();
        while let Some((_, header, call)) = file.next().expect("whole") {
            calls.push((header, call));
        }
        replace(&path, &calls).expect("writable");
        assert_eq!(std::fs::read(&path).expect("readable"), before);
    }
}
