//! A page of another origin in Chromium calls `user.UserService` by gRPC-Web and by Connect, and reads its stream.
//! The page is `browser/users.html`.

use postern_tests::{Setup, node_packages};
use serde_json::json;

use super::{clients::descriptors, sample};
use crate::{
    browser::{Browser, Site, Told},
    figure, share,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_calls_and_reads_a_stream_by_grpc_web_and_connect() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    descriptors(folder.path()).await;
    let files = |name: &str, folder: String| {
        format!(
            "[routes.{name}]\npath = \"/{name}/{{path*}}\"\nfiles = {{ folder = \"{folder}\" }}\n\
             listeners = [\"pages\"]\n"
        )
    };
    let packages = node_packages("grpc").join("node_modules");
    let config = [
        files("packages", packages.display().to_string()),
        files("schema", folder.path().display().to_string()),
    ];
    let setup = Setup {
        config: config.concat(),
        ..sample()
    };
    let mut site = Site::of(setup).await;
    let browser = Browser::open(&site.url("localhost", "users.html"), &site.certificates);
    let Told {
        finding, answer, ..
    } = site.told(&browser).await;
    // The page has ended.
    let _ = answer.send(());
    for transport in ["grpc-web", "connect", "connect-octets"] {
        let expected = json!({
            "streamed": ["Ada", "Eve", "Joe"],
            "isGathered": false,
            "email": format!("Ada@{transport}.example"),
            "failure": { "code": 5, "rawMessage": "no user has id `nobody`" },
        });
        assert_eq!(
            finding[transport],
            expected,
            "{finding:#}\n{}",
            site.gateway.log()
        );
    }
    figure("gRPC by a page in Chromium: gRPC-Web and Connect, calls and a stream read as it comes");
}
