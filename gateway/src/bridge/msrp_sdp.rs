//! Session descriptions of message sessions (RFC 4975 section 8, RFC 6714, RFC 6135, RFC 7701 section 8, RFC 5547): which
//! line of a peer's we take, and what we say.

use std::net::IpAddr;

use bytes::Bytes;
use tandem_media::sdp::{Connection, Media, Session, SetupRole};
use tandem_sip::msrp::MsrpUri;

use super::body::parameter;

/// What a peer's message line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its place among the lines.
    pub at: usize,
    /// Its path.
    pub path: Vec<MsrpUri>,
    /// Over TLS.
    pub is_secure: bool,
    /// It connects to us.
    pub connects: bool,
    /// Where it is reached, if its path says another place (RFC 6714).
    pub place: Option<(String, u16)>,
    /// It knows RFC 6714.
    pub cema: bool,
    /// Of its certificate.
    pub fingerprint: Option<String>,
    /// Media types that it takes.
    pub accepts: Vec<String>,
    /// Those that it takes inside CPIM.
    pub wrapped: Vec<String>,
    /// The file that it offers or wants.
    pub file: Option<File>,
}

/// `a=file-selector` (RFC 5547 section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The attribute as it came; an answer repeats it.
    pub selector: String,
    /// `a=file-transfer-id`.
    pub transfer: Option<String>,
    /// Name.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub size: Option<u64>,
    /// It sends the file; else it wants one.
    pub is_offered: bool,
}

/// Whether a description is for a message session: messages, and nothing to hear.
pub fn is_message_session(offer: &[u8]) -> bool {
    let Ok(session) = Session::parse(offer) else { return false };
    let has = |media: &str| session.media.iter().any(|m| m.media == media && m.port != 0);
    has("message") && !has("audio") && !has("video")
}

/// The first message line that we can take.
///
/// # Errors
///
/// The status: 400 for what is broken, 488 when there is none.
pub fn read(description: &[u8]) -> Result<(Session, Peer), u16> {
    let session = Session::parse(description).map_err(tandem_media::sdp::SdpError::status)?;
    let found = session.media.iter().enumerate().find_map(|(at, media)| peer(&session, at, media));
    let peer = found.ok_or(488_u16)?;
    Ok((session, peer))
}

fn peer(session: &Session, at: usize, media: &Media) -> Option<Peer> {
    let is_secure = match media.proto.to_ascii_uppercase().as_str() {
        "TCP/MSRP" => false,
        "TCP/TLS/MSRP" => true,
        _ => return None,
    };
    if media.media != "message" || media.port == 0 {
        return None;
    }
    let get = |name: &str| media.section.attribute(name);
    let path = MsrpUri::path(get("path")?)?;
    let words = |name: &str| -> Vec<String> {
        let words = get(name).unwrap_or_default().split_ascii_whitespace().take(64);
        words.map(str::to_ascii_lowercase).collect()
    };
    let first = path.first()?;
    let address = session.connection_of(media).as_ref().and_then(Connection::ip);
    let line = address.map(|ip| (ip.to_string(), media.port));
    let place =
        line.filter(|line| path.len() == 1 && *line != first.place() && get("msrp-cema").is_some());
    let fingerprint =
        media.section.attribute("fingerprint").or_else(|| session.section.attribute("fingerprint"));
    Some(Peer {
        at,
        is_secure,
        connects: matches!(
            session.setup_of(media),
            None | Some(SetupRole::Active | SetupRole::ActPass)
        ),
        place,
        cema: get("msrp-cema").is_some(),
        fingerprint: fingerprint.map(str::to_owned),
        accepts: words("accept-types"),
        wrapped: words("accept-wrapped-types"),
        file: get("file-selector").map(|selector| file(selector, media)),
        path,
    })
}

