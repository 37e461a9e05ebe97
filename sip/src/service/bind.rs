//! What a REGISTER makes of the bindings of its account (RFC 3261 section 10.3 steps 6 and 7, RFC 3327, RFC 5626 section
//! 6, RFC 5627 section 5.1).

use std::sync::Arc;
use std::time::Instant;

use super::binding::Binding;
use super::{Core, ids};
use crate::msg::header::{Contact, Contacts, Expires, Path, Supported, Via};
use crate::msg::{Host, Name, Request, Uri};
use crate::transport::Flow;

/// Proxies between us and a phone; more are refused.
const MAX_PATH: usize = 8;
/// Bytes of a contact address, an instance id and of a Contact's other parameters.
const MAX_CONTACT: usize = 512;
const MAX_INSTANCE: usize = 256;
const MAX_FEATURES: usize = 512;
/// What a Contact's parameters say that has a place of its own, or that a phone cannot say (RFC 5627 section 5.1).
const OWN_PARAMS: [&str; 6] = ["expires", "q", "+sip.instance", "reg-id", "pub-gruu", "temp-gruu"];

/// The answer a REGISTER gets at once: status and a header field that explains it.
pub(super) type Refused = (u16, Option<(&'static str, String)>);

/// What a REGISTER leads to.
pub(super) enum Update {
    /// A question only.
    None,
    /// What is kept of the account from now on, the most recent last.
    Bindings(Vec<Arc<Binding>>),
}

/// The extensions that a REGISTER names and the way it came.
pub(super) struct Terms {
    /// Proxies to be visited on the way back.
    pub(super) path: Vec<Path>,
    pub(super) knows_outbound: bool,
    pub(super) knows_gruu: bool,
    /// No proxy stands between the phone and us.
    pub(super) is_first_hop: bool,
    /// Whether flows may be numbered (RFC 5626 section 6).
    has_outbound_path: bool,
}

impl Terms {
    pub(super) fn of(request: &Request) -> Result<Self, Refused> {
        let headers = &request.headers;
        let supported: Vec<Supported> = headers.list().map_err(|_| (400, None))?;
        let knows = |name: &str| supported.iter().any(|tag| tag.0.eq_ignore_ascii_case(name));
        let path: Vec<Path> = headers.list().map_err(|_| (400, None))?;
        if path.len() > MAX_PATH {
            return Err((403, None));
        }
        if !path.is_empty() && !knows("path") {
            // The phone could not tell whether a stranger has put itself in between (RFC 3327 section 5.3).
            return Err((420, Some(("Unsupported", "path".to_owned()))));
        }
        let hops: Vec<Via> = headers.list().map_err(|_| (400, None))?;
        let is_first_hop = hops.len() == 1;
        let ob = path.first().is_some_and(|hop| hop.uri.params.has("ob"));
        Ok(Self {
            knows_outbound: knows("outbound"),
            knows_gruu: knows("gruu"),
            has_outbound_path: is_first_hop || ob,
            is_first_hop,
            path,
        })
    }

    /// Whether this REGISTER made this binding a numbered flow of a phone that asked for it (RFC 5626 section 6).
    pub(super) fn made(&self, binding: &Binding, request: &Request) -> bool {
        let cseq = request.headers.cseq().map_or(0, |cseq| cseq.number);
        let is_made = |call_id: &str| binding.call_id == call_id && binding.cseq == cseq;
        self.knows_outbound
            && binding.reg_id.is_some()
            && request.headers.call_id().is_ok_and(|call_id| is_made(&call_id.0))
    }

    /// The flow's number, where this registration may have one.
    fn reg_id(&self, contact: &Contact) -> Result<Option<u32>, Refused> {
        let reg_id = contact.reg_id().filter(|_| instance(contact).is_some());
        match reg_id {
            Some(_) if !self.has_outbound_path && self.knows_outbound => Err((439, None)),
            Some(_) if !self.has_outbound_path => Ok(None),
            other => Ok(other),
        }
    }
}

impl Core {
    /// Works a REGISTER out; nothing is changed yet.
    pub(super) fn update(
        &self,
        request: &Request,
        terms: &Terms,
        flow: Flow,
        account: &str,
        now: Instant,
    ) -> Result<Update, Refused> {
        let bad = |_| (400, None);
        let expires: Option<Expires> = request.headers.optional().map_err(bad)?;
        let call_id = request.headers.call_id().map_err(bad)?.0;
        let cseq = request.headers.cseq().map_err(bad)?.number;
        let time = self.unix_time(now);
        let mut bindings = self.kept(account);
        bindings.retain(|known| known.expires_at > time || self.may_be_woken(known, time));
        // The same phone may not go back in time; an older REGISTER that comes late changes nothing.
        let is_late = |known: &Arc<Binding>| known.call_id == call_id && known.cseq >= cseq;
        let contacts = match request.headers.contacts().map_err(bad)? {
            Contacts::All if expires != Some(Expires(0)) => return Err((400, None)),
            Contacts::All if bindings.iter().any(is_late) => return Err((500, None)),
            Contacts::All => return Ok(Update::Bindings(Vec::new())),
            Contacts::List(list) if list.is_empty() => return Ok(Update::None),
            Contacts::List(list) => list,
        };
        let mut asked = Vec::with_capacity(contacts.len());
        for contact in contacts {
            let seconds = self.granted(&contact, expires)?;
            let reg_id = terms.reg_id(&contact)?;
            asked.push((contact, seconds, reg_id));
        }
        let lasting = || asked.iter().filter(|(_, seconds, _)| *seconds > 0);
        if lasting().count() > 1 && lasting().any(|(_, _, reg_id)| reg_id.is_some()) {
            // One flow has one end (RFC 5626 section 6).
            return Err((400, None));
        }
        let mut new: Vec<Arc<Binding>> = Vec::new();
        for (contact, seconds, reg_id) in asked {
            // The last word about a contact counts, also within one request.
            new.retain(|binding| !is_same_contact(binding, &contact, reg_id));
            let replaced = |known: &Arc<Binding>| is_replaced_by(known, &contact, reg_id);
            if bindings.iter().any(|known| replaced(known) && is_late(known)) {
                return Err((500, None));
            }
            let old_id =
                bindings.iter().find(|known| replaced(known)).map(|known| known.id.clone());
            bindings.retain(|known| !replaced(known));
            if seconds == 0 {
                continue;
            }
            self.check_contact(&contact, account, flow)?;
            if let Some(services) = self.unknown_service(&contact) {
                return Err((555, Some(("Feature-Caps", services))));
            }
            if bindings.len() + new.len() >= self.config.max_contacts {
                // One that sleeps makes room.
                let asleep = bindings.iter().position(|known| known.expires_at <= time);
                asleep.map(|at| bindings.remove(at));
            }
            if bindings.len() + new.len() >= self.config.max_contacts {
                return Err((403, Some(("Warning", "399 tandem \"too many phones\"".to_owned()))));
            }
            let instance = instance(&contact);
            let name = instance.clone().unwrap_or_else(|| contact.uri.to_string());
            let fresh = || format!("phone-{}", ids::stable(&[account, &name]));
            let id = old_id.filter(|_| instance.is_none()).unwrap_or_else(fresh);
            new.push(Arc::new(Binding {
                id,
                account: account.to_owned(),
                contact: contact.uri.to_string(),
                has_gruu: terms.knows_gruu && instance.is_some(),
                instance,
                reg_id,
                path: terms.path.iter().map(ToString::to_string).collect(),
                features: features(&contact),
                q: contact.q().unwrap_or(1000),
                call_id: call_id.clone(),
                cseq,
                registered_at: time,
                expires_at: time + u64::from(seconds),
                flow,
                user_agent: request
                    .headers
                    .get(Name::UserAgent)
                    .map(|agent| agent.chars().take(120).collect()),
            }));
        }
        bindings.append(&mut new);
        Ok(Update::Bindings(bindings))
    }

    /// The seconds a contact gets; too few is a 423.
    fn granted(&self, contact: &Contact, expires: Option<Expires>) -> Result<u32, Refused> {
        let asked = contact.expires().or(expires.map(|field| field.0));
        let asked = asked.unwrap_or(self.config.default_expires_secs);
        let least = self.config.min_expires_secs;
        if asked != 0 && asked < least {
            return Err((423, Some(("Min-Expires", least.to_string()))));
        }
        Ok(asked.min(self.config.max_expires_secs))
    }

    /// A contact has to be a SIP address, without a stranger's header fields in it, and not the address that leads to it:
    /// that would go round for ever (RFC 5627 section 5.1).
    fn check_contact(&self, contact: &Contact, account: &str, flow: Flow) -> Result<(), Refused> {
        let uri = &contact.uri;
        if !uri.is_sip() {
            return Err((403, None));
        }
        if uri.headers.is_some() || contact.0.to_string().len() > MAX_CONTACT + MAX_FEATURES {
            return Err((400, None));
        }
        let Some((user, domain)) = account.rsplit_once('@') else { return Err((403, None)) };
        let is_user = uri.user_decoded().is_some_and(|found| found.eq_ignore_ascii_case(user));
        let is_gruu = self.is_temporary_gruu(uri);
        let host = Host::parse(domain);
        let is_domain = host.is_some_and(|host| uri.host.is_same(&host)) && uri.port.is_none();
        let is_us = uri.host.ip() == Some(flow.local.ip())
            && uri.port.unwrap_or(flow.protocol.default_port()) == flow.local.port();
        if (is_domain || is_us) && is_user || is_gruu {
            return Err((403, None));
        }
        Ok(())
    }
}

/// The device's id, unless it is of a length that no device has.
fn instance(contact: &Contact) -> Option<String> {
    contact.instance().filter(|instance| !instance.is_empty() && instance.len() <= MAX_INSTANCE)
}

/// The parameters that are kept for the answer and for whoever asks what the phone can do.
fn features(contact: &Contact) -> Option<String> {
    let mut params = contact.params.clone();
    for name in OWN_PARAMS {
        params.remove(name);
    }
    let text = params.to_string();
    (!text.is_empty() && text.len() <= MAX_FEATURES).then_some(text)
}

/// Whether two Contacts of one request are about the same.
fn is_same_contact(known: &Binding, contact: &Contact, reg_id: Option<u32>) -> bool {
    match (known.reg_id, reg_id) {
        (None, None) => is_same_uri(known, &contact.uri),
        (one, other) => one == other && known.instance == instance(contact),
    }
}

/// A flow is known by device and number, a device by its instance id, else by its contact address (RFC 3261 section
/// 19.1.4): also when it learns or forgets its id, as an update may teach it. A device that numbers its flows leaves the
/// contact without a number behind.
fn is_replaced_by(known: &Binding, contact: &Contact, reg_id: Option<u32>) -> bool {
    match (&known.instance, instance(contact)) {
        (Some(one), Some(other)) => {
            let is_flow = known.reg_id == reg_id || known.reg_id.is_none() || reg_id.is_none();
            *one == other && is_flow
        }
        (None, None) => {
            // A phone that was woken has another address than before.
            let push = contact.push();
            is_same_uri(known, &contact.uri) || push.is_some() && push == known.push()
        }
        _ => is_same_uri(known, &contact.uri),
    }
}

fn is_same_uri(known: &Binding, uri: &Uri) -> bool {
    known.uri().is_some_and(|known| known.is_same(uri))
}
