//! Unix sockets: listening, dialing. A session over one is a stream, as over TCP.

mod address;
mod listener;

use postern_core::{BoxFuture, Error, Transport};
use tokio::net::UnixStream;

pub use self::{
    address::{UnixAddress, UnixAddressError},
    listener::{UnixAccess, UnixSocketListener},
};
use crate::{
    dial::{Carried, Destination, StreamDialer, unreachable},
    tls::ClientTls,
};

/// Opens sessions with a socket of this machine.
#[derive(Debug)]
pub struct UnixDialer;

impl StreamDialer for UnixDialer {
    const NAME: &'static str = Transport::Unix.name();

    type Link = UnixStream;

    fn open(
        &self,
        destination: &Destination,
        _: Carried,
        _: &ClientTls,
    ) -> BoxFuture<Result<UnixStream, Error>> {
        let destination = destination.clone();
        Box::pin(async move {
            let Destination::Path(path) = &destination else {
                return Err(Error::internal(format!("{destination} is no path")));
            };
            let socket = path.parse::<UnixAddress>();
            let socket = socket.map_err(|error| Error::invalid_argument(error.to_string()))?;
            let opened = socket.connect().await;
            opened.map_err(|error| unreachable(&destination, error))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_core::{Call, Handler, Kind, Reply};
    use tokio::{
        net::{TcpStream, UnixListener},
        task::JoinSet,
    };

    use super::*;
    use crate::{
        Client, ClientConfig, Counters, Pool, PoolConfig, ServerConfig, Shutdown, Target,
        TcpServer, Upstream,
    };

    /// Answers with what it is sent.
    struct Echo;

    impl Handler for Echo {
        fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
            Box::pin(async { Ok(Reply::one(call.body.into_one(usize::MAX).await?)) })
        }
    }

    fn target(path: &str) -> Target {
        Target::new(Arc::new(UnixDialer), Destination::Path(path.into()))
    }

    /// Joins each connection of `listener` with one of its own to a server.
    async fn relay(listener: UnixListener) {
        let any = ([127, 0, 0, 1], 0).into();
        let (config, counters) = (Arc::<ServerConfig>::default(), Arc::<Counters>::default());
        let server = TcpServer::bind(any, config, Arc::new(Echo), counters).await;
        let server = server.expect("a free port");
        let address = server.local_addr();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { server.serve(Shutdown::new()).await });
        while let Ok((mut near, _)) = listener.accept().await {
            tasks.spawn(async move {
                let mut far = TcpStream::connect(address).await.expect("up");
                // An error is the end of one of them.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    }

    #[tokio::test]
    async fn calls_go_over_pooled_sessions_with_a_socket_of_this_machine() {
        let name = format!("postern-{}-users.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let path = path.to_str().expect("text");
        let relay = tokio::spawn(relay(UnixListener::bind(path).expect("a free path")));
        let pool = Pool::new(PoolConfig::default(), ClientConfig::default()).expect("defaults");
        let upstream = Upstream::new(&pool, vec![target(path)]).expect("an address");
        for _ in 0..3 {
            let reply = upstream.call(Call::unary("users", "get", "7")).await;
            let body = reply.expect("answered").body;
            assert_eq!(body.into_one(9).await.expect("one message"), "7");
        }
        let hosts = pool.snapshot().hosts;
        let shown = (hosts[0].transport, hosts[0].address.to_string());
        assert_eq!((hosts.len(), shown), (1, ("unix", path.to_owned())));
        assert_eq!((hosts[0].opened, hosts[0].open), (1, 1));
        pool.close().await;
        relay.abort();
        std::fs::remove_file(path).expect("it was bound");
    }

    #[tokio::test]
    async fn a_path_where_nobody_listens_is_named() {
        let refused = Client::connect(target("/nowhere/users.sock"), ClientConfig::default()).await;
        let error = refused.expect_err("nobody");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(
            error
                .message
                .starts_with("cannot connect to /nowhere/users.sock: "),
            "{error}"
        );
    }
}