fn file(selector: &str, media: &Media) -> File {
    // The same form as parameters of a header field, with blanks for semicolons and colons for equals signs.
    let mut text = String::from("x;");
    let mut is_quoted = false;
    for c in selector.chars().take(1_024) {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                text.push('"');
            }
            ' ' if !is_quoted => text.push(';'),
            c => text.push(c),
        }
    }
    for name in ["name", "type", "size", "hash"] {
        text = text.replace(&format!(";{name}:"), &format!(";{name}="));
    }
    let get = |name: &str| parameter(&text, name);
    let content_type = get("type").unwrap_or_else(|| "application/octet-stream".into());
    let name = get("name").map(|name| percent_decoded(&name));
    let attribute = |name: &str| media.section.attribute(name);
    File {
        selector: selector.to_owned(),
        transfer: attribute("file-transfer-id").map(str::to_owned),
        name: name.filter(|n| !n.is_empty()).unwrap_or_else(|| "file".into()),
        content_type: content_type.to_ascii_lowercase(),
        size: get("size").and_then(|size| size.parse().ok()),
        is_offered: attribute("recvonly").is_none(),
    }
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Our side of a session.
#[derive(Debug, Clone)]
pub struct Local {
    /// Our URI.
    pub uri: MsrpUri,
    /// The address of the `c=` line.
    pub ip: IpAddr,
    /// Names the description.
    pub id: u64,
    /// Media types that we take.
    pub accepts: &'static str,
    /// Those that we take inside CPIM.
    pub wrapped: Option<&'static str>,
    /// Bytes of one message.
    pub max_size: usize,
    /// The fingerprint of our certificate.
    pub fingerprint: String,
    /// It is a room (RFC 7701).
    pub is_room: bool,
}

impl Local {
    /// The answer to an offer: its line taken, all others refused.
    pub fn answer(&self, offer: &Session, peer: &Peer) -> Bytes {
        let mut out = self.head();
        for (at, media) in offer.media.iter().enumerate() {
            if at != peer.at {
                let formats = media.formats.join(" ");
                out.push_str(&format!("m={} 0 {} {formats}\r\n", media.media, media.proto));
                continue;
            }
            let setup = if peer.connects { "passive" } else { "active" };
            self.line(&mut out, setup);
            if peer.cema {
                out.push_str("a=msrp-cema\r\n");
            }
            if let Some(file) = &peer.file {
                out.push_str(&format!("a=recvonly\r\na=file-selector:{}\r\n", file.selector));
                if let Some(transfer) = &file.transfer {
                    out.push_str(&format!("a=file-transfer-id:{transfer}\r\n"));
                }
            }
        }
        out.into()
    }

    fn head(&self) -> String {
        let family = if self.ip.is_ipv6() { "IP6" } else { "IP4" };
        let (id, ip) = (self.id, self.ip);
        format!("v=0\r\no=- {id} 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n")
    }

