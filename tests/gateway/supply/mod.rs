//! What of the plugin folder is taken: versions that ask for more, signatures, artifacts of registries.

mod approval;
mod artifact_schema;
mod claims;
mod registry;
mod signatures;
mod signer;
mod store;

use postern_tests::{CallerTransport, Gateway, call, connect, patiently};
use serde_json::Value;

/// Waits until something of `plugin` was refused whose reason has `part`, and gives what is shown of it.
async fn refused(gateway: &Gateway, plugin: &str, part: &str) -> Value {
    let mut shown = Value::Null;
    let path = format!("/plugins/{plugin}");
    let claim = format!("{plugin} is refused: {part}");
    patiently(&claim, async || {
        let (_, body) = gateway.admin(&path).await.unwrap_or_default();
        shown = serde_json::from_str(&body).unwrap_or_default();
        let reason = shown["refusal"]["reason"].as_str().unwrap_or_default();
        reason.contains(part)
    })
    .await;
    shown
}

/// Waits until what `plugin` shows fits `is`.
async fn shows(gateway: &Gateway, plugin: &str, claim: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut shown = Value::Null;
    let path = format!("/plugins/{plugin}");
    patiently(claim, async || {
        let (_, body) = gateway.admin(&path).await.unwrap_or_default();
        shown = serde_json::from_str(&body).unwrap_or_default();
        is(&shown)
    })
    .await;
    shown
}

async fn answers(gateway: &Gateway) -> bool {
    let handler = connect(gateway, CallerTransport::Tcp).await;
    call(&*handler, "echo/Echo", "{}").await.is_ok()
}

/// Waits until it answers: what is shown of a plugin comes before its routes.
async fn serves(gateway: &Gateway) {
    patiently("it answers", async || answers(gateway).await).await;
}

/// The sample of a metric that `plugin` has.
async fn metric(gateway: &Gateway, name: &str, plugin: &str) -> String {
    let (_, text) = gateway.admin("/metrics").await.expect("it answers");
    let head = format!("{name}{{plugin=\"{plugin}\"}} ");
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(&head));
    value.unwrap_or_default().to_owned()
}
