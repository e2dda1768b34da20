//! The look for etcd at an address where a member of Mainstem should be: its peers speak HTTP/1 to each other, and
//! probe each other by a path that Mainstem does not answer.

use journal::Dialer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No answer that counts is longer.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Returns true where an etcd process answers at a peer URL.
pub(super) async fn answers_at(dialer: &Dialer, url: &str) -> bool {
    let Ok(mut connection) = dialer.connection(url).await else { return false };
    let host = url.split_once("://").map_or(url, |(_, host)| host).trim_end_matches('/');
    let request = format!("GET /raft/probing HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    if connection.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    // etcd closes the connection only after five seconds. What came before an error counts.
    while answer.len() < ANSWER_BYTES_MAX && !is_etcd(&answer) {
        if !connection.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {
            return false;
        }
    }
    is_etcd(&answer)
}

fn is_etcd(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer);
    answer.starts_with("HTTP/1.1 200") && answer.contains("\"OK\":true")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The server answers and, as etcd, does not close the connection.
    async fn check(answer: &'static str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let serving = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("somebody comes");
            let mut asked = vec![0; 1024];
            let read = socket.read(&mut asked).await.expect("it asks");
            assert!(asked[..read].starts_with(b"GET /raft/probing HTTP/1.1\r\nHost: 127.0.0.1:"));
            socket.write_all(answer.as_bytes()).await.expect("it listens");
            if !is_etcd(answer.as_bytes()) {
                return;
            }
            let closed = socket.read(&mut asked).await;
            assert!(!matches!(closed, Ok(1..)), "it says nothing more");
        });
        let found = answers_at(&Dialer::plain(), &url).await;
        serving.await.expect("it was asked");
        found
    }

    #[tokio::test]
    async fn only_etcd_is_taken_for_etcd() {
        let etcd = "HTTP/1.1 200 OK\r\n\r\n{\"OK\":true,\"Now\":\"2026-01-01T00:00:00Z\"}";
        assert!(check(etcd).await);
        assert!(!check("HTTP/1.1 404 Not Found\r\n\r\n").await);
        assert!(!check("HTTP/1.1 200 OK\r\n\r\nhello").await);
        assert!(!check("").await);
        assert!(!answers_at(&Dialer::plain(), "http://127.0.0.1:1").await);
    }
}
