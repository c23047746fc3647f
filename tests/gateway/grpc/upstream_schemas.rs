//! Schemas of services elsewhere, by reflection and by files: HTTP and JSON by `google.api.http` before a server
//! that knows gRPC alone (`library.py`), and files that change while calls are under way.

use std::{fs, path::Path, process::Stdio, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{Body, BodyStream, Call, Error, Handler};
use postern_tests::{CallerTransport, Gateway, Load, Setup, connect, patiently, postern};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    sync::mpsc,
    time::timeout,
};

use super::{
    PATIENCE, script,
    transcoding::{JSON, ask},
};
use crate::share;

const SCHEMA: &str = include_str!("library.proto");

/// Instances are looked at often, so that what they say is known soon.
const DIRECTORY: &str =
    "[directory]\nprobe-interval = \"100ms\"\nprobe-down-interval = \"100ms\"\n";

/// A server of `acme.Library` by the C core. It ends with the test.
struct Library {
    port: u16,
    folder: TempDir,
    process: Child,
}

impl Library {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("library.proto"), SCHEMA).expect("written");
        let (port, process) = Self::run(folder.path(), 0).await;
        Self {
            port,
            folder,
            process,
        }
    }

    async fn run(folder: &Path, port: u16) -> (u16, Child) {
        let mut process = script("library.py")
            .args([folder.as_os_str(), port.to_string().as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python runs");
        let mut said = BufReader::new(process.stdout.take().expect("piped"));
        let mut port = String::new();
        let reading = timeout(PATIENCE, said.read_line(&mut port)).await;
        reading.expect("it starts").expect("a port");
        (port.trim().parse().expect("a port"), process)
    }

    /// Ends it, and starts another one with `schema` at the same port.
    async fn replace(&mut self, schema: &str) {
        self.process.kill().await.expect("it ends");
        fs::write(self.folder.path().join("library.proto"), schema).expect("written");
        let (port, process) = Self::run(self.folder.path(), self.port).await;
        assert_eq!(port, self.port);
        self.process = process;
    }

    fn instance(&self) -> String {
        let port = self.port;
        format!(
            "[instances.library]\nservice = \"acme.Library\"\naddresses = [\"grpc://127.0.0.1:{port}\"]\n"
        )
    }
}

/// What the configuration says where the schema is that of a file, and nobody is asked for it.
fn of_file(file: &Path) -> String {
    let file = file.display().to_string();
    format!("[services.\"acme.Library\"]\nproto = [{file:?}]\ngrpc.reflection = false\n")
}

async fn gateway(config: String) -> Gateway {
    let setup = Setup {
        config,
        ..Setup::default()
    };
    Gateway::start(setup).await
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    ask(gateway.http, &format!("GET {path}"), "", "")
        .await
        .status
}

/// What is degraded of schemas: what about, and why.
async fn degraded(gateway: &Gateway) -> Vec<(String, String)> {
    let told = gateway.admin_json("/readyz").await;
    let degraded = told["degraded"].as_array().expect("a list").iter();
    let schemas = degraded.filter(|reason| reason["name"] == "schema");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    schemas
        .map(|reason| (text(&reason["subject"]), text(&reason["message"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_elsewhere_has_the_routes_of_its_schema() {
    let _machine = share().await;
    let library = Library::start().await;
    let by_reflection = format!("{}{DIRECTORY}", library.instance());
    let file = library.folder.path().join("library.proto");
    let by_file = format!("{}{}", library.instance(), of_file(&file));
    for config in [by_reflection, by_file] {
        let gateway = gateway(config).await;
        patiently("the routes are there", async || {
            status(&gateway, "/v1/shelves/1/books/2").await == 200
        })
        .await;
        let get = async |path: &str| ask(gateway.http, &format!("GET {path}"), "", "").await;
        let book = json!({ "name": "shelves/1/books/2", "title": "T", "copies": "7" });
        assert_eq!(get("/v1/shelves/1/books/2").await.json(200), book);
        let body = "{\"title\":\"N\",\"copies\":3}";
        let created = ask(gateway.http, "POST /v1/shelves/1/books", JSON, body).await;
        let book = json!({ "name": "shelves/1/books/new", "title": "N", "copies": "3" });
        assert_eq!(created.json(200), book);
        let listed = get("/v1/shelves/1/books?page_size=2").await.json(200);
        let books = json!([{ "name": "shelves/1/books/0" }, { "name": "shelves/1/books/1" }]);
        assert_eq!(listed, books);
        let told = get("/v1/shelves/1/books/missing").await.json(404);
        assert_eq!(told["error"]["status"], "NOT_FOUND", "{told}");
        assert_eq!(told["error"]["message"], "no such book", "{told}");
        let told = get("/v1/shelves/1/books?page=2").await.json(400);
        let violation = &told["error"]["details"][0]["fieldViolations"][0];
        assert_eq!(violation["field"], "page", "{told}");
        let document = get("/openapi.json").await.json(200);
        let shown = &document["paths"]["/v1/shelves/{shelves_id}/books/{books_id}"]["get"];
        assert_eq!(shown["operationId"], "acme.Library.GetBook", "{document}");
        let shown =
            document["paths"]["/v1/shelves/{shelves_id}/books"]["post"]["requestBody"].to_string();
        assert!(shown.contains("acme.Book"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_a_service_elsewhere_change_and_go_with_what_it_says() {
    let _machine = share().await;
    let mut library = Library::start().await;
    let gateway = gateway(format!("{}{DIRECTORY}", library.instance())).await;
    patiently("the routes are there", async || {
        status(&gateway, "/v1/shelves/1/books/2").await == 200
    })
    .await;
    library.replace(&SCHEMA.replace("\"/v1/", "\"/v2/")).await;
    patiently(
        "they are those of the next life of the server",
        async || status(&gateway, "/v2/shelves/1/books/2").await == 200,
    )
    .await;
    assert_eq!(status(&gateway, "/v1/shelves/1/books/2").await, 404);
    let path = gateway.folder().join("postern.toml");
    let config = fs::read_to_string(&path).expect("there");
    let without = config.replace(&library.instance(), "");
    assert_ne!(without, config);
    fs::write(&path, without).expect("written");
    patiently("they are gone with the instance", async || {
        status(&gateway, "/v2/shelves/1/books/2").await == 404
    })
    .await;
    let document = ask(gateway.http, "GET /openapi.json", "", "").await;
    let document = document.json(200).to_string();
    assert!(!document.contains("acme.Library"), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_of_the_configuration_comes_first_and_check_names_both() {
    let _machine = share().await;
    let library = Library::start().await;
    let file = library.folder.path().join("library.proto");
    let fixed = SCHEMA.replace("/v1/{name=shelves/*/books/*}", "/v1/books");
    fs::write(&file, fixed).expect("written");
    let route =
        "[routes.mine]\npath = \"/v1/books\"\nmethods = [\"GET\"]\nfixed = { status = 204 }\n";
    let config = format!("{}{}{route}", library.instance(), of_file(&file));
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("plugins")).expect("made");
    fs::write(folder.path().join("postern.toml"), &config).expect("written");
    let checked = postern(folder.path(), &["check"]);
    assert_ne!(checked.code, Some(0), "{checked:?}");
    let told = format!("{}{}", checked.out, checked.err);
    let expected =
        "route acme.Library.GetBook: it takes the same requests as route mine, which has them";
    assert!(told.contains(expected), "{told}");
    let gateway = gateway(config).await;
    assert_eq!(status(&gateway, "/v1/books").await, 204);
    assert_eq!(status(&gateway, "/v1/shelves/1/books").await, 200);
}

/// A call of `Copy` under way.
struct Copying {
    sender: mpsc::Sender<Bytes>,
    replies: BodyStream,
}

impl Copying {
    /// Begins it with a book of that title.
    async fn begin(handler: &dyn Handler, title: &str) -> Self {
        let (sender, receiver) = mpsc::channel(4);
        let messages = stream::unfold(receiver, |mut receiver| async {
            let message = receiver.recv().await?;
            Some((Ok::<_, Error>(message), receiver))
        });
        // The server answers when it has something to copy.
        sender.send(book(title)).await.expect("it is read");
        let mut call = Call::unary("acme.Library", "Copy", "");
        call.body = Body::Messages(BodyStream::new(messages));
        let reply = handler.call(call).await.expect("it begins");
        let replies = reply.body.into_messages(1 << 20);
        let mut copying = Self { sender, replies };
        copying.receives(title).await;
        copying
    }

    async fn receives(&mut self, title: &str) {
        let reply = self.replies.next().await.expect("one");
        assert_eq!(reply.expect("good"), book(title));
    }

    /// Sends one book more, and then nothing.
    async fn end(mut self, title: &str) {
        self.sender.send(book(title)).await.expect("it is read");
        self.receives(title).await;
        drop(self.sender);
        assert!(self.replies.next().await.is_none(), "it ends in order");
    }
}

fn book(title: &str) -> Bytes {
    json!({ "title": title }).to_string().into()
}

/// Waits until the schema of the service is refused for a reason that has `part`.
async fn refused(gateway: &Gateway, part: &str) {
    patiently(part, async || {
        let told = degraded(gateway).await;
        told.iter().any(|(subject, message)| {
            subject == "acme.Library"
                && message.contains(part)
                && message.ends_with("the schema before stays in service")
        })
    })
    .await;
    assert!(gateway.log().contains(part), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_schema_are_followed_and_calls_go_on() {
    let _machine = share().await;
    let library = Library::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("below it")).expect("made");
        fs::write(path, text).expect("written");
    };
    write("library.proto", SCHEMA);
    let file = folder.path().join("library.proto");
    let gateway = gateway(format!("{}{}", library.instance(), of_file(&file))).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let body = Bytes::from_static(b"{\"name\":\"shelves/1/books/2\"}");
    let pause = Duration::from_millis(5);
    let load = Load::start(&handler, "acme.Library/GetBook", &body, 2, pause);
    let copying = Copying::begin(&*handler, "first").await;

    assert_eq!(status(&gateway, "/v1/shelves/1/books/2").await, 200);
    let broken = SCHEMA.replace("int64 copies", "number copies");
    write("library.proto", &broken);
    refused(&gateway, "library.proto:9:").await;
    assert_eq!(status(&gateway, "/v1/shelves/1/books/2").await, 200);

    // What is imported counts as well, once it is there.
    let moved = SCHEMA.replace("\"/v1/", "\"/v2/");
    let import = "import \"shelves/page.proto\";\nimport \"google/api/annotations.proto\";";
    let importing = moved.replace("import \"google/api/annotations.proto\";", import);
    write("library.proto", &importing);
    refused(&gateway, "shelves/page.proto").await;
    let page = "syntax = \"proto3\";\npackage acme.shelves;\n";
    write("shelves/page.proto", page);
    patiently("the routes are those of the new files", async || {
        status(&gateway, "/v2/shelves/1/books/2").await == 200
    })
    .await;
    assert_eq!(status(&gateway, "/v1/shelves/1/books/2").await, 404);
    patiently("nothing is refused", async || {
        degraded(&gateway).await.is_empty()
    })
    .await;

    copying.end("last").await;
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert!(!outcome.answered.is_empty());
}
