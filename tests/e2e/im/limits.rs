//! What one address may take (RFC 6120 section 13.12), with bare sockets.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use tandem_tests::Server;

/// Whether the server keeps a connection that says nothing.
fn is_kept(stream: &TcpStream) -> bool {
    is_kept_for(stream, Duration::from_millis(300))
}

/// Whether the server ends it, which a busy machine may take a while for.
fn is_refused(stream: &TcpStream) -> bool {
    !is_kept_for(stream, Duration::from_secs(5))
}

fn is_kept_for(stream: &TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).unwrap();
    let mut stream = stream;
    match stream.read(&mut [0; 1]) {
        Ok(read) => read > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// Over TLS too, where nothing is said before the handshake.
#[test]
fn one_address_does_not_take_all_connections_before_the_handshake_either() {
    let limit = "max_unauthenticated_per_address = 3\n";
    let server = Server::start_set("localhost", &["ana"], limit, "").unwrap();
    for port in [server.xmpps, server.s2s_tls, server.https, server.s2s] {
        let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
        // Those of before are counted until the server has seen them go, so three are tried until they find room.
        let three = || {
            std::thread::sleep(Duration::from_millis(300));
            let silent = [connect(), connect(), connect()];
            silent.iter().all(is_kept).then_some(silent)
        };
        let silent = (0..30).find_map(|_| three()).expect("room for three");
        assert!(is_refused(&connect()), "{port}");
        assert!(silent.iter().all(is_kept), "{port}");
        drop(silent);
        // When they have gone there is room again.
        assert!((0..30).any(|_| three().is_some()), "{port}");
    }
    // And who means it logs in.
    let story = server.story("login.py", &["localhost", "SCRAM-SHA-256", "direct"]).unwrap();
    assert!(story.contains("logged in"), "{story}");
}
