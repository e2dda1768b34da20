//! What comes over a socket, as a client sees it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::kv_server::Kv;
use proto::etcdserverpb::*;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::config::SocketAddress;
use crate::grpc::method::MethodId;
use crate::http::{HealthCounters, Names, Origins, Vitals};
use crate::metrics::Metrics;
use crate::metrics::rpc;
use crate::version::Version;

const MESSAGE_BYTES_MAX: usize = 1_000;

/// Answers a put, hangs on a delete, and streams nothing for ever.
struct Double;

type Pending = tokio_stream::Pending<Result<RangeStreamResponse, Status>>;

#[tonic::async_trait]
impl Kv for Double {
    type RangeStreamStream = Pending;

    async fn range(&self, _: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        Err(Status::invalid_argument("etcdserver: key is not provided"))
    }

    async fn range_stream(&self, _: Request<RangeRequest>) -> Result<Response<Pending>, Status> {
        Ok(Response::new(tokio_stream::pending()))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let PutRequest { key, value, .. } = request.into_inner();
        let prev_kv = Some(proto::mvccpb::KeyValue { key, value, ..Default::default() });
        Ok(Response::new(PutResponse { header: None, prev_kv }))
    }

    async fn delete_range(
        &self,
        _: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        std::future::pending().await
    }

    async fn txn(&self, _: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        std::future::pending().await
    }

    async fn compact(&self, _: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        std::future::pending().await
    }
}

struct Server {
    frontends: Frontends,
    address: SocketAddr,
    counters: Vec<Arc<RpcCounters>>,
    journal: watch::Sender<journal::Status>,
}

impl Server {
    fn led_by(&self, leader: Option<u64>) {
        self.journal.send_replace(journal::Status { leader, ..journal::Status::default() });
    }
}

fn start(threads: usize) -> Server {
    let stops = CancellationToken::new();
    let (journal, status) = watch::channel(journal::Status::default());
    let leadership = Leadership::follow(status.clone(), Duration::from_millis(1));
    let (_, http) = watch::channel(Arc::new(Http {
        vitals: Vitals {
            status,
            read: Box::new(|_| Box::pin(async { Ok(()) })),
            unsettled: None,
            counters: HealthCounters::default(),
        },
        version: Version::default(),
        metrics: Metrics::default(),
        status: Box::new(|| Box::pin(async { "{\"format\":1}".to_owned() })),
        origins: Origins { cors: Names::Any, hosts: Names::Any },
        arguments: Vec::new(),
    }));
    let counters: Vec<_> = (0..threads).map(|_| RpcCounters::new()).collect();
    let tools = counters.iter().map(|counters| {
        let services = Box::new(|| Services::default().with_kv(Double));
        let (counters, message_bytes_max) = (counters.clone(), MESSAGE_BYTES_MAX);
        let (leadership, http) = (leadership.clone(), http.clone());
        let answers = Arc::default();
        Tools { services, counters, message_bytes_max, answers, leadership, http }
    });
    let settings = Settings {
        streams_max: None,
        keepalive_interval: None,
        keepalive_timeout: Duration::from_secs(20),
        gateway: true,
        slow_call: Duration::MAX,
    };
    let any_port = SocketAddress::Tcp("127.0.0.1:0".parse().expect("an address"));
    let socket = bind(&any_port, Serves::Everything, Reuse::default()).expect("there is a free port");
    let address = socket.listener.tcp_address().expect("it is bound");
    let frontends =
        Frontends::start(vec![socket], tools.collect(), &settings, &stops).expect("threads start");
    Server { frontends, address, counters, journal }
}

async fn client(server: &Server) -> KvClient<tonic::transport::Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address));
    let channel = endpoint.expect("it is an address").connect().await;
    KvClient::new(channel.expect("the server accepts"))
}

fn put(value_bytes: usize) -> PutRequest {
    PutRequest { key: Bytes::from_static(b"k"), value: vec![7; value_bytes].into(), ..Default::default() }
}

