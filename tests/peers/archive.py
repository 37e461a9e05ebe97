"""Two people with three devices and one history (XEP-0313): paging, corrections, reactions, retraction, resending."""
import asyncio
from xml.etree import ElementTree as ET
from slixmpp.exceptions import IqError
from client import Client, step

MAM, SID, RSM = "urn:xmpp:mam:2", "urn:xmpp:sid:0", "http://jabber.org/protocol/rsm"
RETRACT = "urn:xmpp:message-retract:1"
DOMAIN = "localhost"


def ids(message):
    """Who gave a message its ids, and which."""
    return [(e.get("by"), e.get("id")) for e in message.findall(f"{{{SID}}}stanza-id")]


class Device(Client):
    """A client that asks its archive by hand, so that nothing is hidden."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.results, self.seen = [], []
        self.register_plugin("xep_0203")
        self.register_handler(slix_callback("mam", self.result))
        self.add_event_handler("message", lambda m: self.seen.append(m.xml))

    def result(self, message):
        result = message.xml.find(f"{{{MAM}}}result")
        if result is not None:
            assert message["from"].bare == self.asked, message
            self.results.append(result)

    async def archive(self, fields=(), max=None, page="", owner=None):
        """Bodies, ids, forwarded messages and whether that is all."""
        iq = self.make_iq_set(ito=owner)
        query = ET.SubElement(iq.xml, f"{{{MAM}}}query", {"queryid": "q"})
        form = ET.SubElement(query, "{jabber:x:data}x", {"type": "submit"})
        for var, value in [("FORM_TYPE", MAM), *fields]:
            field = ET.SubElement(form, "{jabber:x:data}field", {"var": var})
            for value in value if isinstance(value, list) else [value]:
                ET.SubElement(field, "{jabber:x:data}value").text = value
        rsm = ET.SubElement(query, f"{{{RSM}}}set")
        if max is not None:
            ET.SubElement(rsm, f"{{{RSM}}}max").text = str(max)
        if page:
            name, _, value = page.partition(" ")
            ET.SubElement(rsm, f"{{{RSM}}}{name}").text = value or None
        self.results, self.asked = [], owner or self.boundjid.bare
        answer = await iq.send(timeout=10)
        fin = answer.xml.find(f"{{{MAM}}}fin")
        messages = [r.find("{urn:xmpp:forward:0}forwarded/{jabber:client}message") for r in self.results]
        bodies = [m.findtext("{jabber:client}body") for m in messages]
        return bodies, [r.get("id") for r in self.results], messages, fin.get("complete") == "true"


def slix_callback(name, handler):
    from slixmpp.xmlstream.handler import Callback
    from slixmpp.xmlstream.matcher import MatchXPath

    return Callback(name, MatchXPath("{jabber:client}message/{%s}result" % MAM), handler)


def say(client, to, body, id, *payloads, kind="chat"):
    message = client.make_message(mto=to, mbody=body, mtype=kind)
    message["id"] = id
    for payload in payloads:
        message.xml.append(ET.fromstring(payload))
    message.send()


async def main():
    ana = await Device(f"ana@{DOMAIN}/tablet").login()
    desk = await Device(f"ana@{DOMAIN}/desk", direct=True).login()
    bob = await Device(f"bob@{DOMAIN}/phone").login()
    await desk.plugin["xep_0280"].enable()

    for n in range(30):
        who, to = (ana, bob) if n % 2 == 0 else (bob, ana)
        say(who, to.boundjid.bare, f"m{n}", f"id{n}")
        got = await to.expect("message", lambda m: m["body"] == f"m{n}")
        assert [by for by, _ in ids(got.xml)] == [to.boundjid.bare], got
    step("thirty messages, each with one id")
    copy = await desk.expect("carbon_sent", lambda m: m["carbon_sent"]["body"] == "m28")
    inner = copy.xml.find(".//{jabber:client}message")
    assert [by for by, _ in ids(inner)] == [f"ana@{DOMAIN}"], copy
    step("carbons have the sender's id")

    everything = [f"m{n}" for n in range(30)]
    bodies, known, complete, page = [], [], False, ""
    while not complete:
        got, more, _, complete = await ana.archive(max=8, page=page)
        bodies, known, page = bodies + got, known + more, f"after {more[-1]}"
    assert bodies == everything and len(set(known)) == 30, bodies
    assert ids(inner)[0][1] == known[28]
    step("pages forwards")
    back, complete, page = [], False, "before"
    while not complete:
        got, more, _, complete = await desk.archive(max=8, page=page)
        back, page = got + back, f"before {more[0]}"
    assert back == everything, back
    step("pages backwards")
    metadata = (await metadata_of(ana)).find(f"{{{MAM}}}end")
    assert metadata.get("id") == known[-1], ET.tostring(metadata)
    got, *_ = await ana.archive([("start", metadata.get("timestamp")), ("with", f"bob@{DOMAIN}")])
    assert got == ["m29"], got
    got, *_ = await ana.archive([("ids", [known[3], known[17]])])
    assert got == ["m3", "m17"], got
    step("a window of time")

    say(ana, f"bob@{DOMAIN}", "m28, corrected", "fix", "<replace xmlns='urn:xmpp:message-correct:0' id='id28'/>")
    await bob.expect("message", lambda m: m["body"] == "m28, corrected")
    got, *_ = await bob.archive(max=1, page="before")
    assert got == ["m28, corrected"], got
    step("a correction is a message")
    say(bob, f"ana@{DOMAIN}", None, "like", "<reactions xmlns='urn:xmpp:reactions:0' id='id28'><reaction>👍</reaction></reactions>", "<store xmlns='urn:xmpp:hints'/>")
    *_, messages, _ = await bob.archive(max=1, page="before")
    assert messages[0].find("{urn:xmpp:reactions:0}reactions") is not None
    step("a reaction is archived")

    retract = f"<retract xmlns='{RETRACT}' id='id4'/>"
    say(bob, f"ana@{DOMAIN}", "not mine", "r0", retract)
    await ana.expect("message", lambda m: m["body"] == "not mine")
    got, *_ = await ana.archive([("ids", [known[4]])])
    assert got == ["m4"], got
    say(ana, f"bob@{DOMAIN}", "I took something back", "r1", retract, "<fallback xmlns='urn:xmpp:fallback:0' for='%s'/>" % RETRACT)
    await bob.expect("message", lambda m: m["body"] == "I took something back")
    for device in (ana, bob):
        got, _, messages, _ = await device.archive(max=5)
        tombstone = messages[4].find(f"{{{RETRACT}}}retracted")
        assert got[4] is None and tombstone.get("id") == "r1" and messages[4].get("id") == "id4", got
    step("a retracted message is a tombstone in both archives")

    origin = f"<origin-id xmlns='{SID}' id='once'/>"
    for _ in range(3):
        say(ana, f"bob@{DOMAIN}", "once", "once", origin)
    say(ana, f"bob@{DOMAIN}", "and then", "then")
    await bob.expect("message", lambda m: m["body"] == "and then")
    assert sum(m.findtext("{jabber:client}body") == "once" for m in bob.seen) == 1
    got, *_ = await bob.archive(max=2, page="before")
    assert got == ["once", "and then"], got
    step("a resend is the same message")

    for hint in ("no-store", "no-permanent-store"):
        say(ana, f"bob@{DOMAIN}", hint, hint, f"<{hint} xmlns='urn:xmpp:hints'/>")
        got = await bob.expect("message", lambda m: m["body"] == hint)
        assert not ids(got.xml), got
    got, *_ = await bob.archive(max=1, page="before")
    assert got == ["and then"], got
    step("hints are followed")
    prefs = ana.make_iq_set()
    prefs.append(ET.fromstring(f"<prefs xmlns='{MAM}' default='always'><always/><never><jid>bob@{DOMAIN}</jid></never></prefs>"))
    await prefs.send(timeout=10)
    say(ana, f"bob@{DOMAIN}", "only for his archive", "p")
    await bob.expect("message", lambda m: m["body"] == "only for his archive")
    assert (await ana.archive(max=1, page="before"))[0] == ["and then"]
    assert (await bob.archive(max=1, page="before"))[0] == ["only for his archive"]
    step("wishes are followed")
    try:
        await bob.archive(owner=f"ana@{DOMAIN}")
        raise AssertionError("an archive was given away")
    except IqError as error:
        assert error.condition == "forbidden", error
    step("somebody else's archive is closed")

    await bob.disconnect()
    await bob.gone
    say(ana, f"bob@{DOMAIN}", "while you were away", "away", "<store xmlns='urn:xmpp:hints'/>")
    await asyncio.sleep(0)
    await metadata_of(ana)
    again = Device(f"bob@{DOMAIN}/again")
    await again.login()
    got = await again.expect("message", lambda m: m["body"] == "while you were away")
    assert [by for by, _ in ids(got.xml)] == [f"bob@{DOMAIN}"] and got["delay"]["stamp"] is not None, got
    kept, more, *_ = await again.archive(max=1, page="before")
    assert kept == ["while you were away"] and more == [ids(got.xml)[0][1]], kept
    step("who was away reads it once")
    for client in (ana, desk, again):
        await client.disconnect()


async def metadata_of(client):
    iq = client.make_iq_get()
    iq.append(ET.Element(f"{{{MAM}}}metadata"))
    return (await iq.send(timeout=10)).xml.find(f"{{{MAM}}}metadata")


if __name__ == "__main__":
    asyncio.run(main())
