//! Routes whose requests are held to a schema, and the documents of a listener.

use super::*;
use crate::http::{ParamShape, RequestSchema, SchemaFault};

/// Takes lists of whole numbers, and refuses what has the word `bad`.
#[derive(Debug)]
struct NothingBad;

impl RequestSchema for NothingBad {
    fn shape(&self, member: &str) -> ParamShape {
        ParamShape {
            kinds: vec![ParamType::Int],
            is_list: member == "ids",
        }
    }

    fn check(&self, message: &[u8]) -> Result<(), Vec<SchemaFault>> {
        let text = String::from_utf8_lossy(message);
        let faults: Vec<_> = text
            .match_indices("bad")
            .map(|(at, _)| SchemaFault {
                pointer: format!("/{at}"),
                detail: "is bad".to_owned(),
            })
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(faults),
        }
    }
}

fn checked(route: HttpRoute) -> HttpRoute {
    with_end(route, |end| end.is_checked = true)
}

async fn open() -> Fixture {
    let routes = vec![
        checked(method("POST", "/checked/{id}", "echo/Checked")),
        method("POST", "/typed", "echo/Typed"),
        checked(method("POST", "/unknown", "echo/Unknown")),
    ];
    let fixture = Fixture::open(routes.clone()).await;
    let schema: Arc<dyn RequestSchema> = Arc::new(NothingBad);
    let names = ["echo/Checked", "echo/Typed"];
    let schemas = names.map(|name| (Text::from(name), Arc::clone(&schema)));
    fixture.routes.set(RouteTable::new(routes), schemas.into());
    fixture
}

#[tokio::test]
async fn what_a_method_is_called_with_is_held_to_its_schema() {
    let fixture = open().await;
    let json = "content-type: application/json\r\n";
    let ask = async |line: &str, head: &str, body: &str| fixture.ask(line, head, body).await;
    let merged = "{\"id\":7,\"ids\":[1],\"x\":\"good\"}";
    ask("POST /checked/7?ids=1", json, "{\"x\":\"good\"}")
        .await
        .check(200, merged);
    let refused = "{\"error\":\"the request does not fit its schema: /13: is bad; and 1 more\",\"code\":422,\
                   \"errors\":[{\"pointer\":\"/13\",\"detail\":\"is bad\"},{\"pointer\":\"/19\",\"detail\":\"is bad\"}]}";
    ask("POST /checked/7", json, "{\"x\":\"bad\",\"bad\":1}")
        .await
        .check(422, refused);
    // Long ones are looked at elsewhere, and longer ones not at all.
    let long = |n: usize| format!("{{\"x\":\"{}bad\"}}", "y".repeat(n));
    let answer = ask("POST /checked/7", json, &long(100_000)).await;
    answer.check_status(422);
    let answer = ask("POST /checked/7", json, &long(1024 * 1024)).await;
    answer.check_status(413);
    // A route that does not ask for it checks nothing; types are those of the schema all the same.
    ask("POST /typed?n=1", json, "{\"x\":\"bad\"}")
        .await
        .check(200, "{\"n\":1,\"x\":\"bad\"}");
    let unknown = "{\"error\":\"route echo/Unknown checks requests, and what echo/Unknown takes is not known\",\"code\":503}";
    ask("POST /unknown", json, "{}").await.check(503, unknown);
    fixture.close().await;
}

#[tokio::test]
async fn documents_are_served_where_no_route_has_their_paths() {
    let fixture = Fixture::open(vec![fixed("/docs", &["POST"], 200, "mine")]).await;
    let document = "{\"openapi\":\"3.1.0\",\"x-listener\":\"http\"}";
    let answer = fixture.ask("GET /openapi.json", "", "").await;
    answer
        .check(200, document)
        .has("content-type: application/json")
        .has("cache-control: private, no-cache");
    let tag = answer
        .raw_head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "));
    let head = format!("if-none-match: {}\r\n", tag.expect("a tag"));
    fixture
        .ask("GET /openapi.json", &head, "")
        .await
        .check(304, "");
    fixture.ask("POST /docs", "", "").await.check(200, "mine");
    let page = fixture.ask("GET /docs", "", "").await;
    page.has("content-type: text/html; charset=utf-8");
    let options = fixture.ask("OPTIONS /openapi.json", "", "").await;
    options.check(204, "").has("allow: GET, HEAD, OPTIONS");
    fixture.close().await;
}
