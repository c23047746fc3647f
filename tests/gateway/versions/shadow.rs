//! Copies of calls for a version that is not to answer them: compared, and without effect.

use std::sync::Arc;

use futures_util::stream;
use postern_core::{Body, BodyStream, Call, Handler};
use postern_tests::{CallerTransport, Gateway, connect, patiently};
use serde_json::{Value, json};

use super::{ask, becomes, drop_version, operator, setup, version};
use crate::share;

/// Each write waits for the disk.
const TERMS: &str = "grants = { services = [\"echo\"] }\nlimits = { time = \"20s\" }\n";

/// A gateway with a version that answers and one that gets copies of what is marked.
async fn shadowed() -> (Gateway, Arc<dyn Handler>) {
    let old = format!("config = {{ name = \"old\" }}\n{TERMS}");
    let setup = setup(&[("probe@1", old.as_str())]).plugin("echo");
    let gateway = Gateway::start(setup).await;
    let shadow = format!(
        "config = {{ name = \"new\" }}\n{TERMS}[canary]\nmode = \"shadow\"\nweight = \"0%\"\n\
         header = \"x-copy\"\nshadow-calls = 64\ncompare-headers = [\"content-type\"]\n"
    );
    drop_version(&gateway, "probe@2", &shadow);
    becomes(&gateway, "probe@2", "shadow").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    // The place is shown a little before calls are copied.
    patiently("a call was copied", async || {
        copied(&*handler, "Version", json!(null)).await;
        copies(&gateway, "different").await > 0
    })
    .await;
    (gateway, handler)
}

/// The answer to a call of which there is a copy.
async fn copied(handler: &dyn Handler, method: &str, body: Value) -> Value {
    let mut call = Call::unary("probe", method, body.to_string());
    call.headers.push("x-copy", "1").expect("short");
    let reply = handler.call(call).await.expect("answered");
    let body = reply.body.into_one(1 << 20).await.expect("one message");
    serde_json::from_slice(&body).unwrap_or_default()
}

async fn copies(gateway: &Gateway, what: &str) -> u64 {
    let copies = version(gateway, "probe@2").await["trial"]["copies"].clone();
    copies[what].as_u64().unwrap_or(0)
}

/// Waits until so many copies came to `what`, at least.
async fn came_to(gateway: &Gateway, what: &str, n_copies: u64) {
    let claim = format!("{n_copies} copies are {what}");
    patiently(&claim, async || copies(gateway, what).await >= n_copies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_gets_copies_whose_answers_are_compared_and_not_sent_and_which_have_no_effect() {
    let _machine = share().await;
    let (gateway, handler) = shadowed().await;
    let old = [("old".to_owned(), 20)].into();
    assert_eq!(ask(&*handler, 20, &[]).await, old);
    assert_eq!(ask(&*handler, 20, &[("x-copy", "1")]).await, old);
    came_to(&gateway, "different", 20).await;
    let shown = version(&gateway, "probe@2").await["trial"]["copies"]["differences"].to_string();
    assert!(shown.contains("probe/Version: body: "), "{shown}");
    assert_eq!(
        copied(&*handler, "ConfigAll", json!(null)).await,
        json!([["name", "old"]])
    );
    copied(&*handler, "Config", json!("absent")).await;
    came_to(&gateway, "same", 1).await;
    // Both would have called.
    let echo = json!({ "service": "echo", "method": "Echo", "body": 1 });
    copied(&*handler, "Call", echo).await;
    came_to(&gateway, "wanted-effect", 1).await;
    sum_of_a_copied_stream(&*handler).await;
    came_to(&gateway, "stream", 1).await;
    assert_eq!(version(&gateway, "probe@1").await["place"], "stable");
    // Only an operator lets it take calls.
    let told = operator(&gateway, "promote", "probe");
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(
        ask(&*handler, 20, &[]).await,
        [("new".to_owned(), 20)].into()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_reads_what_it_has_written_and_the_table_has_nothing_of_it() {
    let _machine = share().await;
    let (gateway, handler) = shadowed().await;
    // Each copy counts on from what was there when its call came, not from what its call has written.
    for n in 1..=5 {
        let counted = copied(&*handler, "KvIncrement", json!({ "key": "n" })).await;
        assert_eq!(counted, json!(n));
    }
    let entry = json!({ "key": "a", "value": 7 });
    let written = copied(&*handler, "KvWriteAndRead", entry).await;
    assert_eq!(written, json!([7, ["a", "a/other"], true]));
    came_to(&gateway, "same", 6).await;
    let keys = json!({ "prefix": "", "limit": 10 });
    let real = async || copied(&*handler, "KvKeys", keys.clone()).await;
    assert_eq!(real().await, json!(["a", "n"]));
    let counted = copied(&*handler, "KvGet", json!({ "key": "n" })).await;
    assert_eq!(counted, json!(5), "each was counted once");

    came_to(&gateway, "same", 8).await;
    // Only the version that gets copies writes these.
    let by_copy = |mebibytes: u32| json!({ "key": "of a copy", "value": mebibytes });
    copied(&*handler, "KvFillWhereNew", by_copy(1)).await;
    came_to(&gateway, "same", 9).await;
    // More than a copy may write is refused, and not compared.
    copied(&*handler, "KvFillWhereNew", by_copy(3)).await;
    came_to(&gateway, "wanted-effect", 1).await;
    assert_eq!(real().await, json!(["a", "n"]));
}

/// A call whose body is a stream, which is not copied though it is asked for.
async fn sum_of_a_copied_stream(handler: &dyn Handler) {
    let numbers = stream::iter([Ok("1".into())]);
    let body = Body::Messages(BodyStream::new(numbers));
    let mut call = Call::unary("probe", "Sum", "").with_body(body);
    call.headers.push("x-copy", "1").expect("short");
    handler.call(call).await.expect("answered");
}
