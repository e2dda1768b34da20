//! Every path and state of the plain HTTP side, as etcd 3.6 was seen to answer.

use expect_test::{Expect, expect};
use http_body_util::BodyExt;
use journal::{Alarm, Status};
use tokio::sync::watch;

use super::*;

fn http(status: Status, read: Result<(), String>) -> Http {
    let (_, status) = watch::channel(status);
    let read = Box::new(move |_| -> BoxFuture<Result<(), String>> {
        let read = read.clone();
        Box::pin(async move { read })
    });
    Http {
        vitals: Vitals { status, read, unsettled: None, counters: HealthCounters::default() },
        version: Version::default(),
        metrics: Metrics::default(),
        status: Box::new(|| Box::pin(async { "{\"format\":1}".to_owned() })),
        origins: Origins { cors: Names::Any, hosts: Names::Any },
        arguments: vec!["mainstem".to_owned()],
    }
}

fn well() -> Status {
    Status { node: 1, leader: Some(1), ..Status::default() }
}

fn alarmed(alarm: Alarm) -> Http {
    http(Status { alarms: vec![(1, alarm)], ..well() }, Ok(()))
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(path).body(()).expect("the request is well formed")
}

/// The status with the headers, and the body.
#[allow(clippy::needless_pass_by_value)]
fn told(http: Http, request: Request<()>) -> (Vec<String>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let response = http.answer(&request, http.route(&request)).await;
        let mut head = vec![response.status().as_str().to_owned()];
        for name in ["allow", "content-type", "x-content-type-options", "access-control-allow-origin"] {
            let value = response.headers().get(name).map(|value| value.to_str().expect("it is text"));
            head.extend(value.map(|value| format!("{name}: {value}")));
        }
        let body = response.into_body().collect().await.expect("the body has no errors").to_bytes();
        (head, String::from_utf8(body.to_vec()).expect("the body is text"))
    })
}

fn check(http: Http, request: Request<()>, expected: Expect) {
    let (head, body) = told(http, request);
    expected.assert_eq(&format!("{}\n{body}", head.join("\n")));
}

/// Without the headers, which are told once: `headers_are_those_of_gos_pages`.
fn get(http: Http, path: &str, expected: Expect) {
    let (head, body) = told(http, request(Method::GET, path));
    expected.assert_eq(&format!("{}\n{body}", head[0]));
}

