//! Trunks under TLS, known by their certificates (RFC 5922), both ways: a server made of a socket, beside ours.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use serde_json::json;
use tandem_tests::names::{Authority, Names};
use tandem_tests::{Server, Transcript, free_ports};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=message 9 TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:msrp://127.0.0.1:9/x;tcp\r\n";

type Files = (PathBuf, PathBuf);

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.root()).unwrap()).unwrap();
    roots
}

fn load((chain, key): &Files) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(chain).unwrap().map(Result::unwrap).collect();
    (chain, PrivateKeyDer::from_pem_file(key).unwrap())
}

/// Our server with a certificate of the authority, and these trunks.
fn server(authority: &Authority, names: &Names, trunks: &str) -> Server {
    let (certificate, key) = authority.issue(&["localhost"]).unwrap();
    let sections = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n[dns]\nservers = [\"{}\"]\n\
         [federation]\nenabled = false\nextra_roots = [\"{}\"]\n{trunks}\
         [numbers.accounts]\n\"+4930502\" = \"carl@localhost\"\n",
        certificate.display(),
        key.display(),
        names.address,
        authority.root().display(),
    );
    Server::start_with("localhost", &["ana", "carl"], &sections).unwrap()
}

/// A connection to our server by somebody who shows this certificate, or none.
fn knock(
    server: &Server,
    authority: &Authority,
    shown: Option<&Files>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(authority));
    let config = match shown.map(load) {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", server.sips)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    StreamOwned::new(connection, tcp)
}

/// One message without a body, or with one that is there at once.
fn read(stream: &mut impl Read) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = |line: &str| line.strip_prefix("Content-Length:")?.trim().parse().ok();
    let mut body = vec![0; head.lines().find_map(length).unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

/// Sends a request and gives the status of its final answer.
fn asks(stream: &mut (impl Read + Write), method: &str, from: &str, kind: &str, body: &str) -> u16 {
    let branch = tandem_tests::Dice.word();
    let request = format!(
        "{method} sip:+4930502@localhost SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK{branch}\r\n\
         From: <{from}>;tag=f\r\nTo: <sip:+4930502@localhost>\r\nCall-ID: {branch}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:127.0.0.1;transport=tls>\r\nMax-Forwards: 70\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    loop {
        let answer = read(stream).unwrap();
        let status = answer.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)).unwrap();
        match status.parse().unwrap() {
            100..=199 => {}
            status => return status,
        }
    }
}

#[test]
fn a_trunk_is_let_in_by_the_domain_that_its_certificate_proves() {
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let names = Names::start().unwrap();
    let trunks = "[[trunks]]\nname = \"world\"\nuri = \"sip:127.0.0.1:1\"\nsupervise = false\n\
        tls_names = [\"sip.world.test\"]\n";
    let server = server(&authority, &names, trunks);
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let caller = "sip:+4930123@world.test";
    let write = |shown: Option<&Files>, body: &str| {
        asks(&mut knock(&server, &authority, shown), "MESSAGE", caller, "text/plain", body)
    };
    for name in ["sip:sip.world.test", "Sip.World.test"] {
        let shown = authority.issue(&[name]).unwrap();
        assert_eq!(write(Some(&shown), name), 200);
        app.want("message", &[("from", "+4930123@tel.localhost"), ("body", name)]);
    }
    // Another domain, a pattern, a person, a domain of another kind of URI; whom nobody vouches for; nobody.
    for names in [&["world.test"][..], &["*.world.test"], &["sip:ana@sip.world.test"]] {
        assert_eq!(write(Some(&authority.issue(names).unwrap()), "no"), 403, "{names:?}");
    }
    assert_eq!(
        write(Some(&authority.issue(&["sip:other.test", "sip.world.test"]).unwrap()), "no"),
        403
    );
    assert_eq!(write(Some(&stranger.issue(&["sip.world.test"]).unwrap()), "no"), 403);
    assert_eq!(write(None, "no"), 403);
    // Whom it names is nobody of ours, whatever it says and however.
    let shown = authority.issue(&["sip.world.test"]).unwrap();
    let mut link = knock(&server, &authority, Some(&shown));
    let ana = "sip:ana@localhost";
    assert_eq!(asks(&mut link, "MESSAGE", ana, "text/plain", "from ana?"), 200);
    app.want("message", &[("from", "ana\\40localhost@tel.localhost"), ("body", "from ana?")]);
    assert_eq!(asks(&mut link, "INVITE", ana, "application/sdp", SDP), 488);
    app.never("message", &[("body", "no")]);
    // Phones are let in without a certificate as ever.
    let mut desk = server.phone("desk phone", "ana", json!({"transport": "tls"}), &log).unwrap();
    desk.tell(json!({"cmd": "call", "to": "sip:echo@localhost"}));
    desk.want("established", &[]);
}