#[tokio::test]
async fn a_message_of_any_size_up_to_the_limit_comes_through() {
    let server = start(2);
    let mut client = client(&server).await;
    for bytes in [0, 1, 900] {
        let kv =
            client.put(put(bytes)).await.expect("it is answered").into_inner().prev_kv.expect("it is echoed");
        assert_eq!((kv.key.len(), kv.value.len()), (1, bytes));
    }
    server.frontends.stop().await;
    let method = MethodId::of("/etcdserverpb.KV/Put").expect("it is in the table");
    let answered: u64 = server.counters.iter().map(|counters| counters.count(method, rpc::Code::OK)).sum();
    assert_eq!(answered, 3);
}

#[tokio::test]
async fn a_larger_message_is_refused_in_grpcs_words() {
    let server = start(1);
    let status = client(&server).await.put(put(2_000)).await.expect_err("it is too large");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "grpc: received message larger than max (2006 vs. 1000)");
    let request = RangeRequest { key: vec![7; 2_000].into(), ..Default::default() };
    let status = client(&server).await.range_stream(request).await.expect_err("it is too large");
    assert_eq!(status.message(), "grpc: received message larger than max (2003 vs. 1000)");
    server.frontends.stop().await;
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_text() {
    let server = start(1);
    let status = client(&server).await.range(RangeRequest::default()).await.expect_err("it is refused");
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "etcdserver: key is not provided"));
    server.frontends.stop().await;
}

fn wants_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", "true".parse().expect("it is ASCII"));
    request
}

fn is_no_leader(status: &Status) -> bool {
    (status.code(), status.message()) == (Code::Unavailable, "etcdserver: no leader")
}

#[tokio::test]
async fn whoever_wants_a_leader_is_refused_while_there_is_none() {
    let server = start(1);
    let mut client = client(&server).await;
    assert!(is_no_leader(&client.put(wants_leader(put(1))).await.expect_err("nobody leads")));
    let stream = client.range_stream(wants_leader(RangeRequest::default())).await;
    assert!(is_no_leader(&stream.expect_err("nobody leads")));
    assert!(client.put(put(1)).await.is_ok(), "it did not ask");
    server.led_by(Some(1));
    assert!(client.put(wants_leader(put(1))).await.is_ok(), "somebody leads");
    server.frontends.stop().await;
    let method = MethodId::of("/etcdserverpb.KV/Put").expect("it is in the table");
    assert_eq!(server.counters[0].count(method, rpc::Code::UNAVAILABLE), 1);
}

#[tokio::test]
async fn a_stream_that_wants_a_leader_ends_without_one() {
    let server = start(1);
    server.led_by(Some(1));
    let mut client = client(&server).await;
    let stream = client.range_stream(wants_leader(RangeRequest::default())).await;
    let other = client.range_stream(RangeRequest::default()).await;
    server.led_by(None);
    let end = stream.expect("it begins").into_inner().message().await;
    assert!(is_no_leader(&end.expect_err("the leader is lost")));
    server.frontends.stop().await;
    let end = other.expect("it begins").into_inner().message().await;
    assert_eq!(end.expect_err("the server stops").message(), "etcdserver: server stopped");
}

#[tokio::test]
async fn a_stream_ends_with_its_cause_when_the_server_stops() {
    let server = start(1);
    let stream = client(&server).await.range_stream(RangeRequest::default()).await;
    let mut stream = stream.expect("it begins").into_inner();
    server.frontends.stop().await;
    let status = stream.message().await.expect_err("it ends");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "etcdserver: server stopped"));
}

#[tokio::test]
async fn a_server_that_has_stopped_refuses_connections() {
    let server = start(1);
    server.frontends.stop().await;
    assert!(TcpStream::connect(server.address).is_err());
}

