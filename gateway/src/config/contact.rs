//! `[contact]`: whom to write to about this server (XEP-0157).

use serde::{Deserialize, Serialize};

/// Addresses as URIs, by purpose.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contact {
    /// Reports of abuse.
    pub abuse: Vec<String>,
    /// The operators.
    pub admin: Vec<String>,
    /// What users think.
    pub feedback: Vec<String>,
    /// Holes.
    pub security: Vec<String>,
    /// Where outages are told.
    pub status: Vec<String>,
    /// Help.
    pub support: Vec<String>,
}

impl Contact {
    /// As the XMPP server wants them.
    pub fn addresses(&self) -> Vec<(String, Vec<String>)> {
        self.all().map(|(purpose, addresses)| (purpose.to_owned(), addresses.clone())).to_vec()
    }

    /// The first address that is no URI.
    pub fn malformed(&self) -> Option<&str> {
        let schemes = ["mailto:", "xmpp:", "https://", "http://", "tel:", "sip:", "sips:"];
        let is_uri =
            |a: &str| schemes.iter().any(|s| a.strip_prefix(s).is_some_and(|r| !r.is_empty()));
        let all = self.all().into_iter().flat_map(|(_, addresses)| addresses);
        all.map(String::as_str).find(|address| !is_uri(address))
    }

    fn all(&self) -> [(&'static str, &Vec<String>); 6] {
        [
            ("abuse", &self.abuse),
            ("admin", &self.admin),
            ("feedback", &self.feedback),
            ("security", &self.security),
            ("status", &self.status),
            ("support", &self.support),
        ]
    }
}
