//! What routes lead to: files and upstreams, each behind the same guards.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn files_are_those_of_the_folder() {
    let _machine = share().await;
    let site = tempfile::tempdir().expect("a folder");
    let (www, far) = (site.path().join("www"), site.path().join("far.txt"));
    fs::create_dir(&www).expect("made");
    for (name, text) in [
        ("index.html", "index"),
        ("a.txt", "plain"),
        ("a.txt.gz", "packed"),
        (".env", "hidden"),
    ] {
        fs::write(www.join(name), text).expect("written");
    }
    fs::write(&far, "far").expect("written");
    std::os::unix::fs::symlink(&far, www.join("link.txt")).expect("a link");
    let gzip = "accept-encoding: gzip\r\n";
    for (keys, line, head, status, body) in [
        ("", "GET /www/", "", 200, "index"),
        ("index = false", "GET /www/", "", 404, ""),
        ("", "GET /www/a.txt", gzip, 200, "packed"),
        (
            "precompressed = false",
            "GET /www/a.txt",
            gzip,
            200,
            "plain",
        ),
        ("", "GET /www/none", "", 404, ""),
        (
            "fallback = \"index.html\"",
            "GET /www/none",
            "",
            200,
            "index",
        ),
        ("", "GET /www/.env", "", 404, ""),
        ("hidden = true", "GET /www/.env", "", 200, "hidden"),
        ("", "GET /www/link.txt", "", 404, ""),
        ("follow-links = true", "GET /www/link.txt", "", 200, "far"),
        ("", "PUT /www/a.txt", "", 405, ""),
    ] {
        let config = format!(
            "[routes.www]\npath = \"/www/{{path*}}\"\n[routes.www.files]\nfolder = \"{}\"\n{keys}\n",
            www.display()
        );
        let gateway = gateway(&config, &[]).await;
        let answer = ask(gateway.http, line, head, "").await;
        assert_eq!(answer.status, status, "{keys} {line}: {}", answer.body);
        if !body.is_empty() {
            assert_eq!(answer.body, body, "{keys} {line}");
        }
    }
}

/// The guest tells in a header what it was asked for. Its method is called by a method of that name:
/// any token is one.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_asked_for_what_the_route_says() {
    let _machine = share().await;
    for (keys, seen) in [
        ("", "x.localhost/api/a%20b/c?d"),
        ("strip-prefix = \"/api\"", "x.localhost/a%20b/c?d"),
        ("rewrite-path = \"/v2/{rest}\"", "x.localhost/v2/a%20b/c?d"),
        ("rewrite-host = \"up.example\"", "up.example/api/a%20b/c?d"),
    ] {
        let config =
            format!("[routes.api]\npath = \"/api/{{rest*}}\"\nupstream = \"probe\"\n{keys}\n");
        let gateway = gateway(&config, &["probe"]).await;
        let answer = ask(gateway.http, "Mirror /api/a%20b/c?d", "", "body").await;
        assert_eq!(answer.status, 200, "{keys}: {}", answer.body);
        answer.has(&format!("seen-target: mirror http://{seen}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guards_and_limits_act_on_every_end() {
    let _machine = share().await;
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let site = tempfile::tempdir().expect("a folder");
    fs::write(site.path().join("a"), "file").expect("written");
    let config = format!(
        "[routes.fixed]\npath = \"/fixed\"\nfixed = {{ status = 200, body = \"fixed\" }}\n\
         [routes.moved]\npath = \"/moved\"\nredirect = {{ to = \"/fixed\" }}\n\
         [routes.site]\npath = \"/site/{{path*}}\"\nfiles = {{ folder = \"{}\" }}\n\
         [routes.echo]\npath = \"/echo\"\nservice = \"echo\"\nmethod = \"Echo\"\n\
         [routes.up]\npath = \"/up\"\nupstream = \"echo\"\n\
         [routes.open]\npath = \"/open\"\nfixed = {{ status = 200, body = \"open\" }}\n\
         [auth.api-keys.keys.ada]\nhash = \"sha256:{hash}\"\n\
         [authorization]\ndefault = \"deny\"\n\
         [authorization.rules.known]\neffect = \"allow\"\nprincipals = [\"*\"]\n\
         [authorization.rules.open]\neffect = \"allow\"\nanonymous = true\ncalls = [\"routes/open\"]\n\
         [limits.few]\nby = \"global\"\nrate = 1\nper = \"1h\"\nburst = 1\ncalls = [\"routes/moved\"]\n",
        site.path().display()
    );
    let gateway = gateway(&config, &["echo"]).await;
    let key = "x-vsp-api-key: secret\r\n";
    for (line, body) in [
        ("GET /fixed", "fixed"),
        ("GET /site/a", "file"),
        ("POST /echo", ""),
        ("GET /up", ""),
    ] {
        let refused = ask(gateway.http, line, "", "").await;
        assert!(
            [401, 403].contains(&refused.status),
            "{line}: {}",
            refused.status
        );
        ask(gateway.http, line, key, "").await.check(200, body);
    }
    ask(gateway.http, "GET /open", "", "")
        .await
        .check(200, "open");
    ask(gateway.http, "GET /moved", key, "")
        .await
        .check(308, "");
    assert_eq!(ask(gateway.http, "GET /moved", key, "").await.status, 429);
}
