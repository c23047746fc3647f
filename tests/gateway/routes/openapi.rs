//! What a gateway says of itself in OpenAPI, and requests that are held to it.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use postern_core::Call;
use postern_tests::{CallerTransport, Finished, connect, free_address, patiently};

use super::*;

/// Three routes to `users`: of two, requests are checked.
const ROUTES: &str = r#"
[routes.user-list]
path = "/users"
methods = ["GET"]
service = "users"
method = "ListUsers"
validate = true

[routes.user-create]
path = "/users"
service = "users"
method = "CreateUser"
status = 201
validate = true

[routes.user-get]
path = "/users/{id}"
methods = ["GET"]
service = "users"
method = "GetUser"
"#;

const JSON: &str = "content-type: application/json\r\n";
const PROBLEM: &str = "accept: application/problem+json\r\n";

async fn document(address: SocketAddr) -> Value {
    let answer = ask(address, "GET /openapi.json", "", "").await;
    answer.has("content-type: application/json").json(200)
}

/// Runs a script of this test by the Python of the tools.
fn script(name: &str, arguments: &[&Path], more: &[&str]) -> Finished {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/routes/openapi");
    let mut python = Command::new(postern_tests::python());
    finished(python.arg(folder.join(name)).args(arguments).args(more))
}

fn finished(command: &mut Command) -> Finished {
    let output = command.output().expect("it runs");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Finished {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_valid_and_a_client_made_of_it_calls_users() {
    let _machine = share().await;
    let plugins = ["users", "calculator", "invoice", "echo"];
    let gateway = gateway(ROUTES, &plugins).await;
    let document = document(gateway.http).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("openapi.json");
    fs::write(&file, document.to_string()).expect("written");
    let valid = script("validate.py", &[&file], &[]);
    assert_eq!(valid.code, Some(0), "{valid:?}");
    crate::figure(&format!("openapi-spec-validator: {}", valid.out.trim()));
    // Nothing is formatted afterwards: that would want further programs.
    let settings = folder.path().join("settings.yaml");
    fs::write(&settings, "post_hooks: []\n").expect("written");
    let client = folder.path().join("client");
    let mut generate = Command::new(postern_tests::python());
    generate
        .args([
            "-m",
            "openapi_python_client",
            "generate",
            "--meta",
            "none",
            "--path",
        ])
        .arg(&file)
        .arg("--config")
        .arg(&settings)
        .arg("--output-path")
        .arg(&client);
    let generated = finished(&mut generate);
    assert_eq!(generated.code, Some(0), "{generated:?}");
    let base = format!("http://{}", gateway.http);
    let called = script("call.py", &[folder.path()], &[&base]);
    let said: Vec<_> = called.out.lines().collect();
    let expected = [
        "created Ada 1",
        "found True",
        "listed 1 ada@example.org",
        "by its method True",
        "refused 422 ['/email', '/name']",
    ];
    assert_eq!(said, expected, "{called:?}");
}

/// What does not fit, member by member.
fn told(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().expect("errors").iter();
    let told = errors.map(|fault| {
        let member = |name: &str| fault[name].as_str().expect("a text");
        format!("{} {}", member("pointer"), member("detail"))
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_held_to_the_schema_where_validate_says_so() {
    let _machine = share().await;
    let gateway = gateway(ROUTES, &["users"]).await;
    let post = async |body: &str| {
        let head = format!("{JSON}{PROBLEM}");
        ask(gateway.http, "POST /users", &head, body).await
    };
    // Every member that does not fit is named, with what it is and what it should be.
    let refused = post("{\"email\":7,\"name\":\"\",\"nick\":1}").await;
    let problem = refused
        .has("content-type: application/problem+json")
        .json(422);
    assert_eq!(
        told(&problem),
        [
            "/email 7 is not of type \"string\"",
            "/name \"\" is shorter than 1 character",
            "/nick is not known here",
        ]
    );
    assert_eq!(problem["kind"], "invalid-argument");
    // No body, a member twice.
    assert_eq!(told(&post("").await.json(422)).len(), 2);
    let twice = "{\"name\":\"A\",\"email\":\"a@b\",\"name\":\"B\"}";
    let twice = post(twice).await.json(422);
    assert!(
        told(&twice)[0].contains("member \"name\" stands twice"),
        "{twice}"
    );
    // A route that does not ask for it leaves that to the method.
    let other = ask(gateway.http, "GET /users/1?x=1", "", "").await;
    assert_eq!(other.json(400).get("errors"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_queries_are_typed_by_the_schema_and_held_to_it() {
    let _machine = share().await;
    let forms = "[routes.form]\npath = \"/form\"\nservice = \"users\"\nmethod = \"CreateUser\"\n\
                 status = 201\nbody = \"form\"\nvalidate = true\n";
    let gateway = gateway(&format!("{ROUTES}{forms}"), &["users"]).await;
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let refused = ask(gateway.http, "POST /form", form, "name=Ada").await;
    assert_eq!(told(&refused.json(422)), ["/email is missing"]);
    let multipart = "content-type: multipart/form-data; boundary=b\r\n";
    let part = |name: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name={name}\r\n\r\n{value}\r\n")
    };
    let body = format!("{}{}--b--", part("name", "Ada"), part("email", "ada@b.c"));
    ask(gateway.http, "POST /form", multipart, &body)
        .await
        .json(201);
    // Of the query, the schema says the types and the bounds.
    let list = async |query: &str| ask(gateway.http, &format!("GET /users{query}"), "", "").await;
    assert_eq!(
        list("?page_size=1").await.json(200)["users"][0]["name"],
        "Ada"
    );
    assert_eq!(
        told(&list("?page_size=large").await.json(422)),
        ["/page_size \"large\" of parameter \"page_size\" in the query is no int"]
    );
    assert_eq!(
        told(&list("?page_size=101&x=1").await.json(422)),
        [
            "/page_size 101 is greater than the maximum of 100",
            "/x is not known here",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_checked_is_bounded_and_nothing_passes_without_a_schema() {
    let _machine = share().await;
    let config = format!(
        "{ROUTES}\n[routes.echo]\npath = \"/echo\"\nservice = \"echo\"\nmethod = \"Echo\"\nvalidate = true\n"
    );
    let gateway = gateway(&config, &["users", "echo"]).await;
    let refused = ask(gateway.http, "POST /echo", JSON, "{}").await;
    let expected = "route echo checks requests, and what echo/Echo takes is not known";
    assert_eq!(refused.json(503)["error"], expected);
    let long = format!(
        "{{\"name\":\"{}\",\"email\":\"a@b\"}}",
        "x".repeat(1024 * 1024)
    );
    ask(gateway.http, "POST /users", JSON, &long)
        .await
        .json(413);
    // One below is looked at, on a thread of its own.
    let long = format!(
        "{{\"name\":\"{}\",\"email\":\"a@b\"}}",
        "x".repeat(1000 * 1024)
    );
    let refused = ask(gateway.http, "POST /users", JSON, &long).await;
    assert_eq!(refused.json(422)["errors"][0]["pointer"], "/name");
    // Every message of a stream.
    let lines = "content-type: application/x-ndjson\r\n";
    let one = "{\"name\":\"Ada\",\"email\":\"a@b\"}\n";
    // In pieces: the component has a role for streams.
    let made = ask(gateway.http, "POST /users", lines, one).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let refused = ask(gateway.http, "POST /users", lines, "{\"name\":\"Ada\"}\n").await;
    let refused = refused.json(400);
    assert_eq!(
        refused["error"],
        "message 1: the request does not fit its schema: /email: is missing"
    );
    assert_eq!(refused["details"][0]["pointer"], "/email");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_there_where_no_route_is_and_where_the_listener_says_so() {
    let _machine = share().await;
    let gateway = gateway(ROUTES, &["users"]).await;
    let first = ask(gateway.http, "GET /openapi.json", "", "").await;
    let again = ask(gateway.http, "GET /openapi.json", "", "").await;
    assert_eq!(first.body, again.body);
    let tag = first
        .head
        .lines()
        .find(|line| line.starts_with("etag: "))
        .expect("a tag");
    // The head is in lower case, the tag is not: it is asked for as the page is asked.
    assert!(tag.len() > 20, "{tag}");
    let head = ask(gateway.http, "HEAD /openapi.json", "", "").await;
    head.check(200, "")
        .has(&format!("content-length: {}", first.body.len()));
    let page = ask(gateway.http, "GET /docs", "", "").await;
    page.has("content-type: text/html; charset=utf-8")
        .has("x-content-type-options: nosniff");
    assert!(page.head.contains("default-src 'none'") && page.body.contains("<script>"));
    assert!(!page.body.contains("http:") && !page.body.contains("https:"));
    let wrong = ask(gateway.http, "POST /docs", JSON, "{}").await;
    wrong.has("allow: get, head, options").json(405);
    // A route has its path, whatever it takes beside.
    let text = configuration(&gateway);
    let site = "\n[routes.site]\npath = \"/{any*}\"\nmethods = [\"GET\"]\nfixed = { status = 200, body = \"site\" }\n";
    configure(&gateway, &format!("{text}{site}")).await;
    ask(gateway.http, "GET /docs", "", "")
        .await
        .check(200, "site");
    ask(gateway.http, "GET /openapi.json", "", "")
        .await
        .check(200, "site");
    // The listener's documents.
    let none = text.replace("[listeners.http]\n", "[listeners.http]\ndocuments = []\n");
    configure(&gateway, &none).await;
    ask(gateway.http, "GET /docs", "", "").await.json(404);
    ask(gateway.http, "GET /openapi.json", "", "")
        .await
        .json(404);
    let one = "[listeners.http]\ndocuments = [\"/openapi.json\"]\n";
    configure(&gateway, &text.replace("[listeners.http]\n", one)).await;
    ask(gateway.http, "GET /docs", "", "").await.json(404);
    document(gateway.http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_the_page_by_its_policy() {
    let _machine = share().await;
    let gateway = gateway(ROUTES, &["users"]).await;
    let profile = tempfile::tempdir().expect("a folder");
    let mut browser = Command::new("timeout");
    browser
        .arg("60")
        .arg(postern_tests::system_tool("chromium"))
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        // Until nothing is left to be done: no time of this machine.
        .args(["--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("http://{}/docs", gateway.http));
    let shown = tokio::task::spawn_blocking(move || finished(&mut browser));
    let shown = shown.await.expect("it runs");
    for part in [
        "<code>/users/{id}</code>",
        "<code>users.CreateUser</code>",
        "Finds a user by its id.",
    ] {
        assert!(shown.out.contains(part), "{part}: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_told_of_what_it_may_call_and_the_operator_of_all() {
    let _machine = share().await;
    let config = format!(
        "{ROUTES}\n[auth.api-keys.keys.ada]\nhash = \"sha256:{HASH}\"\n\
         [authorization.rules.users]\ncalls = [\"users/*\"]\nprincipals = [\"ada\"]\n"
    );
    let gateway = gateway(&config, &["users", "calculator"]).await;
    let paths = |document: &Value| {
        let paths = document["paths"].as_object().expect("paths").keys();
        paths.cloned().collect::<Vec<_>>()
    };
    let anonymous = paths(&document(gateway.http).await);
    assert!(anonymous.contains(&"/v1/services/calculator/Add".to_owned()));
    assert!(
        !anonymous.iter().any(|path| path.contains("users")),
        "{anonymous:?}"
    );
    let key = "x-vsp-api-key: secret\r\n";
    let ada = ask(gateway.http, "GET /openapi.json", key, "")
        .await
        .json(200);
    assert!(paths(&ada).contains(&"/users/{id}".to_owned()));
    assert_eq!(
        ada["components"]["securitySchemes"]["api-key"]["name"],
        "x-vsp-api-key"
    );
    // Whoever may not ask the directory is told nothing.
    let barred = "x-vsp-api-key: wrong\r\n";
    ask(gateway.http, "GET /openapi.json", barred, "")
        .await
        .json(401);
    let printed = gateway.postern(&["openapi"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let printed: Value = serde_json::from_str(&printed.out).expect("json");
    assert_eq!(paths(&printed), paths(&ada));
    let other = gateway.postern(&["openapi", "--listener", "other"]);
    let other: Value = serde_json::from_str(&other.out).expect("json");
    assert_eq!(other["openapi"], "3.1.0");
}

/// SHA-256 of `secret`.
const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_of_a_manifest_come_first_and_bad_ones_refuse_the_plugin() {
    let _machine = share().await;
    let file = |name: &str, maximum: &str| {
        format!(
            "{{\"{name}\":{{\"type\":\"object\",\"properties\":{{\"id\":{{\"type\":\"string\",\"maxLength\":{maximum}}}}}}}}}"
        )
    };
    let manifest = "service = \"users\"\nschemas = \"users.schemas.json\"\n\
                    [routes.get]\npath = \"/u/{id}\"\nmethods = [\"GET\"]\nservice = \"users\"\nmethod = \"GetUser\"\n\
                    validate = true\n";
    let setup = Setup::default()
        .plugin("users")
        .file("users.toml", manifest)
        .file("users.schemas.json", file("GetUser", "3"));
    let gateway = Gateway::start(setup).await;
    let answer = ask(gateway.http, "GET /u/long", "", "").await;
    assert_eq!(answer.json(422)["errors"][0]["pointer"], "/id");
    ask(gateway.http, "GET /u/abc", "", "").await.json(404);
    // One that cannot be used refuses the deployment, and what was there stays.
    gateway.deploy("users.schemas.json", file("GetUser", "\"x\"").as_bytes());
    gateway.deploy("users.toml", format!("{manifest}# again\n").as_bytes());
    let mut plugin = Value::Null;
    patiently("the plugin is refused", async || {
        plugin = gateway.admin_json("/plugins/users").await;
        plugin.to_string().contains(
            "manifest: schemas: users.schemas.json: the schema of type GetUser cannot be used",
        )
    })
    .await;
    assert_eq!(ask(gateway.http, "GET /u/long", "", "").await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_with_a_broken_schema_is_refused_by_the_name_of_the_type() {
    let _machine = share().await;
    let gateway = gateway("", &["bad-schema"]).await;
    let plugin = gateway.admin_json("/plugins/bad-schema").await;
    let reason = "schemas: service bad-schema: the schema of type Note refers to \\\"#/$defs/Nowhere\\\", which is not in it";
    assert!(plugin.to_string().contains(reason), "{plugin}");
    let checked = gateway.postern(&["check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_elsewhere_are_in_the_document_and_requests_to_them_are_checked() {
    let _machine = share().await;
    let address = free_address().expect("a port");
    let west = format!(
        "[listeners.fleet]\nprotocol = \"vstp\"\naddress = \"{address}\"\ntransports = [\"tcp\"]\n"
    );
    let west = gateway(&west, &["users"]).await;
    let config = format!("{ROUTES}\n[peers.west]\naddress = \"tcp://{address}\"\n");
    let east = gateway(&config, &[]).await;
    let schema = |document: &Value| document["components"]["schemas"]["users.CreateUser"].clone();
    patiently("the peer has said what its types are", async || {
        !schema(&document(east.http).await).is_null()
    })
    .await;
    let (here, there) = (document(east.http).await, document(west.http).await);
    assert_eq!(schema(&here), schema(&there));
    let refused = ask(east.http, "POST /users", JSON, "{\"name\":\"Ada\"}").await;
    assert_eq!(refused.json(422)["errors"][0]["pointer"], "/email");
    let created = "{\"name\":\"Ada\",\"email\":\"ada@b.c\"}";
    ask(east.http, "POST /users", JSON, created).await.json(201);
    // It is what the other's catalogue has, where it is asked for.
    let caller = connect(&west, CallerTransport::Tcp).await;
    let asked = Call::unary(
        "directory",
        "services",
        "{\"service\":\"users\",\"schemas\":true}",
    );
    let reply = caller.call(asked).await.expect("answered");
    let listing = reply.body.into_one(usize::MAX).await.expect("whole");
    let listing: Value = serde_json::from_slice(&listing).expect("json");
    assert_eq!(
        listing["schemas"]["CreateUser"]["additionalProperties"],
        false
    );
}
