//! Keys of the configuration that decide what is opened.

use super::fixture::{GatewayFixture, folders};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_enabled_is_not_opened() {
    // The text of a fixture ends in the table of the admin listener.
    let extra = "enabled = false\n\
         [listeners.off]\nenabled = false\nprotocol = \"http\"\naddress = \"127.0.0.1:0\"\n";
    let fixture = GatewayFixture::start_in(folders(), extra)
        .await
        .expect("starts");
    assert!(fixture.serving.admin.is_none());
    assert!(!fixture.gateway.bound_addresses().contains_key("off"));
    assert!(fixture.gateway.bound_addresses().contains_key("http"));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_opens_the_transports_that_it_names() {
    let extra = "[listeners.one]\nprotocol = \"vstp\"\naddress = \"127.0.0.1:0\"\n\
         transports = [\"udp\"]\n\
         [listeners.two]\nprotocol = \"http\"\naddress = \"127.0.0.1:0\"\n";
    let fixture = GatewayFixture::start_in(folders(), extra)
        .await
        .expect("starts");
    let bound_addresses = fixture.gateway.bound_addresses();
    for (listener, expected) in [
        ("vstp", &["tcp", "udp"][..]),
        ("one", &["udp"]),
        ("two", &["http"]),
    ] {
        let open = bound_addresses[listener]
            .iter()
            .map(|bound| bound.transport.name());
        assert_eq!(open.collect::<Vec<_>>(), expected, "{listener}");
    }
    fixture.end().await;
}
