//! The generator against a store that misbehaves in one way at a time: nothing but an answer counts as one.

use std::net::SocketAddr;

use bytes::Bytes;
use expect_test::{Expect, expect};
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;

/// What the store says to every call.
#[derive(Clone, Copy)]
enum Says {
    /// A message, then a status.
    Message(&'static str),
    /// A status after no message.
    NoMessage(&'static str),
    /// A status at once, which gRPC calls trailers only.
    Only(&'static str),
    /// A message, and that was all.
    NoStatus,
    /// Bytes that are no message.
    Garbage,
    Nothing,
    HangsUp,
}

/// A put whose answer says that the store is at revision 2.
const ANSWER: &[u8] = &[0, 0, 0, 0, 4, 0x0a, 2, 0x18, 2];

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([
        (HeaderName::from_static("grpc-status"), HeaderValue::from_static(code)),
        (HeaderName::from_static("grpc-message"), HeaderValue::from_static("as it was told to say")),
    ])
}

fn answer(says: Says, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let head = Response::new(());
    let (data, trailers) = match says {
        Says::Message(code) => (ANSWER, Some(status(code))),
        Says::NoMessage(code) => (&[][..], Some(status(code))),
        Says::NoStatus => (ANSWER, None),
        Says::Garbage => (&[9; 9][..], Some(status("0"))),
        Says::Only(code) => {
            let (mut parts, body) = head.into_parts();
            parts.headers = status(code);
            return respond.send_response(Response::from_parts(parts, body), true).map(drop);
        }
        Says::Nothing | Says::HangsUp => return Ok(()),
    };
    let mut body = respond.send_response(head, false)?;
    body.send_data(Bytes::from_static(data), trailers.is_none())?;
    trailers.map_or(Ok(()), |trailers| body.send_trailers(trailers))
}

async fn serve(says: Says, socket: TcpStream) {
    let mut connection = h2::server::handshake(socket).await.expect("the generator speaks HTTP/2");
    // Whoever says nothing keeps the call: to drop it would end it.
    let mut unanswered = Vec::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        match says {
            Says::HangsUp => return,
            Says::Nothing => unanswered.push((request, respond)),
            says => answer(says, respond).expect("the generator waits for it"),
        }
    }
}

async fn listen(says: Says, listener: TcpListener) {
    loop {
        let (socket, _) = listener.accept().await.expect("it listens");
        tokio::spawn(serve(says, socket));
    }
}

/// Runs three puts against a store that always says this, and returns what is reported.
fn report(says: Says) -> Value {
    let (listening, address) = std::sync::mpsc::channel::<SocketAddr>();
    let (stop, stopped) = oneshot::channel::<()>();
    let store = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            listening.send(listener.local_addr().expect("its address")).expect("the test waits");
            tokio::select! {
                () = listen(says, listener) => {}
                _ = stopped => {}
            }
        });
    });
    let address = address.recv().expect("it listens");
    let flags = format!(
        "bench put --endpoint {address} --total 3 --clients 1 --connections 1 --timeout 300ms --json"
    );
    let command_line: Vec<String> = flags.split(' ').map(str::to_owned).collect();
    let mut out = Vec::new();
    let outcome = run(&Arguments::read(&command_line), &mut out);
    let report: Value = serde_json::from_slice(&out).expect("it is JSON");
    assert_eq!(outcome.is_ok(), report["operations"] != 0, "nothing at all is an error");
    drop(stop);
    store.join().expect("the store does not panic");
    report
}

fn check(says: Says, expected: Expect) {
    let report = report(says);
    expected.assert_eq(&format!("{} succeeded, failed: {}", report["operations"], report["failures"]));
}

#[test]
fn an_answer_is_a_message_and_status_zero() {
    check(Says::Message("0"), expect!["3 succeeded, failed: {}"]);
}

#[test]
fn a_status_after_a_message_is_a_failure() {
    check(
        Says::Message("14"),
        expect![[r#"0 succeeded, failed: {"Unavailable":{"count":3,"text":"as it was told to say"}}"#]],
    );
}

#[test]
fn a_status_without_a_message_is_a_failure() {
    check(
        Says::NoMessage("8"),
        expect![[r#"0 succeeded, failed: {"ResourceExhausted":{"count":3,"text":"as it was told to say"}}"#]],
    );
    check(
        Says::Only("3"),
        expect![[r#"0 succeeded, failed: {"InvalidArgument":{"count":3,"text":"as it was told to say"}}"#]],
    );
}

#[test]
fn success_without_a_message_is_none() {
    check(
        Says::NoMessage("0"),
        expect![[r#"0 succeeded, failed: {"malformed":{"count":3,"text":"an answer without a message"}}"#]],
    );
    check(
        Says::Only("0"),
        expect![[r#"0 succeeded, failed: {"malformed":{"count":3,"text":"an answer without a message"}}"#]],
    );
}

#[test]
fn a_message_without_a_status_is_a_failure() {
    check(
        Says::NoStatus,
        expect![[r#"0 succeeded, failed: {"malformed":{"count":3,"text":"an answer without a status"}}"#]],
    );
}

#[test]
fn what_is_not_a_message_is_a_failure() {
    check(
        Says::Garbage,
        expect![[
            r#"0 succeeded, failed: {"malformed":{"count":3,"text":"a frame that gRPC does not allow"}}"#
        ]],
    );
}

#[test]
fn silence_is_a_failure() {
    check(
        Says::Nothing,
        expect![[r#"0 succeeded, failed: {"timeout":{"count":3,"text":"no answer in time"}}"#]],
    );
}

#[test]
fn a_broken_connection_is_a_failure_and_then_replaced() {
    // In which words is the system's choice. Without a new connection the second put could not be refused like this.
    let report = report(Says::HangsUp);
    assert_eq!((&report["failed"], &report["failures"]["connection"]["count"]), (&3.into(), &3.into()));
}