#[tokio::test]
async fn plain_http_is_answered_on_the_same_port() {
    let server = start(1);
    let address = server.address;
    let ask = move || {
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers and closes");
        text
    };
    let text = tokio::task::spawn_blocking(ask).await.expect("nothing panics");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("\"etcdserver\":\"3.6.16\""), "{text}");
    server.frontends.stop().await;
}

/// The frames that a server sends until one of them ends stream 1 or begins its answer: their kinds and streams.
fn frames_until_answered(stream: &mut TcpStream, id: u8) -> Vec<(u8, u8)> {
    let mut frames = Vec::new();
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).expect("it answers");
        let length = u64::from(u32::from_be_bytes([0, header[0], header[1], header[2]]));
        std::io::copy(&mut stream.take(length), &mut std::io::sink()).expect("it sends the whole frame");
        frames.push((header[3], header[8]));
        let is_answer = [1, 3].contains(&header[3]) && header[8] == id;
        if is_answer || header[3] == 7 {
            return frames;
        }
    }
}

/// clientv3 3.5.0 calls every server so.
#[tokio::test]
async fn a_server_may_be_called_by_any_name() {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    let server = start(1);
    let address = server.address;
    let calls = move || {
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("it reads");
        let mut call = |id: u8, authority: &[u8]| {
            let path = b"/etcdserverpb.KV/Put";
            let kind = b"application/grpc";
            let fields = [&[0x83, 0x86, 0x04, 20][..], path, authority, &[0x0f, 0x10, 16], kind].concat();
            let length = u8::try_from(fields.len()).expect("it is short");
            stream
                .write_all(&[&[0, 0, length, HEADERS, 4, 0, 0, 0, id], &fields[..]].concat())
                .expect("it reads");
            stream.write_all(&[&[0, 0, 5, 0, 1, 0, 0, 0, id][..], &[0; 5]].concat()).expect("it reads");
            frames_until_answered(&mut stream, id).last().copied()
        };
        let name = b"#initially=[127.0.0.1:2379]";
        assert_eq!(call(1, &[&[0x41, 27][..], name].concat()), Some((HEADERS, 1)));
        // By the entry that it made.
        assert_eq!(call(3, &[0xbe]), Some((HEADERS, 3)));
        assert_eq!(call(5, &[&[0x41, 14][..], b"127.0.0.1:2379"].concat()), Some((HEADERS, 5)));
        assert_eq!(call(7, &[]), Some((HEADERS, 7)), "no name at all");
        // An empty one, by the protocol's own table as Go has it, and as a literal.
        assert_eq!(call(9, &[0x81]), Some((HEADERS, 9)));
        assert_eq!(call(11, &[0x01, 0]), Some((HEADERS, 11)));
        // etcd takes this as well. It cannot be left out: both sides keep it in a table of their own.
        assert_eq!(call(13, &[0x41, 0]), Some((RESET, 13)));
    };
    tokio::task::spawn_blocking(calls).await.expect("nothing panics");
    server.frontends.stop().await;
}

#[tokio::test]
async fn what_is_no_protocol_at_all_harms_nobody() {
    let server = start(1);
    let address = server.address;
    let garbage = move || {
        for garbage in [&b"\0\0\0\0\xff\xff\xff"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage", b"GET / HT"]
        {
            let mut stream = TcpStream::connect(address).expect("it accepts");
            stream.write_all(garbage).expect("it reads");
            stream.shutdown(std::net::Shutdown::Write).expect("it is open");
            // It closes, whatever it says before.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    };
    tokio::task::spawn_blocking(garbage).await.expect("nothing panics");
    client(&server).await.put(put(1)).await.expect("others are served");
    server.frontends.stop().await;
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let any_port = SocketAddress::Tcp("127.0.0.1:0".parse().expect("an address"));
    let socket = bind(&any_port, Serves::Everything, Reuse::default()).expect("there is a free port");
    let address = socket.listener.tcp_address().expect("it is bound");
    let refused =
        bind(&SocketAddress::Tcp(address), Serves::Everything, Reuse::default()).err().expect("it is taken");
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
}
