//! RFC 3261 section 20.10, RFC 5626, RFC 5627: Contact.

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
