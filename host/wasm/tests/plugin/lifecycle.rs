//! Deploy, refuse, replace, roll back, remove; what is kept and what is freed.

use std::{fs, time::Duration};

use bytes::Bytes;
use postern_core::Kind;
use postern_wasm::{HealthStatus, Plugin, PluginLimits, PluginSpec, PluginState, Role, Stage};

use crate::guest::{
    Fixture, all, answer, build, call, runtime_in, small, small_number, with_health,
};

/// Deploys `bad` over a good version: it must be refused at `stage` with `reason`, and the good
/// version must go on serving.
async fn check_refused(bad: &[u8], stage: Stage, reason: &str) {
    let fixture = Fixture::new();
    let limits = PluginLimits {
        time_max: Duration::from_millis(200),
        ..PluginLimits::default()
    };
    let spec = PluginSpec {
        limits,
        ..PluginSpec::default()
    };
    let plugin = fixture.plugin("users", &small(), spec.clone()).await;
    let refusal = plugin
        .deploy(Bytes::copy_from_slice(bad), spec)
        .await
        .unwrap_err();
    assert_eq!(refusal.stage, stage, "{refusal}");
    assert!(refusal.reason.contains(reason), "{refusal}");
    let status = plugin.status();
    assert_eq!(
        (status.state, status.generation),
        (PluginState::Active, Some(1))
    );
    assert_eq!(status.refusal.unwrap().reason, refusal.reason);
    assert_eq!(status.stats.reloads_refused, 1);
    assert_eq!(answer(&plugin, "e", b"still").await, "still");
}

#[tokio::test]
async fn refuses_garbage_and_truncation() {
    check_refused(b"garbage", Stage::Compiled, "magic").await;
    let whole = small();
    check_refused(
        &whole[..whole.len() - 10],
        Stage::Compiled,
        "unexpected end",
    )
    .await;
    check_refused(b"", Stage::Compiled, "").await;
}

#[tokio::test]
async fn refuses_an_unknown_import_by_name_with_what_there_is() {
    let text = include_str!("guest/small.wat").replacen(
        "(component",
        "(component (import \"acme:db/query@1.0.0\" (instance (export \"run\" (func))))",
        1,
    );
    let reason = "imports acme:db/query@1.0.0, which this host does not offer; it offers postern:gateway/async-call@0.1.x, postern:gateway/call@0.1.x";
    check_refused(&build(&text), Stage::Linked, reason).await;
}

#[tokio::test]
async fn refuses_a_function_that_an_interface_does_not_have() {
    let text = include_str!("guest/small.wat").replacen(
        "(component",
        "(component (import \"postern:gateway/log@0.1.0\" (instance (export \"shout\" (func))))",
        1,
    );
    check_refused(&build(&text), Stage::Linked, "shout").await;
}

