//! The DNS proxy over real sockets, with a server behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hawser_agent::dns::{Server, ServerConfig, Table};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const LOOPBACK: &str = "127.0.0.1:0";

/// What the server behind answers: a TXT record with the type asked for, or an address.
fn behind(query: &Message) -> Message {
    let question = &query.queries[0];
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.queries = query.queries.clone();
    let data = match question.query_type() {
        RecordType::A => RData::A(A::new(192, 0, 2, 7)),
        other => RData::TXT(TXT::new(vec![other.to_string()])),
    };
    answer.add_answer(Record::from_rdata(question.name().clone(), 5, data));
    answer
}

/// A DNS server on UDP and TCP.
async fn upstream() -> SocketAddr {
    let udp = UdpSocket::bind(LOOPBACK).await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let answer = behind(&Message::from_vec(&buffer[..length]).unwrap());
            udp.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut query).await.unwrap();
            let answer = behind(&Message::from_vec(&query).unwrap())
                .to_vec()
                .unwrap();
            stream
                .write_u16(u16::try_from(answer.len()).unwrap())
                .await
                .unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

async fn start(upstreams: Vec<SocketAddr>) -> (SocketAddr, watch::Sender<Arc<Table>>) {
    let table = Table::new([(
        "reviews.default.global".to_owned(),
        vec!["240.0.0.3".parse().unwrap()],
    )]);
    let (sender, receiver) = watch::channel(Arc::new(table));
    let config = ServerConfig {
        listen: LOOPBACK.parse().unwrap(),
        upstreams,
    };
    let server = Server::bind(config, receiver).await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(CancellationToken::new()));
    (address, sender)
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut query = Message::new(77, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query.to_vec().unwrap()
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> Message {
    let socket = UdpSocket::bind(LOOPBACK).await.unwrap();
    socket.send_to(query, server).await.unwrap();
    let mut buffer = [0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

async fn over_tcp(stream: &mut TcpStream, query: &[u8]) -> Message {
    stream
        .write_u16(u16::try_from(query.len()).unwrap())
        .await
        .unwrap();
    stream.write_all(query).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

/// An answer as text: its code, then its records.
fn text(answer: &Message) -> String {
    assert_eq!(answer.metadata.id, 77);
    let records = answer.answers.iter().map(|record| record.data.to_string());
    let words: Vec<String> = std::iter::once(answer.metadata.response_code.to_string())
        .chain(records)
        .collect();
    words.join(" ")
}

#[tokio::test]
async fn known_names_are_answered_and_others_handed_on() {
    let (server, table) = start(vec![upstream().await]).await;
    let no_error = ResponseCode::NoError.to_string();
    let mut stream = TcpStream::connect(server).await.unwrap();
    for (name, kind, expected) in [
        ("reviews.default.global.", RecordType::A, "240.0.0.3"),
        ("reviews.default.global.", RecordType::AAAA, ""),
        ("reviews.default.global.", RecordType::MX, "MX"),
        ("example.com.", RecordType::A, "192.0.2.7"),
        ("example.com.", RecordType::SRV, "SRV"),
        ("7.2.0.192.in-addr.arpa.", RecordType::PTR, "PTR"),
    ] {
        let expected = format!("{no_error} {expected}");
        let query = query(name, kind);
        assert_eq!(
            text(&over_udp(server, &query).await),
            expected.trim(),
            "{name} {kind} over UDP"
        );
        assert_eq!(
            text(&over_tcp(&mut stream, &query).await),
            expected.trim(),
            "{name} {kind} over TCP"
        );
    }
    table.send_replace(Arc::new(Table::new([(
        "new.global".to_owned(),
        vec!["240.0.0.9".parse().unwrap()],
    )])));
    assert_eq!(
        text(&over_udp(server, &query("new.global.", RecordType::A)).await),
        format!("{no_error} 240.0.0.9")
    );
    assert_eq!(
        text(&over_udp(server, &query("reviews.default.global.", RecordType::A)).await),
        format!("{no_error} 192.0.2.7")
    );
}

#[tokio::test]
async fn without_anybody_to_ask() {
    let silent = UdpSocket::bind(LOOPBACK).await.unwrap();
    let (alone, _alone) = start(Vec::new()).await;
    let (unlucky, _unlucky) = start(vec![silent.local_addr().unwrap()]).await;
    for (server, name, kind, expected) in [
        (
            alone,
            "nowhere.global.",
            RecordType::A,
            ResponseCode::NXDomain,
        ),
        (
            alone,
            "reviews.default.global.",
            RecordType::TXT,
            ResponseCode::NoError,
        ),
        (
            unlucky,
            "example.com.",
            RecordType::A,
            ResponseCode::ServFail,
        ),
    ] {
        assert_eq!(
            text(&over_udp(server, &query(name, kind)).await),
            expected.to_string(),
            "{name} {kind}"
        );
    }
}

#[tokio::test]
async fn what_is_no_query_is_not_answered() {
    let (server, _table) = start(Vec::new()).await;
    let mut answer = Message::from_vec(&query("a.global.", RecordType::A)).unwrap();
    answer.metadata.message_type = MessageType::Response;
    let socket = UdpSocket::bind(LOOPBACK).await.unwrap();
    for bytes in [
        b"".to_vec(),
        vec![0; 3],
        vec![0xff; 600],
        answer.to_vec().unwrap(),
    ] {
        socket.send_to(&bytes, server).await.unwrap();
    }
    // The server is still there, and this is the first answer to come.
    socket
        .send_to(&query("reviews.default.global.", RecordType::A), server)
        .await
        .unwrap();
    let mut buffer = [0; 512];
    let length = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        Message::from_vec(&buffer[..length]).unwrap().answers.len(),
        1
    );
}
