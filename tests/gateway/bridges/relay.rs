//! A relay of TCP whose connections can be cut at any moment.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::broadcast,
    task::AbortHandle,
};

/// Joins connections with a server until they are cut.
pub(super) struct Breaking {
    address: SocketAddr,
    cut: broadcast::Sender<()>,
    task: AbortHandle,
}

impl Breaking {
    pub(super) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (cut, _) = broadcast::channel(1);
        let cuts = cut.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(server).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self {
            address,
            cut,
            task: task.abort_handle(),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, in the middle of whatever it carries.
    pub(super) fn cut(&self) {
        // An error means that there is none.
        let _ = self.cut.send(());
    }
}

impl Drop for Breaking {
    fn drop(&mut self) {
        self.task.abort();
    }
}