#[tokio::test]
async fn refuses_the_wrong_world_and_says_which_roles_there_are() {
    let text =
        "(component (core module $m (func (export \"run\"))) (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i \"run\")))
        (instance $run (export \"run\" (func $run)))
        (export \"wasi:cli/run@0.2.6\" (instance $run)))";
    let reason = "exports no known role; it exports wasi:cli/run@0.2.6; roles are postern:gateway/handler@0.1.x";
    check_refused(&build(text), Stage::Linked, reason).await;
}

#[tokio::test]
async fn refuses_another_version_of_a_role() {
    let text = include_str!("guest/small.wat").replace("handler@0.1.0", "handler@0.2.0");
    let reason = "exports postern:gateway/handler@0.2.0; this host knows version 0.1.x of it";
    check_refused(&build(&text), Stage::Linked, reason).await;
}

#[tokio::test]
async fn refuses_a_role_of_another_shape() {
    let text = include_str!("guest/small.wat")
        .replace("(param \"body\" (list u8))", "(param \"body\" string)");
    let reason = "function `handle` has another shape: expected `list` found `string`";
    check_refused(&build(&text), Stage::Linked, reason).await;
}

#[tokio::test]
async fn refuses_a_trap_a_loop_and_a_no_in_health() {
    check_refused(&with_health("unreachable"), Stage::Healthy, "unreachable").await;
    let forever = with_health("(call $forever)");
    check_refused(&forever, Stage::Healthy, "time limit 200 ms").await;
    let no = "(i32.store8 (i32.const 640) (i32.const 2)) (i32.store8 (i32.const 644) (i32.const 1))
        (i32.store (i32.const 648) (i32.const 80)) (i32.store (i32.const 652) (i32.const 10))";
    check_refused(
        &with_health(no),
        Stage::Healthy,
        "health: not-serving: bad health",
    )
    .await;
}

#[tokio::test]
async fn the_first_answer_about_health_has_a_time_of_its_own() {
    let fixture = Fixture::new();
    let plugin = Plugin::new(&fixture.runtime, "slow");
    let mut spec = PluginSpec {
        health_max: Duration::from_millis(50),
        ..PluginSpec::default()
    };
    spec.limits.time_max = Duration::from_secs(5);
    let octets = with_health("(call $forever)");
    let refusal = plugin.deploy(octets.into(), spec).await.unwrap_err();
    assert_eq!(refusal.stage, Stage::Healthy);
    assert!(
        refusal.reason.contains("no answer within 50 ms"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_deploy_says_what_it_found() {
    let fixture = Fixture::new();
    let plugin = Plugin::new(&fixture.runtime, "users");
    let deployed = plugin
        .deploy(all().into(), PluginSpec::default())
        .await
        .unwrap();
    assert_eq!(deployed.generation, 1);
    assert_eq!(
        deployed.roles,
        [Role::Handler, Role::StreamHandler, Role::Health]
    );
    assert_eq!(
        deployed
            .services
            .iter()
            .map(|info| &*info.name)
            .collect::<Vec<_>>(),
        ["users"]
    );
    assert_eq!(
        plugin
            .check_health(Duration::from_secs(60))
            .await
            .unwrap()
            .status,
        HealthStatus::Serving
    );
    let stages: Vec<_> = plugin
        .status()
        .history
        .iter()
        .map(|event| event.stage)
        .collect();
    let expected = [
        Stage::Seen,
        Stage::Compiled,
        Stage::Linked,
        Stage::Warmed,
        Stage::Healthy,
        Stage::Active,
    ];
    assert_eq!(stages, expected);
}

#[tokio::test]
async fn a_call_that_began_before_a_swap_ends_on_its_own_version() {
    let fixture = Fixture::new();
    let spec = PluginSpec::default();
    let plugin = fixture.plugin("all", &all(), spec.clone()).await;
    let began = async {
        let mut request = postern_core::Call::unary("test", "l", "");
        request.context.deadline = Some(std::time::Instant::now() + Duration::from_millis(300));
        postern_core::Handler::call(&plugin, request).await
    };
    let swap = async {
        tokio::task::yield_now().await;
        plugin.deploy(small().into(), spec).await.unwrap();
        let during = plugin.status();
        assert_eq!((during.generation, during.draining), (Some(2), 1));
    };
    let (old, ()) = tokio::join!(began, swap);
    // It was stopped by its deadline, not by the swap.
    assert_eq!(old.unwrap_err().kind, Kind::DeadlineExceeded);
    let after = plugin.status();
    assert_eq!(
        after.draining, 0,
        "the version before is freed with its last call"
    );
    assert_eq!(after.stats.instances_live, 2);
}

#[tokio::test]
async fn a_generation_that_is_ready_serves_when_it_is_told_to_and_not_before() {
    let fixture = Fixture::new();
    let first = small_number(1);
    let plugin = fixture.plugin("users", &first, PluginSpec::default()).await;
    let before = plugin.status();
    let ready = plugin
        .prepare(small_number(2).into(), PluginSpec::default())
        .await
        .unwrap();
    assert_eq!(plugin.status().generation, before.generation);
    drop(ready);
    let unused = plugin.status();
    assert_eq!(
        (unused.generation, unused.digest, unused.draining),
        (before.generation, before.digest, 0)
    );
    let begun = std::time::Instant::now();
    while plugin.status().stats.instances_live != before.stats.instances_live {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "its instance lives"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(answer(&plugin, "e", b"x").await, "x");
    // The same components again: their code comes from the cache.
    for (number, source) in [(3, small_number(2)), (4, first)] {
        let ready = plugin
            .prepare(source.into(), PluginSpec::default())
            .await
            .unwrap();
        let deployed = plugin.activate(ready);
        assert_eq!((deployed.generation, deployed.cached), (number, true));
    }
    assert_eq!(plugin.status().digest, before.digest);
    assert_eq!(answer(&plugin, "e", b"x").await, "x");
}

#[tokio::test]
async fn remove_drains_and_frees_everything() {
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin("users", &small(), PluginSpec::default())
        .await;
    assert_eq!(answer(&plugin, "e", b"x").await, "x");
    plugin.remove().await;
    let status = plugin.status();
    assert_eq!(
        (status.state, status.stats.instances_live),
        (PluginState::Removed, 0)
    );
    assert_eq!(
        call(&plugin, "e", b"").await.unwrap_err().kind,
        Kind::Unavailable
    );
}

#[tokio::test]
async fn compiled_code_comes_from_the_cache_until_it_is_damaged() {
    let fixture = Fixture::new();
    let plugin = Plugin::new(&fixture.runtime, "users");
    let deploy = async || {
        plugin
            .deploy(small().into(), PluginSpec::default())
            .await
            .unwrap()
            .cached
    };
    assert!(!deploy().await);
    assert!(deploy().await);
    let cache = fixture.folder.path().join("cache");
    let code = |name: &fs::DirEntry| name.path().extension().is_some_and(|end| end == "cwasm");
    let file = fs::read_dir(cache)
        .unwrap()
        .flatten()
        .find(code)
        .unwrap()
        .path();
    let mut octets = fs::read(&file).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    // A new file, as the old one is mapped.
    fs::remove_file(&file).unwrap();
    fs::write(&file, octets).unwrap();
    assert!(!deploy().await, "damaged code is compiled again");
    assert!(deploy().await);
    let again = Plugin::new(&runtime_in(&fixture.folder), "users");
    assert!(
        again
            .deploy(small().into(), PluginSpec::default())
            .await
            .unwrap()
            .cached
    );
}

#[cfg(unix)]
#[test]
fn a_cache_folder_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::TempDir::new().unwrap();
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o770)).unwrap();
    let config = postern_wasm::RuntimeConfig {
        data_dir: folder.path().to_owned(),
        ..postern_wasm::RuntimeConfig::default()
    };
    let Err(error) = postern_wasm::Runtime::new(config.clone()) else {
        panic!("it was accepted")
    };
    assert!(error.to_string().contains("mode 770"), "{error}");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(postern_wasm::Runtime::new(config).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_under_load_fail_no_call_and_leave_nothing_behind() {
    let fixture = Fixture::new();
    let plugin = std::sync::Arc::new(
        fixture
            .plugin("users", &small(), PluginSpec::default())
            .await,
    );
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers = (0..4_u8).map(|number| {
        let (plugin, stop) = (plugin.clone(), stop.clone());
        tokio::spawn(async move {
            let mut n_calls = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(answer(&plugin, "e", &[number; 64]).await[..], [number; 64]);
                n_calls += 1;
                tokio::task::yield_now().await;
            }
            n_calls
        })
    });
    let callers: Vec<_> = callers.collect();
    let resident = resident_kib();
    for number in 1..=200 {
        let spec = PluginSpec::default();
        plugin
            .deploy(small_number(number).into(), spec)
            .await
            .unwrap();
        // Draining takes as long as a call; it is not waited for by each deployment.
        assert!(mapped(&fixture) <= 40, "after {number} reloads");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    let status = plugin.status();
    assert_eq!((status.generation, status.draining), (Some(201), 0));
    assert_eq!(status.stats.instances_live, status.instances);
    // Whoever holds a generation, or an instance of one, holds its code mapped. What is left is the
    // code of the active one.
    until_mapped(&fixture, KEPT_MAX).await;
    let grown = resident_kib().saturating_sub(resident);
    assert!(
        grown < GROWN_KIB_MAX,
        "{grown} KiB more than {resident} KiB"
    );
    drop(plugin);
    drop(status);
    until_mapped(&fixture, 0).await;
}

/// The active generation.
const KEPT_MAX: usize = 1;
/// The tests beside this one and the allocator take far less; a leak of every memory takes more.
const GROWN_KIB_MAX: usize = 256 * 1024;

/// Waits until at most `n_max` components are mapped: maintenance holds a generation while it looks at
/// it.
async fn until_mapped(fixture: &Fixture, n_max: usize) {
    let begun = std::time::Instant::now();
    while mapped(fixture) > n_max {
        let n_mapped = mapped(fixture);
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{n_mapped} components stay mapped, {n_max} are in use"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Compiled components of `fixture` that are mapped into this process.
fn mapped(fixture: &Fixture) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let folder = fixture.folder.path().to_str().unwrap();
    let files = maps.lines().filter_map(|line| line.split_once(folder));
    let files: std::collections::BTreeSet<_> = files.map(|(_, file)| file).collect();
    files.iter().filter(|file| file.contains(".cwasm")).count()
}

/// Resident memory of this process, in KiB.
fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_component_with_async_built_ins_runs_on_the_other_engine() {
    let text = include_str!("guest/small.wat").replacen(
        "(core module $main",
        "(core func $cancel (canon task.cancel)) (core module $main",
        1,
    );
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin("users", &build(&text), PluginSpec::default())
        .await;
    assert_eq!(answer(&plugin, "e", b"x").await, "x");
    let again = plugin
        .deploy(build(&text).into(), PluginSpec::default())
        .await
        .unwrap();
    assert!(again.cached);
    assert_eq!(answer(&plugin, "e", b"y").await, "y");
}
