//! Reading items (XEP-0060 section 6.5), by id, the last few, or page by page (XEP-0059).

use super::{Answer, KnownNode, NS, Refusal, is_hidden, item_text, node_name, wire};
use crate::jid::Jid;
use crate::ports::pubsub::{Page, Wanted};
use crate::service::Server;
use crate::service::bookmarks::STORAGE;
use crate::stanza::Condition;
use crate::xml::Element;

const RSM: &str = "http://jabber.org/protocol/rsm";
/// Most items of one answer; the rest comes by asking on.
const MAX_PAGE: u32 = 500;
/// Payload in one answer in bytes; what is beyond comes by asking on.
const MAX_PAGE_BYTES: usize = 200 * 1024;

impl Server {
    pub(super) async fn items_request(
        &self,
        from: &Jid,
        owner: &Jid,
        request: &Element,
        verb: &Element,
    ) -> Answer {
        let name = node_name(verb)?;
        if name == STORAGE && from.bare() == *owner {
            let storage = self.bookmark_storage(owner).await?;
            let item = Element::new("item", NS).with_attr("id", "current").with_child(storage);
            let items = Element::new("items", NS).with_attr("node", STORAGE).with_child(item);
            return Ok(Some(wire::pubsub_of(&items)));
        }
        let profile = self.profile(owner).await?;
        let known = profile.find(name).filter(|_| !is_hidden(name));
        let Some(known) = known else { return Err(Refusal::new(Condition::ItemNotFound)) };
        self.check_reader(owner, known, from).await?;
        let rsm = request.child("set", RSM);
        let (wanted, is_last) = wanted(verb, rsm)?;
        let page = self.page(owner, known, &wanted).await?;
        if let (Wanted::Ids(_), true) = (&wanted, page.items.is_empty()) {
            return Err(Refusal::new(Condition::ItemNotFound));
        }
        let paged = !matches!(wanted, Wanted::Ids(_));
        Ok(Some(print(name, fitting(page, is_last), paged && rsm.is_some())))
    }

    async fn page(&self, owner: &Jid, known: &KnownNode, wanted: &Wanted) -> Result<Page, Refusal> {
        if known.node.config.persist {
            let page = self.0.ports.pubsub.items(owner, &known.node, wanted).await?;
            // The item to begin at is not there (XEP-0059 section 2.2).
            return page.ok_or_else(|| Refusal::new(Condition::ItemNotFound));
        }
        // Of a node that keeps nothing, the last one is still known.
        let last = self.last_item(owner, known).await?;
        let items: Vec<_> = last
            .iter()
            .filter(|item| match wanted {
                Wanted::Ids(ids) => ids.contains(&item.id),
                _ => true,
            })
            .map(|item| (**item).clone())
            .collect();
        Ok(Page { total: u32::try_from(items.len()).unwrap_or(u32::MAX), first: 0, items })
    }
}

/// What a request asks for, and whether it is the end that matters.
fn wanted(verb: &Element, rsm: Option<&Element>) -> Result<(Wanted, bool), Refusal> {
    let ids: Vec<String> = verb
        .elements()
        .filter(|e| e.is("item", NS))
        .filter_map(|e| e.attr("id").map(str::to_owned))
        .take(usize::try_from(MAX_PAGE).unwrap_or(usize::MAX))
        .collect();
    if !ids.is_empty() {
        return Ok((Wanted::Ids(ids), false));
    }
    let malformed = || Refusal::new(Condition::BadRequest);
    let number = |text: String| text.trim().parse::<u32>().map_err(|_| malformed());
    if let Some(rsm) = rsm {
        let text = |name: &str| rsm.child(name, RSM).map(Element::text);
        let max = text("max").map(number).transpose()?.unwrap_or(MAX_PAGE).min(MAX_PAGE);
        if let Some(index) = text("index") {
            return Ok((Wanted::At(number(index)?, max), false));
        }
        if let Some(before) = text("before") {
            return Ok((Wanted::Before(Some(before).filter(|b| !b.is_empty()), max), true));
        }
        return Ok((Wanted::After(text("after").filter(|a| !a.is_empty()), max), false));
    }
    match verb.attr("max_items") {
        Some(max) => {
            let max = number(max.to_owned())?;
            Ok((Wanted::Before(None, max.min(MAX_PAGE)), true))
        }
        None => Ok((Wanted::Before(None, MAX_PAGE), true)),
    }
}

/// As much of a page as one answer may hold: its end for who goes backwards, else its beginning.
fn fitting(mut page: Page, is_last: bool) -> Page {
    let mut bytes = 0;
    let mut fits = 0;
    let mut sizes: Vec<usize> = page.items.iter().map(|item| item.payload.len()).collect();
    if is_last {
        sizes.reverse();
    }
    for size in sizes {
        bytes += size;
        if fits > 0 && bytes > MAX_PAGE_BYTES {
            break;
        }
        fits += 1;
    }
    if is_last {
        let left = page.items.len() - fits;
        page.items.drain(..left);
        page.first = page.first.saturating_add(u32::try_from(left).unwrap_or(u32::MAX));
    } else {
        page.items.truncate(fits);
    }
    page
}

fn print(node: &str, page: Page, with_set: bool) -> String {
    let mut out = String::from("<items");
    wire::attribute(&mut out, "node", node);
    out.push('>');
    for item in &page.items {
        item_text(&mut out, item, true);
    }
    out.push_str("</items>");
    let is_part = usize::try_from(page.total).is_ok_and(|total| page.items.len() < total);
    if with_set || is_part {
        let mut set = Element::new("set", RSM);
        if let (Some(first), Some(last)) = (page.items.first(), page.items.last()) {
            let first = Element::new("first", RSM)
                .with_attr("index", page.first.to_string())
                .with_text(&first.id);
            set.push(first);
            set.push(Element::new("last", RSM).with_text(&last.id));
        }
        set.push(Element::new("count", RSM).with_text(page.total.to_string()));
        set.print(&mut out, NS);
    }
    wire::pubsub(&out)
}
