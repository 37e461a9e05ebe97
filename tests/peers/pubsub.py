"""Profiles, bookmarks and private nodes: what contacts and strangers see of it, and what other devices are told."""
import asyncio, base64, hashlib, sys
from xml.etree import ElementTree as ET
from slixmpp.exceptions import IqError
from slixmpp.stanza import Message
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath
from client import Client, step

PUBSUB = "http://jabber.org/protocol/pubsub"
EVENT = "http://jabber.org/protocol/pubsub#event"
METADATA = "urn:xmpp:avatar:metadata"
BOOKMARKS = "urn:xmpp:bookmarks:1"
MDS = "urn:xmpp:mds:displayed:0"
IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PRIVATE = {"persist_items": "true", "max_items": "max", "send_last_published_item": "never", "access_model": "whitelist"}


class Person(Client):
    """Keeps the events that reach it; `wishes` are the nodes whose news it asks for."""

    def __init__(self, jid, wishes=()):
        super().__init__(jid)
        for plugin in ("xep_0004", "xep_0049", "xep_0054", "xep_0060", "xep_0115", "xep_0163"):
            self.register_plugin(plugin)
        for node in wishes:
            self["xep_0030"].add_feature(node + "+notify")
        self.events = asyncio.Queue()
        match = MatchXPath(f"{{jabber:client}}message/{{{EVENT}}}event")
        self.register_handler(Callback("events", match, self.heard))

    def heard(self, message: Message):
        self.events.put_nowait(message)

    async def news(self, node):
        """The next event, which must be of this node."""
        message = await asyncio.wait_for(self.events.get(), 10)
        assert message["type"] == "headline" and message["id"], message
        items = message.xml.find(f"{{{EVENT}}}event/{{{EVENT}}}items")
        assert items is not None and items.get("node") == node, message
        return message, items

    async def silent(self):
        """What was sent before this answer has been read."""
        await self["xep_0199"].send_ping(self.boundjid.domain)
        assert self.events.empty(), self.events.get_nowait()

    async def publish(self, node, id, payload, options=None):
        form = None
        if options:
            form = self["xep_0004"].make_form(ftype="submit")
            form.add_field(var="FORM_TYPE", ftype="hidden", value=PUBSUB + "#publish-options")
            for name, value in options.items():
                form.add_field(var="pubsub#" + name, value=value)
        return await self["xep_0060"].publish(None, node, id=id, payload=payload, options=form)

    async def items(self, owner, node):
        result = await self["xep_0060"].get_items(owner, node)
        return {i.get("id"): i for i in result.xml.iter(f"{{{PUBSUB}}}item")}


async def refused(condition, request):
    try:
        await request
    except IqError as error:
        assert error.condition == condition, error.iq
        return error.iq
    raise AssertionError("granted: " + condition)


async def subscribe(watcher, owner):
    watcher.send_presence(pto=owner.boundjid.bare, ptype="subscribe")
    await owner.expect("presence_subscribe")
    owner.send_presence(pto=watcher.boundjid.bare, ptype="subscribed")
    await watcher.expect("presence_subscribed")


async def avatars(ana, julia, carl):
    hash = hashlib.sha1(IMAGE).hexdigest()
    data = ET.Element("{urn:xmpp:avatar:data}data")
    data.text = base64.b64encode(IMAGE).decode()
    info = ET.Element(f"{{{METADATA}}}metadata")
    ET.SubElement(info, f"{{{METADATA}}}info", id=hash, type="image/png", bytes=str(len(IMAGE)))
    await ana.publish("urn:xmpp:avatar:data", hash, data, {"access_model": "open"})
    await ana.publish(METADATA, hash, info, {"access_model": "open"})
    message, items = await julia.news(METADATA)
    assert message["from"] == ana.boundjid.bare and items[0].get("id") == hash, message
    await carl.silent()
    step("avatar seen by a contact and not by a stranger")
    await julia.expect("presence_available", lambda p: hash in str(p))
    step("hash of the avatar in presence")
    card = await carl["xep_0054"].get_vcard(ana.boundjid.bare)
    assert card["vcard_temp"]["PHOTO"]["BINVAL"] == IMAGE, card
    step("avatar in the vcard")
    other = IMAGE + b"x"
    card = ana["xep_0054"].make_vcard()
    card["FN"] = "Ana"
    card["PHOTO"]["TYPE"], card["PHOTO"]["BINVAL"] = "image/png", other
    await ana["xep_0054"].publish_vcard(card)
    _, items = await julia.news(METADATA)
    assert items[0].get("id") == hashlib.sha1(other).hexdigest()
    step("photo of a vcard is the avatar")


