//! What the template of wasmCloud makes, with what its host offers beside HTTP. The last segment of the
//! path says what it does.

use wasmcloud_component::{
    http,
    wasi::{
        config::store as config,
        keyvalue::{atomics, batch, store},
        logging::logging::{Level, log},
    },
};

struct Web;

http::export!(Web);

impl http::Server for Web {
    fn handle(
        request: http::IncomingRequest,
    ) -> http::Result<http::Response<impl http::OutgoingBody>> {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let said = match uri.path().rsplit('/').next().unwrap_or_default() {
            "hello" => "Hello from wasmCloud".to_owned(),
            "config" => format!("{:?}", config::get(query).expect("no error")),
            "config-all" => format!("{:?}", config::get_all().expect("no error")),
            "log" => {
                log(Level::Warn, "web", query);
                "logged".to_owned()
            }
            "count" => counted(query),
            "keys" => keys(),
            "batch" => batched(),
            "other" => format!("{:?}", store::open(query).err()),
            other => format!("nothing at {other}"),
        };
        Ok(http::Response::new(said))
    }
}

fn open() -> store::Bucket {
    store::open("default").expect("the plugin's own")
}

fn counted(key: &str) -> String {
    match atomics::increment(&open(), key, 2) {
        Ok(count) => count.to_string(),
        Err(error) => format!("{error:?}"),
    }
}

/// All that is done with single keys.
fn keys() -> String {
    let bucket = open();
    bucket.set("key-a", b"1").expect("set");
    bucket.set("key-b", b"2").expect("set");
    let before = (bucket.get("key-a").expect("got"), bucket.exists("key-b").expect("known"));
    bucket.delete("key-b").expect("deleted");
    let after = (bucket.get("key-b").expect("got"), bucket.exists("key-b").expect("known"));
    let listed = bucket.list_keys(None).expect("listed");
    let empty = bucket.get("").err();
    format!("{before:?} {after:?} {:?} {:?} {empty:?}", listed.keys, listed.cursor)
}

/// All that is done with many.
fn batched() -> String {
    let bucket = open();
    let pairs = [("many-a".to_owned(), vec![1]), ("many-b".to_owned(), vec![2])];
    batch::set_many(&bucket, &pairs).expect("set");
    let wanted = ["many-a", "many-x", "many-b"].map(str::to_owned);
    let found = batch::get_many(&bucket, &wanted).expect("got");
    batch::delete_many(&bucket, &["many-a".to_owned()]).expect("deleted");
    let left = bucket.exists("many-a").expect("known");
    format!("{found:?} {left}")
}
