//! CPIM wrapping and delivery notifications (RFC 3862, RFC 5438).

use tandem_xmpp::xml::Element;

/// Namespace of notifications.
const IMDN: &str = "urn:ietf:params:xml:ns:imdn";
/// What binds the `imdn` prefix in CPIM headers.
const IMDN_PREFIX: &str = "urn:ietf:params:imdn";
/// Most headers of one message.
const MAX_HEADERS: usize = 64;

/// An unwrapped message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpim {
    /// CPIM headers in order, as written.
    pub headers: Vec<(String, String)>,
    /// The inner content type.
    pub content_type: String,
    /// The content.
    pub content: String,
}

impl Cpim {
    /// Unwraps; `None` when it is no CPIM or requires what we do not know.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?.replace("\r\n", "\n");
        let mut parts = text.trim_start_matches('\n').splitn(3, "\n\n");
        let (first, second, third) = (parts.next()?, parts.next(), parts.next());
        // The MIME header of the outer part may be repeated inside the body, or not.
        let (head, mime, content) = match (second, third) {
            (Some(second), Some(third))
                if first.to_lowercase().starts_with("content-type: message/cpim") =>
            {
                let (mime, content) = third.split_once("\n\n").unwrap_or((third, ""));
                (second, mime, content)
            }
            (Some(second), Some(third)) => (first, second, third),
            (Some(second), None) => (first, second, ""),
            _ => return None,
        };
        let headers: Vec<_> = head.lines().take(MAX_HEADERS).filter_map(header).collect();
        if headers.iter().any(|(name, _)| name == "Require") {
            return None;
        }
        let content_type = mime
            .lines()
            .filter_map(header)
            .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            .map_or_else(|| "text/plain".to_owned(), |(_, value)| value);
        Some(Self { headers, content_type, content: content.to_owned() })
    }

    /// The first header of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A header in the notification namespace, whatever prefix it is bound to.
    pub fn imdn(&self, name: &str) -> Option<&str> {
        let prefix = self.headers.iter().filter(|(n, _)| n == "NS").find_map(|(_, value)| {
            let (prefix, uri) = value.split_once(' ')?;
            (uri.trim() == format!("<{IMDN_PREFIX}>")).then_some(prefix)
        })?;
        self.get(&format!("{prefix}.{name}"))
    }

    /// Which notifications the sender asked for: delivered, displayed.
    pub fn wants(&self) -> (bool, bool) {
        let asked = self.imdn("Disposition-Notification").unwrap_or_default();
        let has = |word: &str| asked.split(',').any(|w| w.trim() == word);
        (has("positive-delivery"), has("display"))
    }

    /// Prints it.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {}\r\n", value.replace(['\r', '\n'], " ")));
        }
        out.push_str(&format!("\r\nContent-Type: {}\r\n\r\n{}", self.content_type, self.content));
        out
    }

    /// A text that asks for a delivery notification, and a display notification if `display`.
    pub fn text(from: &str, to: &str, id: &str, stamp: &str, display: bool, text: &str) -> Self {
        let asked = if display { "positive-delivery, display" } else { "positive-delivery" };
        let headers = [
            ("From", format!("<{from}>")),
            ("To", format!("<{to}>")),
            ("DateTime", stamp.to_owned()),
            ("NS", format!("imdn <{IMDN_PREFIX}>")),
            ("imdn.Message-ID", id.to_owned()),
            ("imdn.Disposition-Notification", asked.to_owned()),
        ];
        Self {
            headers: headers.map(|(n, v)| (n.to_owned(), v)).to_vec(),
            content_type: "text/plain;charset=utf-8".into(),
            content: text.to_owned(),
        }
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
            .with_child(Element::new(kind, IMDN).with_child(status));
        let headers = [
            ("From", format!("<{from}>")),
            ("To", format!("<{to}>")),
            ("NS", format!("imdn <{IMDN_PREFIX}>")),
            ("imdn.Message-ID", id.to_owned()),
            ("DateTime", stamp.to_owned()),
        ];
        let body = body.to_bytes_in("");
        Self {
            headers: headers.map(|(n, v)| (n.to_owned(), v)).to_vec(),
            content_type: "message/imdn+xml\r\nContent-Disposition: notification".into(),
            content: String::from_utf8_lossy(&body).into_owned(),
        }
    }
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

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_text_comes_back_with_what_it_asks_for() {
        let cpim = Cpim::text(
            "sip:a@h",
            "sip:b@h",
            "34jk324j",
            "2026-01-05T10:00:00Z",
            true,
            "hällo\n\nzwei",
        );
        let read = Cpim::parse(cpim.print().as_bytes()).unwrap();
        assert_eq!(read.content.replace('\n', ""), "hällozwei");
        assert_eq!(read.imdn("Message-ID"), Some("34jk324j"));
        assert_eq!(read.wants(), (true, true));
        assert!(read.content_type.starts_with("text/plain"));
    }

    #[test]
    fn a_notification_comes_back() {
        for status in [Status::Delivered, Status::Displayed, Status::Failed] {
            let about = Notification { message_id: "71b0".into(), status };
            let cpim =
                Cpim::notification("sip:a@h", "sip:b@h", "x1", "2026-01-05T10:00:00Z", &about);
            let read = Cpim::parse(cpim.print().as_bytes()).unwrap();
            assert!(read.content_type.starts_with("message/imdn+xml"));
            assert_eq!(Notification::parse(read.content.as_bytes()), Some(about));
        }
        let declared = b"<?xml version='1.0'?>\n<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>1</message-id><delivery-notification><status><delivered/></status></delivery-notification></imdn>\n";
        assert!(Notification::parse(declared).is_some());
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in
            [&b""[..], b"text", b"Require: x.y\n\nContent-Type: text/plain\n\nhi", b"\xff\n\n\n"]
        {
            assert_eq!(Cpim::parse(bad), None);
        }
    }
}
