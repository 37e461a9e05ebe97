//! RFC 3261 section 20.16: CSeq.

use std::fmt;

use super::{Header, HeaderError, Problem};
use crate::msg::Method;
use crate::msg::name::Name;
use crate::msg::scan;

/// A request's number in its dialog and its method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// The number, below 2^31.
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl CSeq {
    /// A CSeq of ours.
    pub fn new(number: u32, method: Method) -> Self {
        CSeq { number, method }
    }

    pub(crate) fn split(value: &str) -> Result<(u32, &str), HeaderError> {
        let malformed = HeaderError::malformed(Name::CSeq);
        let (number, method) = scan::trim(value).split_once([' ', '\t']).ok_or(malformed)?;
        let method = scan::trim(method);
        if !scan::is_token(method) {
            return Err(malformed);
        }
        let number = scan::digits(number).ok_or(malformed)?;
        let number = number
            .ok()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number < 1 << 31);
        Ok((number.ok_or(HeaderError::new(Name::CSeq, Problem::OutOfRange))?, method))
    }
}

impl Header for CSeq {
    const NAME: Name = Name::CSeq;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let (number, method) = CSeq::split(value)?;
        Ok(CSeq { number, method: Method::new(method) })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}
