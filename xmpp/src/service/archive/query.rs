//! Questions to an archive (XEP-0313 sections 4 and 5), in pages (XEP-0059).

use super::MAM;
use crate::jid::Jid;
use crate::ports::{ArchiveQuery, Archived, Page, Seq, StoreError};
use crate::service::{Outcome, Server};
use crate::stanza::data_form::{self, FORM_TYPE, Field, FieldKind, Form, FormKind};
use crate::stanza::rsm::{PageInfo, PageRequest};
use crate::stanza::{Condition, Stanza, StanzaError, stamp};
use crate::xml::Element;

/// Messages of a page where the client names no number, and most of any.
const USUAL_PAGE: usize = 50;
const MAX_PAGE: usize = 500;
/// Most messages that are asked for by id.
const MAX_IDS: usize = 500;
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
const VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";

/// Whose archive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum Whose {
    /// That of the reader's account.
    Account,
    /// A room's: all of it is groupchat. Whether the reader may see real addresses (section 6.1.2).
    Room {
        /// May.
        addresses: bool,
    },
}

/// A query as the client put it.
struct Asked {
    query: ArchiveQuery,
    queryid: Option<String>,
    flip: bool,
}

impl Server {
    /// A request to the archive of the sender's own account. Others' archives are forbidden (section 8.1); which is the
    /// same for accounts that do not exist.
    pub(in crate::service) async fn answer_archive(&self, stanza: &Stanza) -> Outcome {
        let Some(from) = stanza.from() else { return Outcome::Ignored };
        let owner = stanza.to().map_or_else(|| from.bare(), Clone::clone);
        if owner != from.bare() {
            return self.bounce(stanza, StanzaError::new(Condition::Forbidden));
        }
        match (stanza.type_(), stanza.has("metadata", MAM), stanza.has("prefs", MAM)) {
            (_, false, true) => self.answer_archive_prefs(stanza).await,
            (Some("get"), true, _) => self.answer_archive_metadata(stanza, &owner).await,
            (Some("get"), false, _) => self.answer_archive_form(stanza),
            (Some("set"), false, _) => {
                self.answer_archive_query(stanza, &owner, Whose::Account).await
            }
            _ => self.bounce(stanza, StanzaError::new(Condition::BadRequest)),
        }
    }

    /// A query, once it is clear that the sender may read the archive of `owner` (bare).
    pub(in crate::service) async fn answer_archive_query(
        &self,
        stanza: &Stanza,
        owner: &Jid,
        whose: Whose,
    ) -> Outcome {
        let Some(from) = stanza.from().cloned() else { return Outcome::Ignored };
        let asked = stanza.child("query", MAM).ok_or(Condition::BadRequest);
        let mut asked = match asked.and_then(|query| self.asked(&query, owner)) {
            Ok(asked) => asked,
            Err(condition) => return self.bounce(stanza, StanzaError::new(condition)),
        };
        if whose != Whose::Account {
            asked.query.groupchat = None;
        }
        // A page is a portion of what may be queued for a client, at most.
        asked.query.max_bytes = self.portion();
        let mut page = match self.0.ports.archive.page(&asked.query).await {
            Ok(Some(page)) => page,
            Ok(None) => return self.bounce(stanza, StanzaError::new(Condition::ItemNotFound)),
            Err(error) => return self.store_failed(stanza, &error),
        };
        if whose == Whose::Account {
            self.note_read(&from, &asked.query, &page);
        }
        let fin = self.fin(&asked.query, &page);
        if asked.flip {
            page.messages.reverse();
        }
        if whose == (Whose::Room { addresses: false }) {
            page.messages.iter_mut().for_each(hide_address);
        }
        for message in &page.messages {
            let result = self.result(owner, &from, asked.queryid.as_deref(), message);
            self.emit(owner, &from, &result);
        }
        self.reply(stanza, Some(fin))
    }

    /// What waits for the account and is now read from the archive need not be given once more (section 6.1.1).
    fn note_read(&self, from: &Jid, query: &ArchiveQuery, page: &Page) {
        if query.with.is_some() || query.end.is_some() || query.ids.is_some() {
            return;
        }
        let known = query.after.iter().max().copied().filter(|_| page.messages.is_empty());
        let Some(read) = page.messages.last().map(|m| m.seq).or(known) else { return };
        if let Some(resource) = self.sessions().get_mut(from) {
            resource.read_archive(read);
        }
    }

    fn fin(&self, query: &ArchiveQuery, page: &Page) -> Element {
        let ends = match (page.messages.first(), page.messages.last()) {
            (Some(first), Some(last)) => {
                Some((self.archive_id(first.seq), self.archive_id(last.seq)))
            }
            _ => None,
        };
        // All there is is on the page: it need not be counted.
        let is_whole = page.complete && query.after.is_empty() && query.before.is_empty();
        let whole = is_whole.then_some(page.messages.len() as u64);
        let count = page.count.or(whole);
        let index = page.index.or(count.and(whole).map(|_| 0)).filter(|_| ends.is_some());
        let info = PageInfo { ends, index, count };
        Element::new("fin", MAM)
            .with_attr_opt("complete", page.complete.then_some("true"))
            .with_child(info.to_element())
    }

