//! The edge beside nginx, by wrk with 64 connections: a hello through a component beside a fixed answer, the
//! reverse proxy to a server of hyper's, and TLS with one certificate.
//!
//! nginx has a worker for each processor and keeps its connections to the upstream, as the gateway does.
//! hyper, and a proxy of hyper's server and client, stand in the same turns: what they reach is what is to be had
//! with the library that the gateway has its HTTP from.

use std::{fs, io, net::SocketAddr, path::Path, time::Duration};

use postern_tests::{Gateway, Setup, ToolProcess, free_address, system_tool};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use crate::{
    serve::{Role, Server, cpu, cpu_of_tree},
    table::{Goal, Table, progress},
    wrk,
};

const PASSES: usize = 7;

/// What is asked for.
struct Ask<'a> {
    what: &'a str,
    ours: String,
    nginx: String,
    /// A server of the library alone that does the same.
    hyper: Option<(String, &'a Server)>,
    /// Each request on a connection of its own.
    is_fresh: bool,
    goal: Goal,
}

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hyper = Server::start(Role::Hyper);
    let proxy = Server::proxy_to(hyper.address);
    write_certificate(folder.path()).expect("writable");
    let nginx = Nginx::start(folder.path(), hyper.address).await;
    let secure = free_address().expect("a free port");
    let gateway = Gateway::start(setup(&folder, hyper.address, secure)).await;
    let (plain, path) = (gateway.http, "/v1/services/echo/Echo");
    let asks = [
        Ask {
            what: "hello through echo",
            ours: format!("http://{plain}{path}"),
            nginx: format!("http://{}/hello", nginx.plain),
            hyper: Some((format!("http://{}/hello", hyper.address), &hyper)),
            is_fresh: false,
            goal: Goal::AtLeast(0.8),
        },
        Ask {
            what: "proxy to hyper",
            ours: format!("http://{plain}/up"),
            nginx: format!("http://{}/up", nginx.plain),
            hyper: Some((format!("http://{}/up", proxy.address), &proxy)),
            is_fresh: false,
            goal: Goal::AtLeast(1.0),
        },
        Ask {
            what: "hello over TLS",
            ours: format!("https://{secure}{path}"),
            nginx: format!("https://{}/hello", nginx.secure),
            hyper: None,
            is_fresh: false,
            goal: Goal::None,
        },
        Ask {
            what: "TLS handshakes",
            ours: format!("https://{secure}{path}"),
            nginx: format!("https://{}/hello", nginx.secure),
            hyper: None,
            is_fresh: true,
            goal: Goal::None,
        },
    ];
    for ask in asks {
        compare(table, &ask, &gateway, &nginx).await;
    }
}

async fn compare(table: &mut Table, ask: &Ask<'_>, gateway: &Gateway, nginx: &Nginx) {
    progress(&format!("{} beside nginx", ask.what));
    let (mut passes, mut to_hyper, mut of_hyper) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PASSES {
        let ours = wrk::hello(&ask.ours, ask.is_fresh, || cpu(gateway.id())).await;
        let ours = ours.expect("wrk counts");
        let theirs = wrk::hello(&ask.nginx, ask.is_fresh, || nginx.cpu()).await;
        let theirs = theirs.expect("wrk counts");
        if let Some((url, server)) = &ask.hyper {
            let hyper = wrk::hello(url, ask.is_fresh, || server.cpu()).await;
            let hyper = hyper.expect("wrk counts");
            to_hyper.push([ours, hyper]);
            of_hyper.push([hyper, theirs]);
        }
        passes.push([ours, theirs]);
    }
    let what = format!("{} x {}", ask.what, wrk::CONNECTIONS);
    wrk::tell(table, &what, "nginx", passes, ask.goal);
    if ask.hyper.is_some() {
        wrk::tell(table, &what, "hyper alone", to_hyper, Goal::None);
        let what = format!("{what}, hyper alone");
        wrk::tell(table, &what, "nginx", of_hyper, Goal::None);
    }
}

/// Made once, shown by both.
pub(crate) fn write_certificate(folder: &Path) -> io::Result<()> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(names).map_err(io::Error::other)?;
    fs::write(folder.join("edge.pem"), cert.pem())?;
    fs::write(folder.join("edge.key"), signing_key.serialize_pem())
}

fn setup(folder: &TempDir, upstream: SocketAddr, secure: SocketAddr) -> Setup {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let config = format!(
        "[log]\nlevel = \"warn\"\naccess = \"off\"\n\
         [instances.up]\nservice = \"up\"\naddresses = [\"http://{upstream}\"]\n\
         [routes.up]\npath = \"/up\"\nupstream = \"up\"\n\
         [listeners.secure]\nprotocol = \"http\"\naddress = \"{secure}\"\n\
         [listeners.secure.tls]\ncertificate-file = \"{}\"\nkey-file = \"{}\"\n",
        file("edge.pem"),
        file("edge.key"),
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    setup.plugin("echo")
}

/// nginx with two servers. Dropping it ends it.
pub(crate) struct Nginx {
    process: ToolProcess,
    pub(crate) plain: SocketAddr,
    secure: SocketAddr,
}

impl Nginx {
    pub(crate) async fn start(folder: &Path, upstream: SocketAddr) -> Self {
        let plain = free_address().expect("a free port");
        let secure = free_address().expect("a free port");
        let path = folder.join("nginx.conf");
        let config = nginx_config(folder, plain, secure, upstream);
        fs::write(&path, config).expect("writable");
        let mut command = std::process::Command::new(system_tool("nginx"));
        command.arg("-p").arg(folder).arg("-c").arg(&path);
        let mut process = ToolProcess::start(command.args(["-e", "stderr"]));
        process.listening(plain).await;
        Self {
            process,
            plain,
            secure,
        }
    }

    /// Of the process that leads and its workers.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of_tree(self.process.id())
    }
}

fn nginx_config(
    folder: &Path,
    plain: SocketAddr,
    secure: SocketAddr,
    upstream: SocketAddr,
) -> String {
    let folder = folder.display();
    let places = "location = /hello { default_type application/json; return 200 '\"hello\"'; }\n\
        location = /up { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header connection ''; }";
    format!(
        "daemon off; worker_processes auto; pid {folder}/nginx.pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
         access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         keepalive_requests 1000000000;\n\
         upstream up {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{ listen {plain}; {places} }}\n\
         server {{ listen {secure} ssl; ssl_certificate {folder}/edge.pem;\n\
         ssl_certificate_key {folder}/edge.key; ssl_protocols TLSv1.3; {places} }}\n\
         }}\n"
    )
}
