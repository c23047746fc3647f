//! Publishing over datagram sockets. A subscriber binds a socket and says in a file beside it which topic
//! it wants; a publisher looks for such files each time.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use postern_core::vyra::DATAGRAM_BYTES_MAX;
use tokio::net::UnixDatagram;

/// A socket that gets what is published under one topic. Dropping it removes its files.
#[derive(Debug)]
pub struct VyraSubscriber {
    socket: UnixDatagram,
    files: SubscriberFiles,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct SubscriberFiles {
    socket: PathBuf,
    topic: PathBuf,
}

impl VyraSubscriber {
    /// Binds the socket `file` of `folder` for `topic`. The name is of this subscriber alone, so that a file
    /// of that name is left from a life before.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(folder: &Path, file: &str, topic: &str) -> io::Result<Self> {
        let files = SubscriberFiles {
            socket: folder.join(file),
            topic: folder.join(format!("{file}{TOPIC_SUFFIX}")),
        };
        match fs::remove_file(&files.socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = UnixDatagram::bind(&files.socket)?;
        // From here on it is found, and what is sent is kept by the kernel. Written beside and renamed, so
        // that nobody reads half a topic.
        let beside = folder.join(format!(".{file}{TOPIC_SUFFIX}.part"));
        fs::write(&beside, topic)?;
        fs::rename(&beside, &files.topic)?;
        Ok(Self {
            socket,
            files,
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.files.socket
    }

    /// The next message.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn next(&mut self) -> io::Result<Bytes> {
        let n_octets = self.socket.recv(&mut self.buffer).await?;
        let message = self.buffer.get(..n_octets).unwrap_or_default();
        Ok(Bytes::copy_from_slice(message))
    }
}

impl Drop for SubscriberFiles {
    fn drop(&mut self) {
        for path in [&self.topic, &self.socket] {
            // What cannot be removed names a socket that nobody reads.
            let _ = fs::remove_file(path);
        }
    }
}

/// Sends `message` to every subscriber of `topic` in `folder`. Gives how many there were. One that does not
/// take it misses it.
///
/// # Errors
/// `InvalidInput` where the message is longer than peers read; why the folder cannot be read.
pub async fn publish(folder: PathBuf, topic: String, message: Bytes) -> io::Result<usize> {
    if message.len() > DATAGRAM_BYTES_MAX {
        let length = message.len();
        let message =
            format!("message of {length} octets exceeds the limit of {DATAGRAM_BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let sending = move || send(&folder, &topic, &message);
    let sent = tokio::task::spawn_blocking(sending).await;
    sent.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn send(folder: &Path, topic: &str, message: &[u8]) -> io::Result<usize> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    // A subscriber that reads nothing holds nobody up.
    socket.set_nonblocking(true)?;
    let mut n_sent = 0;
    for path in subscribers(folder, topic)? {
        match socket.send_to(message, &path) {
            Ok(_) => n_sent += 1,
            Err(error) => {
                let path = path.display();
                tracing::debug!(%error, %path, "a subscriber does not take a datagram");
            }
        }
    }
    Ok(n_sent)
}

/// Sockets whose files say that they want `topic`.
fn subscribers(folder: &Path, topic: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in folder.read_dir()?.take(FILES_MAX) {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let socket = name.strip_suffix(TOPIC_SUFFIX);
        let Some(socket) =
            socket.filter(|name| name.starts_with("sub_") && name.ends_with(".sock"))
        else {
            continue;
        };
        // It may be gone by now, and a file that is not that short is no topic.
        let length = entry.metadata().map_or(u64::MAX, |metadata| metadata.len());
        let written = match length <= TOPIC_BYTES_MAX {
            true => fs::read_to_string(entry.path()).unwrap_or_default(),
            false => String::new(),
        };
        if written.trim() == topic {
            found.push(folder.join(socket));
        }
    }
    Ok(found)
}

/// Of the file with a subscriber's topic, behind the name of its socket.
const TOPIC_SUFFIX: &str = ".topic";
/// Files of a folder that are looked at.
const FILES_MAX: usize = 10_000;
/// Longest topic in a file, in octets.
const TOPIC_BYTES_MAX: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_published_reaches_the_subscribers_of_its_topic() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let mut one = VyraSubscriber::bind(&path, "sub_m_1.sock", "m_1/events").expect("bound");
        let mut two = VyraSubscriber::bind(&path, "sub_m_2.sock", "m_1/events").expect("bound");
        let _other = VyraSubscriber::bind(&path, "sub_m_3.sock", "m_1/other").expect("bound");
        let topic = "m_1/events".to_owned();
        let sent = publish(path.clone(), topic.clone(), "{\"a\": 1}".into()).await;
        assert_eq!(sent.expect("sent"), 2);
        assert_eq!(one.next().await.expect("a message"), "{\"a\": 1}");
        assert_eq!(two.next().await.expect("a message"), "{\"a\": 1}");
        drop(one);
        let sent = publish(path.clone(), topic, "{}".into()).await;
        assert_eq!(sent.expect("sent"), 1);
        let left: Vec<_> = path.read_dir().expect("a folder").collect();
        assert_eq!(left.len(), 4, "two sockets with their topics");
    }

    #[tokio::test]
    async fn a_name_from_a_life_before_is_taken_over_and_nobody_is_no_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let first = VyraSubscriber::bind(&path, "sub_m_1.sock", "t").expect("bound");
        std::mem::forget(first);
        let mut second = VyraSubscriber::bind(&path, "sub_m_1.sock", "t").expect("bound again");
        let sent = publish(path.clone(), "t".to_owned(), "x".into()).await;
        assert_eq!(sent.expect("sent"), 1);
        assert_eq!(second.next().await.expect("a message"), "x");
        let sent = publish(path.clone(), "nobody".to_owned(), "x".into()).await;
        assert_eq!(sent.expect("no fault"), 0);
        assert!(
            publish(path.join("no"), "t".to_owned(), "x".into())
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn what_no_peer_would_read_whole_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = Bytes::from(vec![0; DATAGRAM_BYTES_MAX + 1]);
        let refused = publish(folder.path().to_owned(), "t".to_owned(), long).await;
        assert_eq!(
            refused.expect_err("too long").kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