    fn asked(&self, query: &Element, owner: &Jid) -> Result<Asked, Condition> {
        let request = PageRequest::of(query).map_err(|_| Condition::BadRequest)?;
        if request.index.is_some() {
            return Err(Condition::FeatureNotImplemented);
        }
        if query.attr("node").is_some() {
            // Nodes are for publish-subscribe (XEP-0442).
            return Err(Condition::ItemNotFound);
        }
        let max = request.max.unwrap_or(USUAL_PAGE).min(MAX_PAGE);
        let mut asked = ArchiveQuery::new(owner.clone(), max);
        if let Some(form) = query.child("x", data_form::NS) {
            let form = Form::from_element(form).ok_or(Condition::BadRequest)?;
            self.fill(&mut asked, &form)?;
        }
        let place = |id: &String| self.archive_seq(id).ok_or(Condition::ItemNotFound);
        asked.after.extend(request.after.as_ref().map(place).transpose()?);
        asked.last = request.before.is_some();
        let before = request.before.filter(|id| !id.is_empty());
        asked.before.extend(before.as_ref().map(place).transpose()?);
        Ok(Asked {
            query: asked,
            queryid: query.attr("queryid").map(str::to_owned),
            flip: query.child("flip-page", MAM).is_some(),
        })
    }

    fn fill(&self, asked: &mut ArchiveQuery, form: &Form) -> Result<(), Condition> {
        if form.kind != FormKind::Submit || form.form_type() != Some(MAM) {
            return Err(Condition::BadRequest);
        }
        let time = |text: &str| stamp::parse(text).ok_or(Condition::BadRequest);
        let place = |id: &str| self.archive_seq(id).ok_or(Condition::ItemNotFound);
        for field in &form.fields {
            let value = field.value().unwrap_or_default();
            match field.var.as_deref() {
                Some(FORM_TYPE) | None => {}
                Some("with") => {
                    let with = Jid::parse(value).map_err(|_| Condition::JidMalformed)?;
                    asked.with = Some(with);
                }
                Some("start") => asked.start = Some(time(value)?),
                Some("end") => asked.end = Some(time(value)?),
                Some("before-id") => asked.before.push(place(value)?),
                Some("after-id") => asked.after.push(place(value)?),
                Some("ids") if field.values.len() <= MAX_IDS => {
                    let ids = field.values.iter().map(|id| place(id));
                    asked.ids = Some(ids.collect::<Result<_, _>>()?);
                }
                Some("ids") => return Err(Condition::PolicyViolation),
                Some("include-groupchat") => {
                    let included = form.bool("include-groupchat").ok_or(Condition::BadRequest)?;
                    asked.groupchat = (!included).then_some(false);
                }
                Some(_) => return Err(Condition::FeatureNotImplemented),
            }
        }
        Ok(())
    }

    /// The fields that a query may have (section 4.1.6).
    pub(in crate::service) fn answer_archive_form(&self, stanza: &Stanza) -> Outcome {
        let open = Element::new("validate", VALIDATE)
            .with_attr("datatype", "xs:string")
            .with_child(Element::new("open", VALIDATE));
        let ids = Field { others: vec![open], ..Field::new(FieldKind::ListMulti, "ids") };
        let form = Form::about(FormKind::Form, MAM)
            .with_field(Field::new(FieldKind::JidSingle, "with"))
            .with_field(Field::new(FieldKind::TextSingle, "start"))
            .with_field(Field::new(FieldKind::TextSingle, "end"))
            .with_field(Field::new(FieldKind::TextSingle, "before-id"))
            .with_field(Field::new(FieldKind::TextSingle, "after-id"))
            .with_field(ids)
            .with_field(Field::new(FieldKind::Boolean, "include-groupchat"));
        let query = Element::new("query", MAM).with_child(form.to_element());
        self.reply(stanza, Some(query))
    }

    /// Where an archive begins and ends (section 5), once it is clear that the sender may know.
    pub(in crate::service) async fn answer_archive_metadata(
        &self,
        stanza: &Stanza,
        owner: &Jid,
    ) -> Outcome {
        match self.archive_ends(owner).await {
            Ok(ends) => self.reply(stanza, Some(self.metadata(ends))),
            Err(error) => self.store_failed(stanza, &error),
        }
    }

    /// What a session that was just bound is told of its archive (XEP-0386 section 4.2). It will read there what waits for
    /// its account up to now, and is not given that again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the archive cannot be read.
    pub async fn archive_at_bind(&self, jid: &Jid) -> Result<Element, StoreError> {
        let ends = self.archive_ends(&jid.bare()).await?;
        if let (Some((_, end)), Some(resource)) = (ends, self.sessions().get_mut(jid)) {
            resource.read_archive(end);
        }
        Ok(self.metadata(ends))
    }

    async fn archive_ends(&self, owner: &Jid) -> Result<Option<(Seq, Seq)>, StoreError> {
        let mut query = ArchiveQuery::new(owner.clone(), 1);
        let first = self.0.ports.archive.page(&query).await?;
        query.last = true;
        let last = self.0.ports.archive.page(&query).await?;
        let end = |page: Option<Page>| Some(page?.messages.first()?.seq);
        Ok(end(first).zip(end(last)))
    }

    fn metadata(&self, ends: Option<(Seq, Seq)>) -> Element {
        let end = |name: &str, seq: Seq| {
            Element::new(name, MAM)
                .with_attr("id", self.archive_id(seq))
                .with_attr("timestamp", stamp::print(seq))
        };
        let ends = ends.map(|(first, last)| [end("start", first), end("end", last)]);
        Element::new("metadata", MAM).with_children(ends.into_iter().flatten())
    }
}

/// Takes out who has said it in a room where that is hidden.
fn hide_address(message: &mut Archived) {
    let Ok(mut stanza) = Stanza::parse(message.stanza.clone()) else { return };
    if stanza.strip("x", MUC_USER, |_| true).is_ok() {
        message.stanza = stanza.bytes();
    }
}