    fn line(&self, out: &mut String, setup: &str) {
        let proto = if self.uri.is_secure { "TCP/TLS/MSRP" } else { "TCP/MSRP" };
        let port = self.uri.place().1;
        out.push_str(&format!("m=message {port} {proto} *\r\na=accept-types:{}\r\n", self.accepts));
        if let Some(wrapped) = self.wrapped {
            out.push_str(&format!("a=accept-wrapped-types:{wrapped}\r\n"));
        }
        out.push_str(&format!(
            "a=max-size:{}\r\na=path:{}\r\na=setup:{setup}\r\n",
            self.max_size, self.uri
        ));
        if self.uri.is_secure {
            out.push_str(&format!("a=fingerprint:{}\r\n", self.fingerprint));
        }
        if self.is_room {
            out.push_str("a=chatroom:nickname private-messages\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(proto: &str, more: &str) -> String {
        format!(
            "v=0\r\no=a 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=message 7394 {proto} *\r\n\
            a=accept-types:message/cpim Text/Plain\r\na=path:msrp://192.0.2.7:7394/2s93i9ek2a;tcp\r\n{more}"
        )
    }

    fn local() -> Local {
        Local {
            uri: MsrpUri::new(false, "192.0.2.1", 2855, "own"),
            ip: "192.0.2.1".parse().unwrap(),
            id: 7,
            accepts: "*",
            wrapped: None,
            max_size: 1_000,
            fingerprint: "sha-256 AA".into(),
            is_room: false,
        }
    }

    #[test]
    fn offers_are_read() {
        let (_, peer) = read(offer("TCP/MSRP", "").as_bytes()).unwrap();
        assert_eq!(peer.accepts, ["message/cpim", "text/plain"]);
        assert!(peer.connects && !peer.is_secure && !peer.cema && peer.place.is_none());
        assert_eq!(peer.path[0].session, "2s93i9ek2a");
        assert!(!read(offer("TCP/MSRP", "a=setup:passive\r\n").as_bytes()).unwrap().1.connects);
        assert!(read(offer("TCP/TLS/MSRP", "").as_bytes()).unwrap().1.is_secure);
        assert_eq!(read(offer("RTP/AVP", "").as_bytes()), Err(488));
        assert_eq!(read(offer("TCP/MSRP", "").replace("a=path", "a=x").as_bytes()), Err(488));
        assert_eq!(read(b"nonsense"), Err(400));
    }

    #[test]
    fn a_message_session_is_told_from_a_call() {
        let message = offer("TCP/MSRP", "");
        assert!(is_message_session(message.as_bytes()));
        assert!(!is_message_session(format!("{message}m=audio 4000 RTP/AVP 0\r\n").as_bytes()));
        assert!(is_message_session(format!("{message}m=audio 0 RTP/AVP 0\r\n").as_bytes()));
        assert!(!is_message_session(b"x"));
    }

    #[test]
    fn a_middlebox_may_have_changed_the_line() {
        let moved = offer("TCP/MSRP", "a=msrp-cema\r\n")
            .replace("c=IN IP4 192.0.2.7", "c=IN IP4 198.51.100.1");
        let (session, peer) = read(moved.as_bytes()).unwrap();
        assert_eq!(peer.place, Some(("198.51.100.1".into(), 7394)));
        let answer = local().answer(&session, &peer);
        assert!(String::from_utf8_lossy(&answer).contains("a=msrp-cema\r\n"));
        let plain = moved.replace("a=msrp-cema\r\n", "");
        assert_eq!(
            read(plain.as_bytes()).unwrap().1.place,
            None,
            "without the extension the path counts"
        );
    }

    #[test]
    fn answers_take_one_line_and_refuse_the_others() {
        let both = offer("TCP/MSRP", "m=audio 0 RTP/AVP 0 8\r\n");
        let (session, peer) = read(both.as_bytes()).unwrap();
        let answer = local().answer(&session, &peer);
        let text = String::from_utf8(answer.to_vec()).unwrap();
        let expected = "m=message 2855 TCP/MSRP *\r\na=accept-types:*\r\na=max-size:1000\r\n\
            a=path:msrp://192.0.2.1:2855/own;tcp\r\na=setup:passive\r\nm=audio 0 RTP/AVP 0 8\r\n";
        assert!(text.ends_with(expected), "{text}");
        let (_, back) = read(text.as_bytes()).unwrap();
        assert!(!back.connects);
    }

    #[test]
    fn files_are_read_and_answered() {
        let selector =
            "name:\"My cool picture.jpg\" type:image/jpeg size:32349 hash:sha-1:72:24:5F";
        let more = format!(
            "a=sendonly\r\na=file-selector:{selector}\r\na=file-transfer-id:Q6LMoGymJdh0IKIgD6wD0jkcfgva4xvE\r\n"
        );
        let (session, peer) = read(offer("TCP/MSRP", &more).as_bytes()).unwrap();
        let file = peer.file.clone().unwrap();
        assert_eq!(
            (&*file.name, &*file.content_type, file.size, file.is_offered),
            ("My cool picture.jpg", "image/jpeg", Some(32_349), true)
        );
        let answer = String::from_utf8(local().answer(&session, &peer).to_vec()).unwrap();
        assert!(
            answer.contains(&format!(
                "a=recvonly\r\na=file-selector:{selector}\r\na=file-transfer-id:Q6LMo"
            )),
            "{answer}"
        );
        let (_, wanted) =
            read(offer("TCP/MSRP", "a=recvonly\r\na=file-selector:hash:sha-1:72\r\n").as_bytes())
                .unwrap();
        assert!(!wanted.file.unwrap().is_offered);
    }
}
