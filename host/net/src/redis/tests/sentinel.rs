//! A master that dies, sentinels that name another one.

use std::fs;

use super::*;

/// A sentinel that watches the server at `port`.
async fn sentinel(port: u16) -> Server {
    let own = server::free_port();
    let mut server = Server::new(own, &["sentinel.conf", "--sentinel"]);
    let config = format!(
        "port {own}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {port} 2\n\
         sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
    );
    fs::write(server.folder().join("sentinel.conf"), config).expect("written");
    server.start_again().await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_is_whom_the_sentinels_name_and_another_one_when_it_dies() {
    let mut master = Server::start(&["--repl-diskless-sync-delay", "0"]).await;
    let port = master.port.to_string();
    let arguments = ["--replicaof", "127.0.0.1", &port];
    let _replica = Server::start(&arguments).await;
    patiently("the replica follows", async || {
        master.run(&["role"]).contains("127.0.0.1")
    })
    .await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(sentinel(master.port).await);
    }
    patiently("the sentinels know each other", async || {
        sentinels.iter().all(|one| {
            let said = one.run(&["sentinel", "master", "main"]);
            said.contains("num-other-sentinels\n2") && said.contains("num-slaves\n1")
        })
    })
    .await;
    let nodes: Vec<_> = sentinels
        .iter()
        .map(|one| format!("127.0.0.1:{}", one.port))
        .collect();
    let url = format!("redis+sentinel://{}/main", nodes.join(","));
    let store = store_at(&url, |config| {
        config.reconnect_max = Duration::from_millis(200)
    });
    put(&store, "k", "before").await.expect("well");
    master.run(&["wait", "1", "1000"]);
    let killed = clock::now();
    master.kill();
    let (mut n_failed, mut n) = (0, 0);
    patiently("another master takes writes", async || {
        n += 1;
        let is_written = put(&store, "k", &n.to_string()).await.is_ok();
        n_failed += u32::from(!is_written);
        is_written
    })
    .await;
    eprintln!(
        "a master that sentinels watch dies: {n_failed} operations failed, the next succeeded {:?} after its \
         death",
        clock::since(killed)
    );
    // The old one comes back as a replica and is not written to.
    master.start_again().await;
    patiently("it follows", async || {
        master.run(&["role"]).starts_with("slave")
    })
    .await;
    put(&store, "k", "after").await.expect("well");
    patiently("it has what was written", async || {
        master.run(&["get", "postern:kv:t:k"]).trim() == "after"
    })
    .await;
}
