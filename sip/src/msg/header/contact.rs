//! RFC 3261 section 20.10, RFC 5626, RFC 5627, RFC 8599: Contact.

use std::fmt;
use std::ops::Deref;

use super::{Header, HeaderError, ListHeader, NameAddr};
use crate::msg::name::Name;
use crate::msg::{Headers, scan};

/// One contact address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Contact(pub NameAddr);

impl Contact {
    /// The `expires` parameter in seconds; too large a number is the largest. A malformed one counts as absent
    /// (RFC 3261 section 10.3 step 7).
    pub fn expires(&self) -> Option<u32> {
        self.0.params.get("expires").and_then(scan::saturating_u32)
    }

    /// The `q` parameter in thousandths, 0 to 1000; `None` when absent or malformed.
    pub fn q(&self) -> Option<u16> {
        let text = self.0.params.get("q")?;
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_short = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        let thousandths = format!("{part:0<3}").parse::<u16>().ok().filter(|_| is_short)?;
        match (whole, thousandths) {
            ("0", rest) => Some(rest),
            ("1", 0) => Some(1000),
            _ => None,
        }
    }

    /// The device's id from `+sip.instance`, quotes and angle brackets taken away (`urn:uuid:...`).
    pub fn instance(&self) -> Option<String> {
        let text = self.0.params.get_unquoted("+sip.instance")?;
        Some(
            text.strip_prefix('<')
                .and_then(|rest| rest.strip_suffix('>'))
                .unwrap_or(&text)
                .to_owned(),
        )
    }

    /// The flow's number (RFC 5626), 1 or more.
    pub fn reg_id(&self) -> Option<u32> {
        self.0.params.get("reg-id").and_then(|text| text.parse().ok()).filter(|id| *id > 0)
    }

    /// The device's public address (RFC 5627 section 5.3), without quotes.
    pub fn pub_gruu(&self) -> Option<String> {
        self.0.params.get_unquoted("pub-gruu")
    }

    /// One of the device's addresses that do not tell who it is (RFC 5627 section 5.3), without quotes.
    pub fn temp_gruu(&self) -> Option<String> {
        self.0.params.get_unquoted("temp-gruu")
    }

    /// The `gr` of a URI that names a device: its value, empty in a temporary one; `None` in any other URI.
    pub fn gr(&self) -> Option<&str> {
        self.0.uri.params.has("gr").then(|| self.0.uri.params.get("gr").unwrap_or_default())
    }

    /// Whether the flow is to be used in the dialogs that this contact begins (`;ob`, RFC 5626 section 4.3).
    pub fn is_outbound(&self) -> bool {
        self.0.uri.params.has("ob")
    }

    /// Where the device can be woken (RFC 8599 section 6.1); `None` unless provider and device are both named.
    pub fn push(&self) -> Option<Push> {
        let get = |name| {
            let text = self.0.uri.params.get(name).filter(|text| !text.is_empty())?;
            String::from_utf8(scan::percent_decode(text)).ok()
        };
        Some(Push {
            provider: get("pn-provider")?,
            device: get("pn-prid")?,
            param: get("pn-param"),
        })
    }
}

/// How a sleeping device is woken (RFC 8599), percent escapes decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Push {
    /// The push service (`pn-provider`): `apns`, `fcm`, `webpush`.
    pub provider: String,
    /// The device at that service (`pn-prid`).
    pub device: String,
    /// What the service needs besides (`pn-param`), mostly the app.
    pub param: Option<String>,
}

impl Header for Contact {
    const NAME: Name = Name::Contact;
    const IS_LIST: bool = true;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        NameAddr::parse(value).map(Contact).ok_or(HeaderError::malformed(Self::NAME))
    }
}

impl ListHeader for Contact {}

impl Deref for Contact {
    type Target = NameAddr;
    fn deref(&self) -> &NameAddr {
        &self.0
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All Contact fields of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contacts {
    /// `Contact: *`: every binding.
    All,
    /// Addresses; empty when there is no Contact.
    List(Vec<Contact>),
}

impl Headers {
    /// Reads all Contact fields.
    ///
    /// # Errors
    /// One is malformed, or `*` does not stand alone.
    pub fn contacts(&self) -> Result<Contacts, HeaderError> {
        let is_star = |value: &str| scan::trim(value) == "*";
        if self.count(Name::Contact) == 1 && self.get(Name::Contact).is_some_and(is_star) {
            return Ok(Contacts::All);
        }
        self.list().map(Contacts::List)
    }
}
