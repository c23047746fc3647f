//! Routes of the configuration and of manifests, as a client of HTTP sees them. Key by key, as the table
//! in `host/docs/configuration.md` names them.

mod ends;
mod openapi;
mod plugins;
mod streams;

use std::{fs, net::SocketAddr};

use postern_tests::{Gateway, Setup, postern};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    listeners::{configuration, configure},
    share,
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What a gateway answers.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// `METHOD /PATH`, with lines of a head and a body, to a host of this machine.
async fn ask(address: SocketAddr, line: &str, head: &str, body: &str) -> Answer {
    ask_host(address, "x.localhost", line, head, body).await
}

async fn ask_host(address: SocketAddr, host: &str, line: &str, head: &str, body: &str) -> Answer {
    let length = match body {
        "" => String::new(),
        body => format!("content-length: {}\r\n", body.len()),
    };
    let request =
        format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{head}{length}\r\n{body}");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("open");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).await.expect("whole");
        String::from_utf8(octets).expect("text")
    };
    let told = timeout(PATIENCE, exchange).await.expect("answered");
    let (head, body) = told.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: format!("{}\r\n", head.to_lowercase()),
        body: body.to_owned(),
    }
}

impl Answer {
    #[track_caller]
    fn check(&self, status: u16, body: &str) -> &Self {
        assert_eq!((self.status, &*self.body), (status, body), "{}", self.head);
        self
    }

    #[track_caller]
    fn has(&self, line: &str) -> &Self {
        assert!(
            self.head.contains(&format!("\r\n{line}\r\n")),
            "{line}: {}",
            self.head
        );
        self
    }

    #[track_caller]
    fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}{}", self.head, self.body);
        serde_json::from_str(&self.body).expect("json")
    }
}

/// A gateway with these tables and plugins.
async fn gateway(config: &str, plugins: &[&str]) -> Gateway {
    let setup = Setup {
        config: config.to_owned(),
        ..Setup::default()
    };
    let setup = plugins.iter().fold(setup, |setup, name| setup.plugin(name));
    Gateway::start(setup).await
}

