//! Where answers go (RFC 3261 section 18.2, RFC 3581), keep-alives (RFC 5626 section 4.4, RFC 6223), and listeners for both
//! families, on real sockets.

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::tests::{SHORT, Wire, config, register, server, server_at, text};
use super::*;

/// An OPTIONS whose Via is as given.
fn ask(via: &str, id: u32) -> String {
    let usual = format!("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKOPTIONS{id};rport");
    text("OPTIONS", id, "SIP/2.0", "", "").replace(&usual, via)
}

async fn heard(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = vec![0; 2_000];
    let (count, from) = timeout(SHORT, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    (String::from_utf8_lossy(&buffer[..count]).into_owned(), from)
}

#[tokio::test]
async fn with_rport_the_answer_comes_to_where_the_request_came_from_and_says_so() {
    let (_handle, udp, _) = server(config()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let via = "SIP/2.0/UDP 192.0.2.1:5999;branch=z9hG4bK1;rport";
    socket.send_to(ask(via, 1).as_bytes(), udp).await.unwrap();
    let (answer, from) = heard(&socket).await;
    assert_eq!(from, udp, "from the address that was asked");
    let expected =
        format!("SIP/2.0/UDP 192.0.2.1:5999;branch=z9hG4bK1;rport={port};received=127.0.0.1");
    assert!(answer.contains(&expected), "{answer}");
}

#[tokio::test]
async fn without_rport_the_answer_goes_to_the_port_of_the_via_at_the_source() {
    let (_handle, udp, _) = server(config()).await;
    let [asks, hears] = [UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0")];
    let (asks, hears) = (asks.await.unwrap(), hears.await.unwrap());
    let port = hears.local_addr().unwrap().port();
    // A name, another address, and the right one: only the last gets no `received`.
    for (host, received) in [("phone.example", true), ("192.0.2.1", true), ("127.0.0.1", false)] {
        let via = format!("SIP/2.0/UDP {host}:{port};branch=z9hG4bK{host}");
        asks.send_to(ask(&via, 1).as_bytes(), udp).await.unwrap();
        let (answer, _) = heard(&hears).await;
        assert_eq!(answer.contains(";received=127.0.0.1"), received, "{answer}");
    }
}

#[tokio::test]
async fn a_stun_request_on_the_sip_port_is_told_its_address() {
    let (_handle, udp, _) = server(config()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"transaction1"].concat();
    socket.send_to(&request, udp).await.unwrap();
    let mut buffer = [0; 100];
    let count = timeout(SHORT, socket.recv(&mut buffer)).await.unwrap().unwrap();
    let here = socket.local_addr().unwrap();
    assert_eq!(Some(buffer[..count].to_vec()), crate::transport::stun::answer(&request, here));
    // SIP goes on beside it.
    socket.send_to(ask("SIP/2.0/UDP h;branch=z9hG4bK1;rport", 1).as_bytes(), udp).await.unwrap();
    assert!(heard(&socket).await.0.starts_with("SIP/2.0 200"));
}

#[tokio::test]
async fn keep_alives_are_agreed_to_where_they_are_offered() {
    let (_handle, udp, tcp) = server(config()).await;
    for (wire, id, seconds) in [(Wire::udp(udp).await, 10, "29"), (Wire::tcp(tcp).await, 20, "120")]
    {
        let mut wire = wire;
        let offer =
            text("REGISTER", id, "SIP/2.0", "l: 0\r\n", "").replace(";rport", ";rport;keep");
        wire.send(offer.as_bytes()).await;
        let via = wire.answer().await.unwrap().headers.top_via().unwrap();
        assert_eq!(via.params.get("keep"), Some(seconds));
        wire.send(text("REGISTER", id + 1, "SIP/2.0", "l: 0\r\n", "").as_bytes()).await;
        let via = wire.answer().await.unwrap().headers.top_via().unwrap();
        assert!(!via.params.has("keep"), "nobody asked");
    }
}

/// One listener on `[::]` for both families: phones of either register, and are told their own kind of address.
#[tokio::test]
async fn a_listener_for_both_families_serves_both() {
    let (handle, udp, tcp) = server_at(config(), ([0; 8], 0).into()).await;
    for (id, ip) in [(10, "127.0.0.1"), (20, "[::1]")] {
        let at = |addr: SocketAddr| format!("{ip}:{}", addr.port()).parse::<SocketAddr>().unwrap();
        let local = if ip.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
        let socket = UdpSocket::bind(local).await.unwrap();
        socket.connect(at(udp)).await.unwrap();
        let mut phone = Wire::Udp(socket);
        assert_eq!(register(&mut phone, id, &format!("sip:ana@{ip}:5999")).await, 200, "{ip}");
        let binding = handle.bindings("ana@example.org").await.pop().unwrap();
        assert_eq!(binding.flow.local.ip(), at(udp).ip(), "{ip}");
        let mut phone = Wire::tcp(at(tcp)).await;
        phone.send(text("OPTIONS", id, "SIP/2.0", "l: 0\r\n", "").as_bytes()).await;
        assert_eq!(phone.answer().await.unwrap().status, 200, "{ip}");
    }
}