/// A SIP server under TLS that wants to know who comes, and answers everything with 200; what it was told, and a way to have it
/// send something by the connection that it was told it by.
fn world(authority: &Authority, shown: &Files) -> (u16, Receiver<String>, Sender<String>) {
    let clients = WebPkiClientVerifier::builder_with_provider(roots(authority).into(), provider());
    let (chain, key) = load(shown);
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let [port] = free_ports().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (told, heard) = channel();
    let (say, sayings) = channel::<String>();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut link = StreamOwned::new(tls, tcp.unwrap());
            while let Some(text) = read(&mut link) {
                if text.starts_with("SIP/2.0") {
                    let _ = told.send(text);
                    continue;
                }
                let fields = ["Via", "From", "Call-ID", "CSeq"].map(|name| {
                    let of = |line: &&str| line.starts_with(&format!("{name}:"));
                    text.lines().find(of).unwrap().to_owned()
                });
                let to = text.lines().find(|line| line.starts_with("To:")).unwrap();
                let answer = format!(
                    "SIP/2.0 200 OK\r\n{}\r\n{to};tag=t\r\nContent-Length: 0\r\n\r\n",
                    fields.join("\r\n")
                );
                let is_message = text.starts_with("MESSAGE");
                link.write_all(answer.as_bytes()).unwrap();
                link.flush().unwrap();
                if is_message {
                    told.send(text).unwrap();
                    link.write_all(sayings.recv().unwrap().as_bytes()).unwrap();
                    link.flush().unwrap();
                }
            }
        }
    });
    (port, heard, say)
}

#[test]
fn a_trunk_that_we_call_proves_its_domain_and_may_answer_by_the_same_connection() {
    let (authority, names) = (Authority::new().unwrap(), Names::start().unwrap());
    let shown = authority.issue(&["sip:world.test", "wrong.test"]).unwrap();
    let (port, heard, say) = world(&authority, &shown);
    names.address("world.test", [127, 0, 0, 1]);
    names.address("wrong.test", [127, 0, 0, 1]);
    let trunks = format!(
        "[[trunks]]\nname = \"world\"\nuri = \"sip:world.test:{port};transport=tls\"\nprefixes = [\"+49\"]\n\
         tls_names = [\"world.test\"]\nusername = \"care\"\n\
         [[trunks]]\nname = \"wrong\"\nuri = \"sip:wrong.test:{port};transport=tls\"\nprefixes = [\"+43\"]\n\
         supervise = false\nusername = \"care\"\n"
    );
    let server = server(&authority, &names, &trunks);
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({"cmd": "message", "to": "+4930123@tel.localhost", "body": "out", "id": "m1"}));
    let message = heard.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(
        message.ends_with("\r\n\r\nout")
            && message.contains("P-Asserted-Identity: <sip:+4930502@world.test>"),
        "{message}"
    );
    // Back by the connection that we opened, on which it has proven who it is.
    say.send(
        "MESSAGE sip:+4930502@localhost SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKback\r\n\
         From: <sip:+4930123@world.test>;tag=f\r\nTo: <sip:+4930502@localhost>\r\nCall-ID: back\r\n\
         CSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nback"
            .to_owned(),
    )
    .unwrap();
    app.want("message", &[("from", "+4930123@tel.localhost"), ("body", "back")]);
    assert!(heard.recv_timeout(Duration::from_secs(20)).unwrap().starts_with("SIP/2.0 200"));
    // A certificate with a SIP URI speaks for no DNS name beside it.
    app.tell(json!({"cmd": "message", "to": "+431234@tel.localhost", "body": "no", "id": "m2"}));
    app.want("message_error", &[("id", "m2")]);
    assert!(heard.try_recv().is_err());
}
