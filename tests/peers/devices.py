"""A tablet writes to two devices of one person, with slixmpp's own plugins: what is changed is changed on both."""
import asyncio
from client import Client, step

ANA, JULIA = "ana@localhost", "julia@localhost"
PLUGINS = ("0059", "0191", "0308", "0313", "0333", "0359", "0377", "0424", "0444", "0461")


class Device(Client):
    def __init__(self, jid, **options):
        super().__init__(jid, **options)
        for number in PLUGINS:
            self.register_plugin("xep_" + number)
        self.blocks = asyncio.Queue()
        self.add_event_handler("blocked", self.blocks.put_nowait)
        self.add_event_handler("unblocked", self.blocks.put_nowait)
        for event in ("message_correction", "message_retract", "reactions", "message_reply", "marker_displayed"):
            self.add_event_handler(event, lambda m, e=event: self.messages.put_nowait((e, m)))

    async def history(self, **query):
        return [m["mam_result"]["forwarded"]["stanza"] async for m in self["xep_0313"].iterate(**query)]

    async def ask(self):
        """Its answer says that what was sent before was taken."""
        await self["xep_0199"].ping("localhost", timeout=10)


async def both(phone, laptop, event, test):
    """The event on the phone, and the same message as a carbon on the laptop."""
    message = await phone.expect(event, test)
    copy = await laptop.expect("carbon_received", lambda m: test(m["carbon_received"]))
    assert copy["from"].bare == JULIA and copy["carbon_received"]["id"] == message["id"], copy
    return message


async def changes(ana, phone, laptop):
    said = ana.make_message(mto=f"{JULIA}/phone", mbody="see you at foru", mtype="chat")
    said["id"] = "said"
    said.send()
    await both(phone, laptop, "message", lambda m: m["id"] == "said")
    ana["xep_0308"].correct_message(said, "see you at four")
    await both(phone, laptop, "message_correction", lambda m: m["replace"]["id"] == "said" and m["body"] == "see you at four")
    step("a correction on both devices")

    laptop["xep_0444"].send_reactions(ANA, "said", ["👍", "🎂"])
    got = await ana.expect("reactions", lambda m: m["reactions"]["id"] == "said")
    assert got["reactions"]["values"] == {"👍", "🎂"}, got
    await phone.expect("carbon_sent", lambda m: m["carbon_sent"]["reactions"]["id"] == "said")
    laptop["xep_0444"].send_reactions(ANA, "said", [])
    got = await ana.expect("reactions", lambda m: m["reactions"]["id"] == "said")
    assert got["reactions"]["values"] == set(), got
    await phone.expect("carbon_sent", lambda m: m["carbon_sent"]["reactions"]["id"] == "said")
    step("a reaction comes and goes")

    phone["xep_0461"].send_reply(f"{ANA}/tablet", "said", "see you at four", mto=ANA, mbody="I bring cake", mtype="chat")
    got = await ana.expect("message_reply", lambda m: m["reply"]["id"] == "said")
    assert got["reply"]["to"] == f"{ANA}/tablet" and got["reply"].strip_fallback_content() == "I bring cake", got
    await laptop.expect("carbon_sent", lambda m: m["carbon_sent"]["reply"]["id"] == "said")
    step("a reply names what it answers")

    phone["xep_0333"].send_marker(ANA, "said", "displayed", mtype="chat")
    await ana.expect("marker_displayed", lambda m: m["displayed"]["id"] == "said")
    await laptop.expect("carbon_sent", lambda m: m["carbon_sent"]["displayed"]["id"] == "said")
    step("what one device has shown the other knows")

    ana["xep_0424"].send_retraction(f"{JULIA}/phone", "said")
    await both(phone, laptop, "message_retract", lambda m: m["retract"]["id"] == "said")
    await ana.ask()
    for device in (ana, phone, laptop):
        kept = await device.history(rsm={"max": 2})
        assert "see you at foru" not in str(kept) and "I bring cake" in str(kept), kept
        tombstones = [m for m in kept if m.xml.find("{urn:xmpp:message-retract:1}retracted") is not None]
        assert [m["id"] for m in tombstones] == ["said"], [str(m) for m in kept]
    step("what was taken back is gone from every device's history")


async def blocks(ana, phone, laptop):
    await phone["xep_0377"].report([ANA], reason="abuse", timeout=10)
    for device in (phone, laptop):
        await asyncio.wait_for(device.blocks.get(), 10)
    assert {str(j) for j in await laptop["xep_0191"].get_blocked_jids(timeout=10)} == {ANA}
    ana.send_message(mto=JULIA, mbody="listen", mtype="chat")
    error = await ana.expect("message_error", lambda m: m["body"] in ("listen", ""))
    assert error["error"]["condition"] == "service-unavailable", error
    step("blocked and reported on one device, blocked on both")
    await laptop["xep_0191"].unblock([ANA], timeout=10)
    for device in (phone, laptop):
        await asyncio.wait_for(device.blocks.get(), 10)
    ana.send_message(mto=JULIA, mbody="sorry", mtype="chat")
    for device in (phone, laptop):
        await device.expect("message", lambda m: m["body"] == "sorry")
    assert not [m for m in await phone.history(rsm={"max": 5}) if m["body"] == "listen"]
    step("unblocked on the other, and what was refused is nowhere")


async def main():
    ana = await Device(f"{ANA}/tablet").login()
    phone = await Device(f"{JULIA}/phone").login()
    laptop = await Device(f"{JULIA}/laptop", direct=True).login()
    for device in (phone, laptop):
        await device["xep_0280"].enable()
        await device["xep_0191"].get_blocked(timeout=10)
    await changes(ana, phone, laptop)
    await blocks(ana, phone, laptop)


asyncio.run(main())