#[test]
fn headers_are_those_of_gos_pages() {
    let cases = [
        (http(well(), Ok(())), "/version"),
        (http(well(), Ok(())), "/health"),
        (alarmed(Alarm::NoSpace), "/health"),
        (http(well(), Ok(())), "/livez"),
        (alarmed(Alarm::Corrupt), "/readyz"),
        (http(well(), Ok(())), "/nope"),
    ];
    let line = |(http, path): (Http, &str)| {
        let (head, _) = told(http, request(Method::GET, path));
        format!("{path}: {}\n", head.join(", "))
    };
    expect![[r#"
        /version: 200, content-type: application/json, access-control-allow-origin: *
        /health: 200, content-type: text/plain; charset=utf-8, access-control-allow-origin: *
        /health: 503, content-type: text/plain; charset=utf-8, x-content-type-options: nosniff, access-control-allow-origin: *
        /livez: 200, content-type: text/plain; charset=utf-8, x-content-type-options: nosniff, access-control-allow-origin: *
        /readyz: 503, content-type: text/plain; charset=utf-8, x-content-type-options: nosniff, access-control-allow-origin: *
        /nope: 404, content-type: text/plain; charset=utf-8, x-content-type-options: nosniff, access-control-allow-origin: *
    "#]]
    .assert_eq(&cases.map(line).concat());
}

#[test]
fn versions_are_etcds() {
    get(
        http(well(), Ok(())),
        "/version",
        expect![[r#"
        200
        {"etcdserver":"3.6.16","etcdcluster":"3.6.0","storage":"3.6.0"}"#]],
    );
}

#[test]
fn health_is_a_string() {
    get(
        http(well(), Ok(())),
        "/health",
        expect![[r#"
        200
        {"health":"true","reason":""}"#]],
    );
}

/// Reads work there, and the next one must not be stopped.
#[test]
fn a_memstore_without_its_share_is_well_and_not_ready() {
    let unsettled = || {
        let mut http = http(well(), Ok(()));
        let (_, reason) = watch::channel(Some("m1 does not answer".to_owned()));
        http.vitals.unsettled = Some(reason);
        http
    };
    get(
        unsettled(),
        "/readyz",
        expect![[r#"
            503
            [+]data_corruption ok
            [+]serializable_read ok
            [-]linearizable_read failed: m1 does not answer
            [+]non_learner ok

        "#]],
    );
    get(
        unsettled(),
        "/health",
        expect![[r#"
        200
        {"health":"true","reason":""}"#]],
    );
    get(
        unsettled(),
        "/livez",
        expect![[r#"
            200
            ok
        "#]],
    );
}

#[test]
fn an_alarm_is_told_unless_excluded() {
    get(
        alarmed(Alarm::NoSpace),
        "/health",
        expect![[r#"
        503
        {"health":"false","reason":"ALARM NOSPACE"}
    "#]],
    );
    get(
        alarmed(Alarm::NoSpace),
        "/health?exclude=NOSPACE",
        expect![[r#"
        200
        {"health":"true","reason":""}"#]],
    );
}

#[test]
fn a_leader_is_needed_unless_a_stale_read_will_do() {
    get(
        http(Status::default(), Ok(())),
        "/health",
        expect![[r#"
        503
        {"health":"false","reason":"RAFT NO LEADER"}
    "#]],
    );
    get(
        http(Status::default(), Ok(())),
        "/health?serializable=true",
        expect![[r#"
        200
        {"health":"true","reason":""}"#]],
    );
}

#[test]
fn a_read_that_fails_is_told_with_its_reason() {
    get(
        http(well(), Err("no \"luck\"".to_owned())),
        "/health",
        expect![[r#"
        503
        {"health":"false","reason":"RANGE ERROR:no \"luck\""}
    "#]],
    );
}

#[test]
fn a_probe_that_goes_well_says_little() {
    get(
        http(well(), Ok(())),
        "/livez",
        expect![[r#"
        200
        ok
    "#]],
    );
    get(
        http(well(), Ok(())),
        "/readyz?exclude=data_corruption&verbose",
        expect![[r#"
        200
        [+]serializable_read ok
        [+]linearizable_read ok
        [+]non_learner ok
        ok
    "#]],
    );
}

#[test]
fn a_full_store_is_ready_and_a_corrupt_one_is_not() {
    get(
        alarmed(Alarm::NoSpace),
        "/readyz",
        expect![[r#"
        200
        ok
    "#]],
    );
    get(
        alarmed(Alarm::Corrupt),
        "/readyz",
        expect![[r#"
        503
        [-]data_corruption failed: alarm activated: CORRUPT
        [+]serializable_read ok
        [+]linearizable_read ok
        [+]non_learner ok

    "#]],
    );
}

#[test]
fn one_check_can_be_asked_for() {
    get(
        http(well(), Ok(())),
        "/readyz/non_learner?verbose",
        expect![[r#"
        200
        [+]non_learner ok
        ok
    "#]],
    );
}

#[test]
fn other_paths_are_not_found() {
    for path in ["/", "/v2/keys", "/health/", "/livez/", "/readyz/nope", "/livez/non_learner", "/livezy"] {
        get(
            http(well(), Ok(())),
            path,
            expect![[r#"
            404
            404 page not found
        "#]],
        );
    }
}

#[test]
fn only_get_is_allowed() {
    for path in ["/version", "/health", "/livez", "/readyz", "/debug/vars", "/status.json"] {
        check(
            http(well(), Ok(())),
            request(Method::POST, path),
            expect![[r#"
            405
            allow: GET
            content-type: text/plain; charset=utf-8
            x-content-type-options: nosniff
            access-control-allow-origin: *
            Method Not Allowed
        "#]],
        );
    }
}

#[test]
fn a_host_that_is_not_listed_is_refused() {
    let mut http = http(well(), Ok(()));
    http.origins.hosts = Names::parse("good.example");
    let mut request = request(Method::GET, "/version");
    request.headers_mut().insert(http::header::HOST, HeaderValue::from_static("bad.example:2379"));
    check(
        http,
        request,
        expect![[r#"
        421
        content-type: text/plain; charset=utf-8
        x-content-type-options: nosniff
        the request names the host "bad.example", which is not on the list of this server's names: add it with --host-whitelist bad.example
    "#]],
    );
}

#[test]
fn an_origin_that_is_not_listed_is_not_allowed() {
    let mut http = http(well(), Ok(()));
    http.origins.cors = Names::parse("https://a.example,https://b.example");
    let mut request = request(Method::OPTIONS, "/version");
    request.headers_mut().insert(http::header::ORIGIN, HeaderValue::from_static("https://c.example"));
    check(
        http,
        request,
        expect![[r#"
        200
    "#]],
    );
}

#[test]
fn a_check_that_fails_is_told_in_etcds_words() {
    get(
        http(well(), Err("etcdserver: request timed out".to_owned())),
        "/readyz?exclude=serializable_read",
        expect![[r#"
        503
        [+]data_corruption ok
        [-]linearizable_read failed: etcdserver: request timed out
        [+]non_learner ok

    "#]],
    );
}

#[test]
fn a_learner_is_not_ready() {
    let member = |id, learner| journal::Member { id, learner, ..journal::Member::default() };
    let status = |learner| Status { members: vec![member(1, learner), member(2, !learner)], ..well() };
    get(
        http(status(true), Ok(())),
        "/readyz/non_learner",
        expect![[r#"
        503
        [-]non_learner failed: not supported for learner

    "#]],
    );
    get(
        http(status(false), Ok(())),
        "/readyz/non_learner",
        expect![[r#"
        200
        ok
    "#]],
    );
}

#[test]
fn an_address_for_probes_has_no_versions_and_no_origins() {
    let probe = |path: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let http = http(well(), Ok(()));
        let response = runtime.block_on(http.probe(&request(Method::GET, path)));
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{path}");
        response.status().as_u16()
    };
    for path in ["/health", "/livez", "/readyz", "/metrics", "/status.json"] {
        assert_eq!(probe(path), 200, "{path}");
    }
    for path in ["/version", "/debug/vars", "/v3/kv/range", "/nope"] {
        assert_eq!(probe(path), 404, "{path}");
    }
    assert_eq!(probe("//metrics"), 307);
}