async def bookmarks(ana, phone, julia):
    conference = ET.fromstring(
        f"<conference xmlns='{BOOKMARKS}' name='Tea' autojoin='true'><nick>Ana</nick>"
        "<extensions><pinned xmlns='urn:xmpp:bookmarks-pinning:0'/>"
        "<notify xmlns='urn:xmpp:notification-settings:1'><never/></notify></extensions></conference>"
    )
    await ana.publish(BOOKMARKS, "tea@rooms.localhost", conference, PRIVATE)
    await phone.news(BOOKMARKS)
    await julia.silent()
    old = await private(ana, "get", "<storage xmlns='storage:bookmarks'/>")
    assert old[0].get("jid") == "tea@rooms.localhost" and old[0].get("name") == "Tea", ET.tostring(old)
    step("new bookmark read by an old client")
    await private(
        ana,
        "set",
        "<storage xmlns='storage:bookmarks'><conference jid='tea@rooms.localhost' name='Green tea' autojoin='1'>"
        "<nick>Ana</nick></conference><conference jid='song@rooms.localhost' name='Song'/></storage>",
    )
    _, items = await phone.news(BOOKMARKS)
    assert items[0].get("id") == "tea@rooms.localhost" and "pinned" in ET.tostring(items).decode()
    await phone.news(BOOKMARKS)
    kept = await phone.items(None, BOOKMARKS)
    assert sorted(kept) == ["song@rooms.localhost", "tea@rooms.localhost"], kept
    assert "notification-settings" in ET.tostring(kept["tea@rooms.localhost"]).decode()
    step("old bookmarks reach new clients, extensions kept")
    error = await refused("not-allowed", julia.items(ana.boundjid.bare, BOOKMARKS))
    assert "closed-node" in str(error), error
    step("private nodes closed to others")


async def private(client, kind, text):
    iq = client.make_iq(itype=kind)
    query = ET.Element("{jabber:iq:private}query")
    query.append(ET.fromstring(text))
    iq.append(query)
    result = await iq.send()
    found = result.xml.find("{jabber:iq:private}query")
    return found[0] if found is not None else None


async def displayed(ana, phone, julia):
    for id in ("1", "2"):
        mark = ET.fromstring(
            f"<displayed xmlns='{MDS}'><stanza-id xmlns='urn:xmpp:sid:0' by='ana@localhost' id='{id}'/></displayed>"
        )
        await ana.publish(MDS, "julia@localhost", mark, PRIVATE)
        _, items = await phone.news(MDS)
        assert items[0].get("id") == "julia@localhost"
    await julia.silent()
    step("displayed state told to own devices")
    error = await refused("conflict", ana.publish(MDS, "x", mark, {"access_model": "open"}))
    assert "precondition-not-met" in str(error), error
    step("conflict of options refused")


async def main():
    ana = await Person("ana@localhost/tablet").login()
    phone = await Person("ana@localhost/phone", [BOOKMARKS, MDS]).login()
    julia = await Person("julia@localhost/phone", [METADATA, BOOKMARKS, MDS]).login()
    carl = await Person("carl@localhost/phone", [METADATA]).login()
    await subscribe(julia, ana)
    info = await ana["xep_0030"].get_info("ana@localhost")
    assert PUBSUB + "#publish-options" in info["disco_info"]["features"], info
    assert any(i[:2] == ("pubsub", "pep") for i in info["disco_info"]["identities"]), info
    step("the account is a publish-subscribe service")
    await avatars(ana, julia, carl)
    await bookmarks(ana, phone, julia)
    await displayed(ana, phone, julia)
    later = await Person("julia@localhost/tablet", [METADATA]).login()
    message, _ = await later.news(METADATA)
    assert "urn:xmpp:delay" in str(message), message
    step("last item at the first presence")


asyncio.run(main())
