//! Keys of the configuration that decide what is opened.

use super::stage::{Stage, folders};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_enabled_is_not_opened() {
    // The text of a stage ends in the table of the admin door.
    let extra = "enabled = false\n\
         [listeners.off]\nenabled = false\nprotocol = \"http\"\naddress = \"127.0.0.1:0\"\n";
    let stage = Stage::start_in(folders(), extra).await.expect("starts");
    assert!(stage.serving.admin.is_none());
    assert!(!stage.gateway.places().contains_key("off"));
    assert!(stage.gateway.places().contains_key("http"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_opens_the_transports_that_it_names() {
    let extra = "[listeners.one]\nprotocol = \"vstp\"\naddress = \"127.0.0.1:0\"\n\
         transports = [\"udp\"]\n\
         [listeners.two]\nprotocol = \"http\"\naddress = \"127.0.0.1:0\"\n";
    let stage = Stage::start_in(folders(), extra).await.expect("starts");
    let places = stage.gateway.places();
    for (listener, expected) in [
        ("vstp", &["tcp", "udp"][..]),
        ("one", &["udp"]),
        ("two", &["http"]),
    ] {
        let open = places[listener].iter().map(|place| place.transport);
        assert_eq!(open.collect::<Vec<_>>(), expected, "{listener}");
    }
    stage.end().await;
}
