//! CPIM wrapping and delivery notifications (RFC 3862, RFC 5438).

use bytes::Bytes;
use tandem_xmpp::xml::Element;

/// Namespace of notifications.
const IMDN: &str = "urn:ietf:params:xml:ns:imdn";
/// What binds the `imdn` prefix in CPIM headers.
const IMDN_PREFIX: &str = "urn:ietf:params:imdn";
/// Most headers of one message.
const MAX_HEADERS: usize = 64;

/// Header names that may stand in `Require`: those that are understood here, besides the `imdn` ones (RFC 3862 section 4).
const KNOWN: [&str; 7] = ["From", "To", "cc", "DateTime", "Subject", "NS", "Require"];

/// Why a body is no message that can be taken. The answer is 400 or 415.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpimError {
    /// Not in the form of RFC 3862.
    #[error("no CPIM message")]
    Malformed,
    /// It must not be shown by who does not know this header (section 3.5).
    #[error("requires {0}")]
    Requires(String),
}

/// An unwrapped message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpim {
    /// CPIM headers in order, escapes read.
    pub headers: Vec<(String, String)>,
    /// The headers of the content, as written.
    pub mime: Vec<(String, String)>,
    /// The content.
    pub content: Bytes,
}

impl Cpim {
    /// Unwraps.
    ///
    /// # Errors
    ///
    /// [`CpimError`]; a header that is required and not known is named.
    pub fn parse(body: &[u8]) -> Result<Self, CpimError> {
        let body = Bytes::copy_from_slice(body);
        let (mut head, mut rest) = block(&body);
        // The MIME header of the whole may be repeated inside the body, or not.
        if head.len() > 8 && has_own_type(&head) {
            (head, rest) = block(&rest);
        }
        let (mime, content) = block(&rest);
        let text = |bytes: &Bytes| {
            let text = std::str::from_utf8(bytes).map_err(|_| CpimError::Malformed)?;
            Ok(text.lines().take(MAX_HEADERS).filter_map(header).collect::<Vec<_>>())
        };
        let headers: Vec<_> = text(&head)?.into_iter().map(|(n, v)| (n, unescape(&v))).collect();
        let mime = text(&mime)?;
        if headers.is_empty() && mime.is_empty() {
            return Err(CpimError::Malformed);
        }
        let cpim = Self { headers, mime, content };
        match cpim.unknown_requirement() {
            Some(name) => Err(CpimError::Requires(name)),
            None => Ok(cpim),
        }
    }

    fn unknown_requirement(&self) -> Option<String> {
        let required = self.headers.iter().filter(|(name, _)| name == "Require");
        let mut names = required.flat_map(|(_, value)| value.split(',')).map(str::trim);
        let is_known = |name: &str| {
            KNOWN.contains(&name)
                || name.split_once('.').is_some_and(|(prefix, _)| self.prefix() == Some(prefix))
        };
        names.find(|name| !name.is_empty() && !is_known(name)).map(str::to_owned)
    }

    /// The content type of what is inside.
    pub fn content_type(&self) -> &str {
        self.mime("Content-Type").unwrap_or("text/plain")
    }

    /// A header of the content.
    pub fn mime(&self, name: &str) -> Option<&str> {
        self.mime.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The URI of an address header (`From`, `To`): what stands in the angle brackets.
    pub fn address(&self, name: &str) -> Option<&str> {
        let value = self.get(name)?;
        let (_, rest) = value.rsplit_once('<')?;
        rest.split_once('>').map(|(uri, _)| uri)
    }

    /// The prefix that the notification namespace is bound to.
    fn prefix(&self) -> Option<&str> {
        self.headers.iter().filter(|(n, _)| n == "NS").find_map(|(_, value)| {
            let (prefix, uri) = value.split_once(' ')?;
            (uri.trim() == format!("<{IMDN_PREFIX}>")).then_some(prefix)
        })
    }

    /// The first header of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A header in the notification namespace, whatever prefix it is bound to.
    pub fn imdn(&self, name: &str) -> Option<&str> {
        self.get(&format!("{}.{name}", self.prefix()?))
    }

    /// Which notifications the sender asked for.
    pub fn wants(&self) -> Wants {
        let asked = self.imdn("Disposition-Notification").unwrap_or_default();
        let has = |word: &str| asked.split(',').any(|w| w.trim() == word);
        Wants {
            delivered: has("positive-delivery"),
            failed: has("negative-delivery"),
            displayed: has("display"),
        }
    }

    /// Prints it.
    pub fn print(&self) -> Bytes {
        let mut out = String::new();
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {}\r\n", escape(value)));
        }
        out.push_str("\r\n");
        for (name, value) in &self.mime {
            out.push_str(&format!("{name}: {}\r\n", value.replace(['\r', '\n'], " ")));
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.content);
        out.into()
    }

