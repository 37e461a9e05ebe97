//! Reports of abuse that come with blocking (XEP-0377): what is said, and the messages it is about as they are now.

use super::Server;
use super::blocking::BLOCKING;
use crate::jid::Jid;
use crate::ports::{ArchiveQuery, Evidence, Report, StoreError};
use crate::stanza::{Condition, StanzaError};
use crate::xml::Element;

/// The namespace.
pub(super) const REPORTING: &str = "urn:xmpp:reporting:1";
const STANZA_ID: &str = "urn:xmpp:sid:0";
/// Most messages that one report names; of more the first.
const MAX_EVIDENCE: usize = 50;
/// Longest text of a report, in bytes; of a longer one the beginning.
const MAX_TEXT: usize = 4 * 1024;
/// Bytes of the messages that are kept with one report.
const MAX_BYTES: usize = 1024 * 1024;
/// Longest reason, id and address.
const MAX_NAME: usize = 1_023;

/// The reports in a request to block. One without a reason is none (section 4).
pub(super) fn read(request: &Element, reporter: &Jid) -> Result<Vec<Report>, StanzaError> {
    let bad = || StanzaError::new(Condition::BadRequest);
    let mut reports = Vec::new();
    for item in request.elements().filter(|e| e.is("item", BLOCKING)) {
        let Some(report) = item.child("report", REPORTING) else { continue };
        let reported = item.attr("jid").and_then(|j| Jid::parse(j).ok()).ok_or_else(bad)?;
        let reason = report.attr("reason").filter(|r| !r.is_empty() && r.len() <= MAX_NAME);
        let texts: Vec<String> =
            report.elements().filter(|e| e.is("text", REPORTING)).map(Element::text).collect();
        let mut text = texts.join("\n");
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        reports.push(Report {
            reporter: reporter.clone(),
            reported,
            reason: reason.ok_or_else(bad)?.to_owned(),
            text: Some(text).filter(|t| !t.is_empty()),
            to_origin: report.child("report-origin", REPORTING).is_some(),
            to_others: report.child("third-party", REPORTING).is_some(),
            evidence: named_messages(report),
        });
    }
    Ok(reports)
}

fn named_messages(report: &Element) -> Vec<Evidence> {
    let short = |text: Option<&str>| text.filter(|t| t.len() <= MAX_NAME).map(str::to_owned);
    let ids = report.elements().filter(|e| e.is("stanza-id", STANZA_ID));
    let named = ids.filter_map(|e| {
        Some(Evidence { by: short(e.attr("by"))?, id: short(e.attr("id"))?, stanza: None })
    });
    named.take(MAX_EVIDENCE).collect()
}

impl Server {
    /// Adds the messages that are named, as the reporter's archive has them now.
    pub(super) async fn with_evidence(
        &self,
        mut reports: Vec<Report>,
    ) -> Result<Vec<Report>, StoreError> {
        for report in &mut reports {
            let own = report.reporter.clone();
            let mut room = MAX_BYTES;
            for evidence in report.evidence.iter_mut().filter(|e| e.by == own.as_str()) {
                let Some(seq) = self.archive_seq(&evidence.id) else { continue };
                let query =
                    ArchiveQuery { ids: Some(vec![seq]), ..ArchiveQuery::new(own.clone(), 1) };
                let page = self.0.ports.archive.page(&query).await?;
                let found = page.and_then(|page| page.messages.into_iter().next());
                evidence.stanza = found.map(|m| m.stanza).filter(|s| s.len() <= room);
                room -= evidence.stanza.as_ref().map_or(0, bytes::Bytes::len);
            }
        }
        Ok(reports)
    }
}
