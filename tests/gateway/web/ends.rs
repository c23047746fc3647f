//! How requests to a component end badly, and who is told what.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_fails_its_request_and_cuts_a_body_that_has_begun() {
    let _machine = share().await;
    let gateway = gateway(&GUESTS, "").await;
    for name in GUESTS {
        let answer = get(&gateway, &format!("/{name}/trap")).await;
        assert_eq!(answer.status, 500, "{}", answer.text());
        let message = format!("plugin {name} trapped: unreachable");
        assert!(answer.text().contains(&message), "{}", answer.text());
        patiently("its author is told", async || {
            gateway.log().contains("no page of that name")
        })
        .await;
        let answer = get(&gateway, &format!("/{name}/cut")).await;
        assert_eq!((answer.status, answer.is_cut), (200, true), "{name}");
        assert!(answer.body.len() <= 400 * 1024);
        // The next request has another instance.
        get(&gateway, &format!("/{name}/count"))
            .await
            .check(200, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_ends_with_the_time_of_its_plugin() {
    let _machine = share().await;
    let manifest = "limits = { time = \"300ms\" }\n";
    let setup = Setup::default().plugin("web-p2").plugin("web-p3");
    let setup = setup
        .file("web-p2.toml", manifest)
        .file("web-p3.toml", manifest);
    let gateway = Gateway::start(setup).await;
    for name in GUESTS {
        let answer = get(&gateway, &format!("/{name}/loop")).await;
        assert_eq!(answer.status, 504, "{}", answer.text());
        let message = format!("plugin {name} exceeded its time limit 300 ms");
        assert!(answer.text().contains(&message), "{}", answer.text());
        get(&gateway, &format!("/{name}/count"))
            .await
            .check(200, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_is_waited_for_until_the_deadline() {
    let _machine = share().await;
    let setup = Setup {
        config: "[calls]\ntimeout = \"500ms\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("web-p2").plugin("web-p3")).await;
    for name in GUESTS {
        let answer = get(&gateway, &format!("/{name}/sleep?60000")).await;
        assert_eq!(answer.status, 504, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_says_nothing_or_an_error_is_told_as_such() {
    let _machine = share().await;
    let gateway = gateway(&GUESTS, "instances = { max = 1 }\n").await;
    let answer = get(&gateway, "/web-p2/nothing").await;
    assert_eq!(answer.status, 500);
    let message = "plugin web-p2 has returned without a response";
    assert!(answer.text().contains(message), "{}", answer.text());
    for name in GUESTS {
        let answer = get(&gateway, &format!("/{name}/error")).await;
        assert_eq!(answer.status, 500);
        assert!(
            answer.text().contains("answers with an error"),
            "{}",
            answer.text()
        );
        assert!(answer.text().contains("a fault"), "{}", answer.text());
    }
    let answer = get(&gateway, "/web-p2/unfinished").await;
    assert_eq!((answer.status, answer.is_cut), (200, true));
    // None was a trap, and only the instance that said nothing was replaced.
    get(&gateway, "/web-p2/count").await.check(200, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_the_instance() {
    let _machine = share().await;
    let manifest = "instances = { max = 1 }\n[limits]\ntime = \"60s\"\n";
    let gateway = gateway(&["web-p2"], manifest).await;
    let left = timeout(
        Duration::from_millis(300),
        get(&gateway, "/web-p2/sleep?60000"),
    )
    .await;
    assert!(left.is_err(), "it sleeps for a minute");
    get(&gateway, "/web-p2/count").await.check(200, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_goes_on_behind_its_answer() {
    let _machine = share().await;
    let gateway = gateway(&["web-p2"], "instances = { max = 1 }\n").await;
    get(&gateway, "/web-p2/behind").await.check(200, "0");
    // The next request waits for the one instance, in which the work was done.
    get(&gateway, "/web-p2/behind").await.check(200, "1");
}