    /// A text without more than its addresses.
    pub fn plain(from: &str, to: &str, stamp: &str, text: &str) -> Self {
        let headers =
            [("From", from.to_owned()), ("To", to.to_owned()), ("DateTime", stamp.into())];
        let mime = [("Content-Type", "text/plain;charset=utf-8".to_owned())];
        Self {
            headers: headers.map(|(n, v)| (n.to_owned(), v)).to_vec(),
            mime: mime.map(|(n, v)| (n.to_owned(), v)).to_vec(),
            content: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    /// A text that asks for a delivery notification, and a display notification if `display`.
    pub fn text(from: &str, to: &str, id: &str, stamp: &str, display: bool, text: &str) -> Self {
        let asked = if display {
            "positive-delivery, negative-delivery, display"
        } else {
            "positive-delivery, negative-delivery"
        };
        let mut cpim = Self::plain(&format!("<{from}>"), &format!("<{to}>"), stamp, text);
        cpim.headers.extend([
            ("NS".to_owned(), format!("imdn <{IMDN_PREFIX}>")),
            ("imdn.Message-ID".to_owned(), id.to_owned()),
            ("imdn.Disposition-Notification".to_owned(), asked.to_owned()),
        ]);
        cpim
    }

    /// A notification about the message `about`.
    pub fn notification(from: &str, to: &str, id: &str, stamp: &str, about: &Notification) -> Self {
        let (kind, status) = match about.status {
            Status::Delivered => ("delivery-notification", "delivered"),
            Status::Displayed => ("display-notification", "displayed"),
            Status::Failed => ("delivery-notification", "failed"),
        };
        let status = Element::new("status", IMDN).with_child(Element::new(status, IMDN));
        let body = Element::new("imdn", IMDN)
            .with_child(Element::new("message-id", IMDN).with_text(&about.message_id))
            .with_child(Element::new("datetime", IMDN).with_text(stamp))
            .with_child(Element::new("recipient-uri", IMDN).with_text(from))
            .with_child(Element::new(kind, IMDN).with_child(status));
        let headers = [
            ("From", format!("<{from}>")),
            ("To", format!("<{to}>")),
            ("NS", format!("imdn <{IMDN_PREFIX}>")),
            ("imdn.Message-ID", id.to_owned()),
            ("DateTime", stamp.to_owned()),
        ];
        let mime = [("Content-Type", "message/imdn+xml"), ("Content-Disposition", "notification")];
        Self {
            headers: headers.map(|(n, v)| (n.to_owned(), v)).to_vec(),
            mime: mime.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            content: body.to_bytes_in(""),
        }
    }
}

/// Which notifications a sender asked for (RFC 5438 section 6.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// That it arrived.
    pub delivered: bool,
    /// That it did not.
    pub failed: bool,
    /// That somebody read it.
    pub displayed: bool,
}

/// What a notification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It reached a device.
    Delivered,
    /// A person saw it.
    Displayed,
    /// It will not arrive.
    Failed,
}

/// A delivery or display notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The message it is about.
    pub message_id: String,
    /// What became of it.
    pub status: Status,
}

impl Notification {
    /// Reads `message/imdn+xml`; processing notifications say nothing to us.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?.trim_start();
        // An XML declaration is legal here, though not in a stream.
        let text = match text.strip_prefix("<?xml") {
            Some(rest) => rest.split_once("?>")?.1.trim_start(),
            None => text,
        };
        let imdn = Element::parse(text.trim_end().as_bytes()).ok()?;
        if imdn.name() != "imdn" {
            return None;
        }
        let message_id = imdn.elements().find(|e| e.name() == "message-id")?.text();
        let notification = imdn.elements().find(|e| e.name().ends_with("-notification"))?;
        let status = notification.elements().find(|e| e.name() == "status")?.elements().next()?;
        let status = match status.name() {
            "delivered" => Status::Delivered,
            "displayed" => Status::Displayed,
            "failed" | "forbidden" | "error" => Status::Failed,
            _ => return None,
        };
        Some(Self { message_id: message_id.trim().to_owned(), status })
    }
}

/// Splits a block of header lines from what follows its empty line. Lines end in CRLF or LF.
fn block(body: &Bytes) -> (Bytes, Bytes) {
    let mut at = 0;
    for line in body.split_inclusive(|b| *b == b'\n') {
        let next = at + line.len();
        if line == b"\n" || line == b"\r\n" {
            return (body.slice(..at), body.slice(next..));
        }
        at = next;
    }
    (body.clone(), Bytes::new())
}

