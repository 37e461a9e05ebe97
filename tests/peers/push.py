"""Push (XEP-0357) with a component as the app server: what a user misses who is away, calls first, and the end of it."""
import asyncio, os
import slixmpp
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath
from client import Client, step

HOST, SECRET = "push.localhost", "between us"
NS, PUBSUB, DATA = "urn:xmpp:push:0", "http://jabber.org/protocol/pubsub", "jabber:x:data"
OPTIONS = PUBSUB + "#publish-options"


class AppServer(slixmpp.ComponentXMPP):
    """Keeps what it is told, and answers as it is told."""

    def __init__(self):
        super().__init__(HOST, SECRET, "127.0.0.1", int(os.environ["COMPONENTS_PORT"]))
        self.up = asyncio.get_event_loop().create_future()
        self.told, self.condition = asyncio.Queue(), None
        self.add_event_handler("session_start", lambda e: self.up.done() or self.up.set_result(True))
        self.add_event_handler("message", lambda m: self.told.put_nowait(m))
        self.register_handler(Callback("publish", StanzaPath("iq@type=set"), self.publish))

    def publish(self, iq):
        self.told.put_nowait(iq)
        reply = iq.reply()
        if self.condition:
            reply = iq.reply(clear=True)
            reply["type"] = "error"
            reply["error"]["condition"] = self.condition
        reply.send()

    async def next(self):
        return await asyncio.wait_for(self.told.get(), 10)

    async def notification(self):
        """The next thing it is told, as node, fields, options and priority."""
        iq = await self.next()
        assert iq["from"] == "localhost" and iq["type"] == "set", iq
        publish = iq.xml.find(f"{{{PUBSUB}}}pubsub/{{{PUBSUB}}}publish")
        note = publish.find(f"{{{PUBSUB}}}item/{{{NS}}}notification")
        fields = lambda form: {f.get("var"): f.find(f"{{{DATA}}}value").text for f in form.iter(f"{{{DATA}}}field")}
        options = iq.xml.find(f"{{{PUBSUB}}}pubsub/{{{PUBSUB}}}publish-options")
        return publish.get("node"), fields(note), fields(options), note.find("{tigase:push:priority:0}priority")


def enable(client):
    iq = client.make_iq_set()
    element = ET.SubElement(iq.xml, f"{{{NS}}}enable", {"jid": HOST, "node": "n1"})
    form = ET.SubElement(element, f"{{{DATA}}}x", {"type": "submit"})
    for var, value in (("FORM_TYPE", OPTIONS), ("secret", "s1")):
        field = ET.SubElement(form, f"{{{DATA}}}field", {"var": var})
        ET.SubElement(field, f"{{{DATA}}}value").text = value
    return iq


async def main():
    server = AppServer()
    server.connect()
    await asyncio.wait_for(server.up, 10)
    julia = await Client("julia@localhost/laptop").login()
    ana = await Client("ana@localhost/phone").login()
    info = await ana.plugin["xep_0030"].get_info(jid="ana@localhost")
    assert NS in info["disco_info"]["features"], info
    await enable(ana).send(timeout=10)
    step("enabled")
    julia.send_message(mto="ana@localhost", mbody="while she looks", mtype="chat")
    await ana.expect("message", lambda m: m["body"] == "while she looks")
    await ana.disconnect()
    # What comes over the same stream later is later here too.
    julia.send_message(mto=f"mark@{HOST}", mbody="mark", mtype="chat")
    assert (await server.next())["body"] == "mark"
    step("not told while she looks")

    julia.send_message(mto="ana@localhost", mbody="secret words", mtype="chat")
    node, fields, options, priority = await server.notification()
    assert node == "n1" and options == {"FORM_TYPE": OPTIONS, "secret": "s1"}, (node, options)
    assert fields["FORM_TYPE"] == "urn:xmpp:push:summary" and fields["message-count"] == "1", fields
    assert fields["last-message-sender"].startswith("julia@localhost") and "secret" not in str(fields), fields
    assert priority is None
    step("told of a message, without its words")

    call = julia.make_message(mto="ana@localhost", mtype="chat")
    propose = ET.SubElement(call.xml, "{urn:xmpp:jingle-message:0}propose", {"id": "c1"})
    ET.SubElement(propose, "{urn:xmpp:jingle:apps:rtp:1}description", {"media": "audio"})
    ET.SubElement(call.xml, "{urn:xmpp:hints}store")
    call.send()
    _, fields, _, priority = await server.notification()
    assert priority is not None and priority.text == "high", fields
    step("a call is urgent")
    gone = julia.make_message(mto="ana@localhost", mtype="chat")
    ET.SubElement(gone.xml, "{urn:xmpp:jingle-message:0}retract", {"id": "c1"})
    ET.SubElement(gone.xml, "{urn:xmpp:hints}store")
    gone.send()
    await server.notification()
    # A phone that wakes up late asks the archive.
    ana = Client("ana@localhost/phone")
    ana.register_plugin("xep_0313")
    await ana.login()
    seen = []
    async for message in ana.plugin["xep_0313"].iterate(rsm={"max": 50}):
        seen.append(str(message["mam_result"]["forwarded"]["stanza"]))
    calls = [s for s in seen if "jingle-message" in s]
    assert len(calls) == 2 and "<propose" in calls[0] and "<retract" in calls[1], seen
    step("a missed call is in the archive")
    await ana.disconnect()

    server.condition = "item-not-found"
    julia.send_message(mto="ana@localhost", mbody="one", mtype="chat")
    await server.notification()
    # The refusal has been read when something behind it has.
    server.send_message(mto="julia@localhost/laptop", mfrom=f"x@{HOST}", mbody="behind it", mtype="chat")
    await julia.expect("message", lambda m: m["body"] == "behind it")
    julia.send_message(mto="ana@localhost", mbody="two", mtype="chat")
    julia.send_message(mto=f"mark@{HOST}", mbody="mark", mtype="chat")
    assert (await server.next())["body"] == "mark"
    step("a node that is gone is not told again")


asyncio.run(main())
