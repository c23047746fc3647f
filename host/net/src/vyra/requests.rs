//! Requests over stream sockets: one for each connection. A handler that fails answers nothing, so the
//! connection is closed without a word.

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{
    Blame, BoxFuture, Error, Kind, Origin, Retry,
    vyra::{FRAME_HEAD_BYTES, frame, frame_length},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::Semaphore,
};

use crate::{
    link::Listener,
    unix::{UnixAccess, UnixAddress, UnixSocketListener},
};

/// Answers a request; none where the caller is to get no answer.
pub type VyraHandler = Arc<dyn Fn(Bytes, Origin) -> BoxFuture<Option<Bytes>> + Send + Sync>;

/// A socket at which requests are answered. Dropping it removes its file.
#[derive(Debug)]
pub struct VyraRequestServer {
    listener: UnixSocketListener,
    message_bytes_max: usize,
}

impl VyraRequestServer {
    /// Binds the socket `file` of `folder`. Must be called on a runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(folder: &Path, file: &str, message_bytes_max: usize) -> io::Result<Self> {
        let address = UnixAddress::Path(folder.join(file));
        Ok(Self {
            listener: UnixSocketListener::bind(&address, UnixAccess::default())?,
            message_bytes_max,
        })
    }

    /// Answers requests until it is dropped, as many at a time as `permits` has. Each has `timeout` to
    /// come, to be answered, and to be taken.
    pub async fn serve(mut self, handler: VyraHandler, permits: Arc<Semaphore>, timeout: Duration) {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            // What cannot be answered waits to be accepted.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let (stream, origin) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection is not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (handler, limit) = (Arc::clone(&handler), self.message_bytes_max);
            connections.spawn(async move {
                let answering = answer(stream, origin, handler, limit);
                match tokio::time::timeout(timeout, answering).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a request ends without an answer"),
                    Err(_) => tracing::debug!(?timeout, "a request is not answered in its time"),
                }
                drop(permit);
            });
        }
    }
}

async fn answer(
    mut stream: UnixStream,
    origin: Origin,
    handler: VyraHandler,
    limit: usize,
) -> io::Result<()> {
    let request = read(&mut stream, limit).await?;
    let Some(reply) = handler(request, origin).await else {
        return Ok(());
    };
    let framed = frame(&reply).ok_or(io::ErrorKind::InvalidData)?;
    // Length and message in one piece: a peer reads each of them once.
    stream.write_all(&framed).await?;
    stream.shutdown().await
}

/// Asks whoever answers at the socket at `path`. The caller bounds the time.
///
/// # Errors
/// `unavailable` where nobody listens there, `unknown` where the connection is closed without an answer:
/// the handler there has failed.
pub async fn request(path: &Path, message: &[u8], limit: usize) -> Result<Bytes, Error> {
    let shown = path.display();
    let framed = frame(message)
        .filter(|framed| framed.len() <= limit.saturating_add(FRAME_HEAD_BYTES))
        .ok_or_else(|| {
            Error::too_long(
                message.len(),
                limit,
                "vyra.message-bytes-max",
                Blame::Client,
            )
        })?;
    let mut stream = UnixStream::connect(path).await.map_err(|error| {
        let message = format!("nobody answers at {shown}: {error}");
        Error::unavailable(Blame::Upstream, message).with_source(error)
    })?;
    let lost = |error: io::Error| {
        let message = format!("the connection to {shown} was lost: {error}");
        let error = Error::unavailable(Blame::Upstream, message).with_source(error);
        error.with_retry(Retry::IfIdempotent)
    };
    stream.write_all(&framed).await.map_err(lost)?;
    match read(&mut stream, limit).await {
        Ok(reply) => Ok(reply),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let message = format!("{shown} has closed the connection without an answer");
            Err(Error::new(Kind::Unknown, Blame::Upstream, message))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let message = format!("{shown}: {error}");
            Err(Error::new(Kind::ResourceExhausted, Blame::Upstream, message).with_too_large())
        }
        Err(error) => Err(lost(error)),
    }
}

async fn read(stream: &mut UnixStream, limit: usize) -> io::Result<Bytes> {
    let mut head = [0; FRAME_HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let length = frame_length(head, limit).ok_or_else(|| {
        let length = u32::from_be_bytes(head);
        let message = format!(
            "message of {length} octets exceeds the limit of {limit} (vyra.message-bytes-max)"
        );
        io::Error::new(io::ErrorKind::InvalidData, message)
    })?;
    // Taken as it comes: a length alone is no reason to hold memory.
    let mut message = Vec::with_capacity(length.min(READ_BYTES));
    let wanted = u64::try_from(length).unwrap_or(u64::MAX);
    let n_read = stream.take(wanted).read_to_end(&mut message).await?;
    match n_read == length {
        true => Ok(message.into()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Of a message, before it has come.
const READ_BYTES: usize = 64 * 1024;
/// After a connection that could not be accepted: most often there are no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn server(folder: &Path, answer: Option<&'static str>) -> tokio::task::JoinHandle<()> {
        let server = VyraRequestServer::bind(folder, "srv.sock", 1024).expect("bound");
        let handler: VyraHandler = Arc::new(move |request, origin| {
            assert!(matches!(origin, Origin::Unix(_)));
            let answer = answer.map(|answer| format!("{answer}{}", request.len()).into());
            Box::pin(std::future::ready(answer))
        });
        tokio::spawn(server.serve(handler, Arc::new(Semaphore::new(1)), SECOND))
    }

    #[tokio::test]
    async fn a_request_is_answered_on_its_own_connection() {
        let folder = tempfile::tempdir().expect("a folder");
        let serving = server(folder.path(), Some("n="));
        let path = folder.path().join("srv.sock");
        for _ in 0..3 {
            let reply = request(&path, b"{\"x\": 10}", 1024)
                .await
                .expect("an answer");
            assert_eq!(reply, "n=9");
        }
        serving.abort();
        assert!(serving.await.is_err());
        assert!(!path.exists(), "the file is gone");
    }

    #[tokio::test]
    async fn a_handler_that_fails_answers_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let _serving = server(folder.path(), None);
        let path = folder.path().join("srv.sock");
        let error = request(&path, b"{}", 1024).await.expect_err("no answer");
        assert_eq!((error.kind, error.retry), (Kind::Unknown, Retry::Never));
        let nobody = folder.path().join("nobody.sock");
        let error = request(&nobody, b"{}", 1024).await.expect_err("nobody");
        assert_eq!(error.kind, Kind::Unavailable);
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let _serving = server(folder.path(), Some(""));
        let path = folder.path().join("srv.sock");
        let long = vec![b' '; 1025];
        let error = request(&path, &long, 1024).await.expect_err("too long");
        assert!(error.is_too_large);
        // The other end refuses it by its head alone.
        let error = request(&path, &long, 4096).await.expect_err("too long");
        assert!(
            matches!(error.kind, Kind::Unknown | Kind::Unavailable),
            "{error}"
        );
        let reply = request(&path, &long[..1024], 1024).await.expect("fits");
        assert_eq!(reply, "1024");
    }
}