fn has_own_type(head: &[u8]) -> bool {
    let start = head.get(..64.min(head.len())).unwrap_or_default().to_ascii_lowercase();
    let text = String::from_utf8_lossy(&start).replace(' ', "");
    text.starts_with("content-type:message/cpim")
}

/// RFC 3862 section 2.3.1: backslash escapes in header values.
fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('u') => {
                let hex: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                out.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some('b' | 't' | 'n' | 'r') => out.push(' '),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(|c: char| c.is_control(), " ")
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: &str = "2026-01-05T10:00:00Z";

    #[test]
    fn a_wrapped_text_comes_back_with_what_it_asks_for() {
        let text = "hällo\r\n\r\nzwei";
        let cpim = Cpim::text("sip:a@h", "sip:b@h", "34jk324j", STAMP, true, text);
        let read = Cpim::parse(&cpim.print()).unwrap();
        assert_eq!(read.content, text.as_bytes());
        assert_eq!(read.imdn("Message-ID"), Some("34jk324j"));
        assert_eq!(read.wants(), Wants { delivered: true, failed: true, displayed: true });
        assert!(read.content_type().starts_with("text/plain"));
        assert_eq!(read.address("From"), Some("sip:a@h"));
    }

    #[test]
    fn a_notification_comes_back() {
        for status in [Status::Delivered, Status::Displayed, Status::Failed] {
            let about = Notification { message_id: "71b0".into(), status };
            let cpim = Cpim::notification("sip:a@h", "sip:b@h", "x1", STAMP, &about);
            let read = Cpim::parse(&cpim.print()).unwrap();
            assert!(read.content_type().starts_with("message/imdn+xml"));
            assert_eq!(read.mime("content-disposition"), Some("notification"));
            assert_eq!(read.wants(), Wants::default(), "a notification asks for none");
            assert_eq!(Notification::parse(&read.content), Some(about));
        }
        let declared = b"<?xml version='1.0'?>\n<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>1</message-id><delivery-notification><status><delivered/></status></delivery-notification></imdn>\n";
        assert!(Notification::parse(declared).is_some());
    }

    #[test]
    fn headers_are_read_as_rfc_3862_has_them() {
        let body = "Content-Type: message/cpim\r\n\r\nFrom: MR SANDERS <im:piglet@100akerwood.com>\r\n\
            DateTime: 2000-12-13T13:40:00-08:00\r\nSubject: say \\\"hi\\\" \\u00fc\r\nsubject: other\r\n\
            NS: MyFeatures <mid:MessageFeatures@id.foo.com>\r\nRequire: Subject, From\r\n\r\n\
            Content-type: text/xml; charset=utf-8\r\nContent-ID: <1@x>\r\n\r\n<body/>";
        let read = Cpim::parse(body.as_bytes()).unwrap();
        assert_eq!(read.get("Subject"), Some("say \"hi\" ü"), "names are case-sensitive");
        assert_eq!(read.address("From"), Some("im:piglet@100akerwood.com"));
        assert_eq!(
            (read.content_type(), &read.content[..]),
            ("text/xml; charset=utf-8", &b"<body/>"[..])
        );
        let lf = body.replace("\r\n", "\n");
        assert_eq!(Cpim::parse(lf.as_bytes()), Ok(read));
    }

    #[test]
    fn what_is_none_or_requires_the_unknown_is_refused() {
        for bad in [&b""[..], b"\r\n\r\n", b"text", b"\xff\n\n\n"] {
            assert_eq!(Cpim::parse(bad), Err(CpimError::Malformed), "{bad:?}");
        }
        let required = b"Require: x.VitalHeader\n\nContent-Type: text/plain\n\nhi";
        assert_eq!(Cpim::parse(required), Err(CpimError::Requires("x.VitalHeader".into())));
        let known = b"NS: imdn <urn:ietf:params:imdn>\nRequire: imdn.Message-ID\n\n\n\nhi";
        assert!(Cpim::parse(known).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_values_survive(body in prop::collection::vec(any::<u8>(), 0..300), value in "[ -~äß]{0,40}") {
            let _ = Cpim::parse(&body);
            let mut cpim = Cpim::plain("<sip:a@h>", "<sip:b@h>", STAMP, "x");
            cpim.headers.push(("Subject".into(), value.trim().to_owned()));
            let printed = cpim.print();
            prop_assert_eq!(Cpim::parse(&printed), Ok(cpim));
        }
    }
}