/// Two fixed answers, and these keys of the first.
fn first(keys: &str) -> String {
    format!(
        "[routes.a]\npath = \"/x\"\n{keys}\nfixed = {{ status = 200, body = \"first\" }}\n\
         [routes.b]\npath = \"/{{any*}}\"\nfixed = {{ status = 200, body = \"other\" }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_takes_what_hosts_path_methods_headers_and_query_say() {
    let _machine = share().await;
    let hosts = "hosts = [\"a.localhost\", \"*.b.localhost\"]";
    let headers = "headers = { X-Beta = \"1\", x-any = \"*\" }";
    let (methods, query) = ("methods = [\"GET\"]", "query = { v = \"2\" }");
    let here = "listeners = [\"http\"]";
    for (key, request, expected) in [
        ("", "x PUT /x", "first"),
        ("enabled = false", "x PUT /x", "other"),
        (hosts, "A GET /x", "first"),
        (hosts, "c.b GET /x", "first"),
        (hosts, "b GET /x", "other"),
        (methods, "x GET /x", "first"),
        (methods, "x PUT /x", "other"),
        (headers, "x GET /x x-beta:1 X-Any:5", "first"),
        (headers, "x GET /x x-beta:2 X-Any:5", "other"),
        (query, "x GET /x?a&v=2", "first"),
        (query, "x GET /x?v=1", "other"),
        (here, "x GET /x", "first"),
        // The path is another with its slash.
        ("", "x GET /x/", "other"),
    ] {
        let gateway = gateway(&first(key), &[]).await;
        let mut parts = request.split(' ');
        let mut part = || parts.next().expect("a part");
        let (host, method, path) = (part(), part(), part());
        let head: String = parts.map(|field| format!("{field}\r\n")).collect();
        let (host, line) = (format!("{host}.localhost:80"), format!("{method} {path}"));
        let answer = ask_host(gateway.http, &host, &line, &head, "").await;
        let told = (answer.status, &*answer.body);
        assert_eq!(told, (200, expected), "{key} {request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_for_the_listeners_that_it_names() {
    let _machine = share().await;
    let second = postern_tests::free_address().expect("a port");
    let listener = format!("[listeners.second]\nprotocol = \"http\"\naddress = \"{second}\"\n");
    let config = first("listeners = [\"second\"]") + &listener;
    let gateway = gateway(&config, &[]).await;
    ask(gateway.http, "GET /x", "", "")
        .await
        .check(200, "other");
    ask(second, "GET /x", "", "").await.check(200, "first");
}

const USERS: &str = r#"
[routes.user-list]
path = "/users"
methods = ["GET"]
service = "users"
method = "ListUsers"
types = { page_size = "int" }

[routes.user-create]
path = "/users"
service = "users"
method = "CreateUser"
status = 201
response-headers = { cache-control = "no-store" }
body = "form"

[routes.user-get]
path = "/users/{id}"
methods = ["GET"]
service = "users"
method = "GetUser"
problems = true

[routes.user-change]
path = "/users/{id}"
methods = ["PATCH"]
service = "users"
method = "UpdateUser"
version = "2"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn users_are_a_resource_of_rest() {
    let _machine = share().await;
    let setup = Setup {
        config: USERS.to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("users")).await;
    let json = "content-type: application/json\r\n";
    let created = ask(
        gateway.http,
        "POST /users",
        json,
        "{\"name\":\"Ada\",\"email\":\"a@b.c\"}",
    )
    .await;
    // The status and response-headers of the route.
    let ada = created.has("cache-control: no-store").json(201);
    let id = ada["id"].as_str().expect("an id");
    // With body = "form" it takes forms as well.
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let eve = ask(
        gateway.http,
        "POST /users",
        form,
        "name=Eve&email=eve%40b.c",
    )
    .await;
    assert_eq!(eve.json(201)["email"], "eve@b.c");
    let found = ask(gateway.http, &format!("GET /users/{id}"), "", "").await;
    assert_eq!(found.json(200), ada);
    // The types of the route: the method takes a number.
    let page = ask(gateway.http, "GET /users?page_size=1", "", "")
        .await
        .json(200);
    assert_eq!(page["users"].as_array().map(Vec::len), Some(1));
    ask(gateway.http, "GET /users?page_size=one", "", "")
        .await
        .json(422);
    // The problems of one route are those of RFC 9457, those of another our own.
    let none = ask(gateway.http, "GET /users/nobody", "", "").await;
    assert_eq!(
        none.has("content-type: application/problem+json").json(404)["title"],
        "Not Found"
    );
    let duplicate = ask(
        gateway.http,
        "POST /users",
        json,
        "{\"name\":\"A\",\"email\":\"A@b.c\"}",
    )
    .await;
    assert_eq!(duplicate.json(409)["code"], 409);
    let other = ask(gateway.http, &format!("DELETE /users/{id}"), "", "").await;
    other.has("allow: get, head, options, patch").json(405);
    change(&gateway, id).await;
}

/// The version that the route asks for is another, until the configuration says better.
async fn change(gateway: &Gateway, id: &str) {
    let json = "content-type: application/json\r\n";
    let (line, name) = (format!("PATCH /users/{id}"), "{\"name\":\"B\"}");
    ask(gateway.http, &line, json, name).await.json(404);
    let text = configuration(gateway).replace("version = \"2\"", "version = \"0.1\"");
    configure(gateway, &text).await;
    let changed = ask(gateway.http, &line, json, name).await;
    assert_eq!(changed.json(200)["revision"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn body_produces_and_timeout_are_those_of_the_route() {
    let _machine = share().await;
    let config = "[routes.raw]\npath = \"/raw/{x}\"\nservice = \"echo\"\nmethod = \"Echo\"\nbody = \"raw\"\n\
                  produces = [\"text/plain\"]\n\
                  [routes.slow]\npath = \"/slow\"\nservice = \"misbehave\"\nmethod = \"Loop\"\ntimeout = \"100ms\"\n\
                  [plugins.limits]\ntime = \"1h\"\n";
    let gateway = gateway(config, &["echo", "misbehave"]).await;
    let text = "content-type: text/plain\r\n";
    let answer = ask(gateway.http, "POST /raw/7", text, "as it is").await;
    answer.check(200, "as it is");
    ask(
        gateway.http,
        "POST /raw/7",
        "accept: application/json\r\n",
        "x",
    )
    .await
    .json(406);
    ask(gateway.http, "POST /slow", "", "").await.json(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_and_a_fixed_answer_are_as_they_are_written() {
    let _machine = share().await;
    let config = "[routes.old]\npath = \"/old/{id}\"\nredirect = { to = \"/new/{id}\" }\n\
                  [routes.gone]\npath = \"/gone\"\n\
                  redirect = { to = \"https://x.org/\", status = 302, keep-query = false }\n\
                  [routes.hello]\npath = \"/hello\"\n\
                  [routes.hello.fixed]\nstatus = 418\nbody = \"<p>\"\n\
                  headers = { content-type = \"text/html\", x-own = \"1\" }\n";
    let gateway = gateway(config, &[]).await;
    let answer = ask(gateway.http, "POST /old/7?a=b", "", "").await;
    answer.check(308, "").has("location: /new/7?a=b");
    let answer = ask(gateway.http, "GET /gone?a=b", "", "").await;
    answer.check(302, "").has("location: https://x.org/");
    let answer = ask(gateway.http, "GET /hello", "", "").await;
    answer
        .check(418, "<p>")
        .has("content-type: text/html")
        .has("x-own: 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_change_with_the_configuration_and_a_bad_one_changes_nothing() {
    let _machine = share().await;
    let gateway = gateway(&first(""), &[]).await;
    ask(gateway.http, "GET /x", "", "")
        .await
        .check(200, "first");
    let text = configuration(&gateway);
    configure(
        &gateway,
        &text.replace("body = \"first\"", "body = \"changed\""),
    )
    .await;
    ask(gateway.http, "GET /x", "", "")
        .await
        .check(200, "changed");
    fs::write(
        gateway.folder().join("bad.toml"),
        first("methods = [\"get\"]"),
    )
    .expect("written");
    let check = gateway.postern(&["--config", "bad.toml", "check"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    configure(
        &gateway,
        &text
            .replace("[routes.a]", "[routes.c]")
            .replace("\"/x\"", "\"/y\""),
    )
    .await;
    ask(gateway.http, "GET /x", "", "")
        .await
        .check(200, "other");
    ask(gateway.http, "GET /y", "", "")
        .await
        .check(200, "first");
}

#[test]
fn check_names_a_route_that_a_listener_hides() {
    let folder = tempfile::tempdir().expect("a folder");
    let route = |path: &str, keys: &str| {
        format!("[routes.mine]\npath = \"{path}\"\nfixed = {{ status = 204 }}\n{keys}\n")
    };
    let only_sessions = "[listeners.http.websocket]\npaths = [\"/vstp\"]\n";
    let elsewhere = "[listeners.web]\nprotocol = \"http\"\naddress = \"127.0.0.1:8081\"\n\
                     websocket.paths = []\n";
    let at_web = "listeners = [\"web\"]";
    for (config, hidden) in [
        (route("/vstp", ""), Some("/vstp")),
        (route("/ws/{rest*}", ""), Some("/ws/SERVICE/METHOD")),
        (route("/ws/chat/{room}", ""), Some("/ws/SERVICE/METHOD")),
        (route("/ws", ""), None),
        (route("/ws/chat", ""), None),
        (route("/{any*}", ""), None),
        (route("/vstp", "enabled = false"), None),
        (route("/ws/{rest*}", only_sessions), None),
        (route("/vstp", only_sessions), Some("/vstp")),
        (route("/vstp", &format!("{at_web}\n{elsewhere}")), None),
        (route("/vstp", elsewhere), Some("/vstp")),
    ] {
        fs::write(folder.path().join("postern.toml"), &config).expect("written");
        let check = postern(folder.path(), &["check"]);
        match hidden {
            None => assert_eq!(check.code, Some(0), "{config}: {check:?}"),
            Some(served) => {
                let told = format!("listeners.http serves {served} over WebSocket itself");
                assert_eq!(check.code, Some(1), "{config}");
                assert!(
                    check.err.contains("routes.mine") && check.err.contains(&told),
                    "{config}: {check:?}"
                );
            }
        }
    }
}

#[test]
fn check_names_both_of_two_routes_that_take_the_same_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[routes.one]\npath = \"/a/{x}\"\nfixed = { status = 204 }\n\
                  [routes.two]\npath = \"/a/{y}\"\nfixed = { status = 204 }\n\
                  [routes.door]\npath = \"/v1/services/x\"\nfixed = { status = 204 }\n\
                  [routes.two-ends]\npath = \"/b\"\nupstream = \"x\"\nfixed = { status = 204 }\n\
                  [routes.none]\npath = \"/c\"\ntypes = { a = \"int\" }\n";
    fs::write(folder.path().join("postern.toml"), config).expect("written");
    let check = postern(folder.path(), &["--output", "json", "check"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    let said: Value = serde_json::from_str(&check.out).expect("json");
    let faults = said["faults"].as_array().expect("faults").iter();
    let told: Vec<_> = faults
        .map(|fault| json!([fault["line"], fault["key"], fault["message"]]))
        .collect();
    let expected = [
        json!([
            2,
            "routes.one.path",
            "takes the same requests as routes.two, for the same reasons"
        ]),
        json!([
            5,
            "routes.two.path",
            "takes the same requests as routes.one, for the same reasons"
        ]),
        json!([
            7,
            "routes.door",
            "paths below /v1/services are served by every HTTP listener itself"
        ]),
        json!([
            13,
            "routes.two-ends.fixed.status",
            "it leads to upstream already"
        ]),
        json!([
            16,
            "routes.none.types",
            "only a route that leads to method has this key"
        ]),
    ];
    assert_eq!(told, expected, "{said:#}");
}
