//! Which addresses can be listened on together.

use super::*;

#[test]
fn what_is_listed_twice_is_listened_on_once() {
    let urls =
        "http://127.0.0.1:1,https://127.0.0.1:1,http://127.0.0.1:1/,unix:///run/a.sock,unix:///run/a.sock";
    let line =
        format!("--listen-client-urls {urls} --advertise-client-urls http://a:1 --cert-file a --key-file b");
    let found: Vec<String> = config(&line).listen_client.into_iter().map(|address| address.url).collect();
    assert_eq!(found, ["http://127.0.0.1:1", "https://127.0.0.1:1", "unix:///run/a.sock"]);
}

#[test]
fn addresses_that_exclude_each_other_are_refused_with_both() {
    let check = |line: &str, expected: &str| assert_eq!(refusal(line), expected, "{line}");
    check(
        "--listen-metrics-urls http://127.0.0.1:2379",
        "cannot bind both --listen-client-urls and --listen-metrics-urls on the same url http://127.0.0.1:2379: give \
         each a port of its own",
    );
    check(
        "--listen-client-http-urls http://0.0.0.0:2379",
        "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://0.0.0.0:2379: give \
         each a port of its own",
    );
    check(
        "--listen-peer-urls http://127.0.0.1:2379",
        "cannot bind both --listen-client-urls and --listen-peer-urls on the same url http://127.0.0.1:2379: give each a \
         port of its own",
    );
    check(
        "--listen-metrics-urls http://[::1]:9,http://[::]:9",
        "--listen-metrics-urls: http://[::1]:9 and http://[::]:9 cannot be listened on together: one of them is all \
         addresses of this machine; leave the other one out",
    );
    // Nobody listens there.
    config("--role journal --listen-metrics-urls http://127.0.0.1:2379");
    config("--listen-metrics-urls http://127.0.0.1:0,http://127.0.0.1:0,http://127.0.0.2:2379");
}

#[test]
fn members_are_not_reached_by_files() {
    for line in ["--listen-peer-urls unix:///a", "--initial-advertise-peer-urls unixs://a:1"] {
        assert!(refusal(line).contains("URL scheme must be http or https between members"), "{line}");
    }
    assert!(refusal("--initial-cluster a=unix:///a").contains("URL scheme must be http or https"));
}
