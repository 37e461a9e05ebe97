"""A circle of three people and four devices in one room (XEP-0045), with slixmpp's own plugins."""
import asyncio, sys
from slixmpp import JID
from slixmpp.exceptions import IqError, PresenceError
from client import Client, step

DOMAIN = "localhost"
ROOM = JID(f"tea@rooms.{DOMAIN}")
USER = "{http://jabber.org/protocol/muc#user}"


class Guest(Client):
    def __init__(self, name, resource="x"):
        super().__init__(f"{name}@{DOMAIN}/{resource}", "secret-" + name)
        for plugin in ("xep_0045", "xep_0249", "xep_0313", "xep_0421", "xep_0425", "xep_0424", "xep_0359", "xep_0410", "xep_0054"):
            self.register_plugin(plugin)
        self.muc = self["xep_0045"]
        self.heard, self.seen, self.invited = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()
        self.add_event_handler("groupchat_message", self.heard.put_nowait)
        self.add_event_handler("groupchat_subject", self.heard.put_nowait)
        self.add_event_handler("moderated_message", self.heard.put_nowait)
        self.add_event_handler("groupchat_presence", self.seen.put_nowait)
        self.add_event_handler("groupchat_invite", self.invited.put_nowait)
        self.add_event_handler("groupchat_direct_invite", self.invited.put_nowait)

    async def enter(self, nick, **wishes):
        try:
            own, subject, occupants, history = await self.muc.join_muc_wait(ROOM, nick, timeout=10, **wishes)
        except PresenceError:
            # Else the plugin believes to be inside, and hides invitations.
            self.muc.rooms[None].pop(ROOM, None)
            raise
        return own, subject, [p for p in occupants if p["from"] != own["from"]], history

    async def hears(self, test):
        return await self.until(self.heard, test)

    async def sees(self, nick, code=None, kind=None):
        def fits(p):
            codes = [s.get("code") for s in p.xml.iter(USER + "status")]
            return p["from"].resource == nick and (code is None or str(code) in codes) and (kind is None or p["type"] == kind)

        return await self.until(self.seen, fits)

    async def until(self, queue, test):
        async def look():
            while True:
                got = await queue.get()
                if test(got):
                    return got

        return await asyncio.wait_for(look(), 10)

    def talk(self, body):
        self.send_message(mto=ROOM, mbody=body, mtype="groupchat")


def body(text):
    return lambda m: m["body"] == text


async def refused(call, *conditions):
    try:
        await call
    except (IqError, PresenceError) as error:
        stanza = getattr(error, "iq", None) or getattr(error, "presence")
        assert stanza["error"]["condition"] in conditions, stanza
        return
    raise AssertionError("it should have been refused")


async def makes_a_circle(ana, bob, phone, carl):
    items = await ana["xep_0030"].get_items(DOMAIN, timeout=10)
    assert str(ROOM.domain) in [str(i[0]) for i in items["disco_items"]["items"]], items
    own, subject, others, history = await ana.enter("Ana")
    codes = [s.get("code") for s in own.xml.iter(USER + "status")]
    assert {"110", "201"} <= set(codes) and not others and not history, own
    await refused(bob.enter("Bob"), "item-not-found")
    form = await ana.muc.get_room_config(ROOM, timeout=10)
    values = form.get_values()
    assert values["muc#roomconfig_membersonly"] and values["muc#roomconfig_persistentroom"], values
    assert not values["muc#roomconfig_publicroom"] and values["muc#roomconfig_maxusers"] == "10", values
    form["values"] = {**values, "muc#roomconfig_roomname": "Tea circle"}
    await ana.muc.set_room_config(ROOM, form, timeout=10)
    info = await bob["xep_0030"].get_info(ROOM, timeout=10)
    assert "muc_membersonly" in info["disco_info"]["features"] and "urn:xmpp:mam:2" in info["disco_info"]["features"]
    step("created, locked, configured")

    await refused(bob.enter("Bob"), "registration-required")
    ana.muc.invite(ROOM, f"bob@{DOMAIN}", reason="Tea?")
    await bob.until(bob.invited, lambda m: m["from"] == ROOM)
    _, _, others, _ = await bob.enter("Bob")
    assert [p["from"].resource for p in others] == ["Ana"], others
    bob.muc.invite(ROOM, f"carl@{DOMAIN}")
    await carl.until(carl.invited, lambda m: m["from"] == ROOM)
    step("a member invites, the invited becomes a member")


async def talks(ana, bob, phone, carl):
    await phone.enter("Bob")
    for text in ("one", "two"):
        ana.talk(text)
    for guest in (ana, bob, phone):
        message = await guest.hears(body("two"))
        ids = [e.get("by") for e in message.xml.iter("{urn:xmpp:sid:0}stanza-id")]
        assert ids == [ROOM.bare] and message["occupant-id"]["id"], message
    step("two devices of one name hear everything")
    _, _, others, history = await carl.enter("Carl")
    assert sorted(p["from"].resource for p in others) == ["Ana", "Bob"], others
    assert [m["body"] for m in history] == ["one", "two"], history
    carl.muc.leave_muc(ROOM, "Carl")
    await ana.sees("Carl", kind="unavailable")
    _, _, _, history = await carl.enter("Carl", maxstanzas=1)
    assert [m["body"] for m in history] == ["two"], history
    step("history as it is wished for")
    ana.send_message(mto=f"{ROOM}/Bob", mbody="psst", mtype="chat")
    for device in (bob, phone):
        await device.expect("message", lambda m: m["from"] == f"{ROOM}/Ana" and m["body"] == "psst")
    step("a whisper reaches both devices")
    bob.muc.set_subject(ROOM, "Cake")
    await carl.hears(lambda m: m["subject"] == "Cake" and not m["body"])
    step("subject")
    new = await carl.muc.set_self_nick(ROOM, "Charles", timeout=10)
    assert new == "Charles"
    await ana.sees("Carl", code=303, kind="unavailable")
    await ana.sees("Charles")
    step("a new name")
    await ana["xep_0199"].ping(jid=f"{ROOM}/Ana", timeout=10)
    await refused(ana["xep_0199"].send_ping(jid=f"{ROOM}/Nobody", timeout=10), "item-not-found")
    step("self-ping")


async def keeps_order(ana, bob, phone, carl):
    carl.talk("rude")
    rude = await ana.hears(body("rude"))
    id = rude.xml.find("{urn:xmpp:sid:0}stanza-id").get("id")
    await refused(bob["xep_0425"].moderate(ROOM, id), "forbidden")
    await ana["xep_0425"].moderate(ROOM, id, reason="Manners")
    await bob.hears(lambda m: m.xml.find("{urn:xmpp:message-retract:1}retract") is not None)
    step("a moderator takes a message back")
    await ana.muc.set_role(ROOM, "Charles", "none", reason="Out", timeout=10)
    await carl.sees("Charles", code=307, kind="unavailable")
    await bob.sees("Charles", code=307, kind="unavailable")
    await carl.enter("Carl")
    await ana.muc.set_affiliation(ROOM, "outcast", jid=f"carl@{DOMAIN}", timeout=10)
    await carl.sees("Carl", code=301, kind="unavailable")
    await refused(carl.enter("Carl"), "forbidden")
    step("kicked and banned")
    bodies = []
    async for message in bob["xep_0313"].iterate(jid=ROOM, rsm={"max": 2}):
        forwarded = message["mam_result"]["forwarded"]["stanza"]
        bodies.append(forwarded["body"] or ("subject" if forwarded["subject"] else "-"))
    assert bodies == ["one", "two", "subject", "-", "-"], bodies
    try:
        await carl["xep_0313"].retrieve(jid=ROOM, timeout=10)
        raise AssertionError("the banned may not read")
    except IqError as error:
        assert error.condition == "forbidden", error.iq
    step("the archive, without what was taken back")


async def races(ana, guests):
    form = await ana.muc.get_room_config(ROOM, timeout=10)
    form["values"] = {**form.get_values(), "muc#roomconfig_membersonly": False}
    await ana.muc.set_room_config(ROOM, form, timeout=10)
    tried = await asyncio.gather(*(g.enter(f"G{n}") for n, g in enumerate(guests)), return_exceptions=True)
    outside = [t for t in tried if isinstance(t, PresenceError)]
    assert len(tried) - len(outside) == 10 - 2, "Ana and Bob have two of the ten places"
    assert all(t.presence["error"]["condition"] == "service-unavailable" for t in outside), outside
    step("a race for the places leaves ten people inside")
    # They go without a word, and leave no ghost.
    for guest in guests:
        guest.abort()
    for n, result in enumerate(tried):
        if not isinstance(result, PresenceError):
            pass
    info = None
    for _ in range(100):
        info = await ana["xep_0030"].get_info(ROOM, timeout=10)
        form = info.xml.find(".//{jabber:x:data}field[@var='muc#roominfo_occupants']/{jabber:x:data}value")
        if form.text == "2":
            break
        await asyncio.sleep(0.1)
    assert form.text == "2", form.text
    step("no ghosts")


async def ends(ana, bob, phone):
    await ana.muc.destroy(ROOM, reason="Done", timeout=10)
    gone = await bob.until(bob.seen, lambda p: p.xml.find(f".//{USER}destroy") is not None)
    assert gone["type"] == "unavailable" and gone.xml.find(f".//{USER}reason").text == "Done", gone
    step("destroyed")


async def main():
    if sys.argv[1:] == ["back"]:
        bob = await Guest("bob").login()
        _, subject, _, history = await bob.enter("Bob")
        assert subject["subject"] == "Cake" and [m["body"] for m in history] == ["one", "two"], (subject, history)
        step("back after a crash")
        ana = await Guest("ana").login()
        await ana.enter("Ana")
        guests = [await Guest(f"g{n}").login() for n in range(12)]
        await races(ana, guests)
        await ends(ana, bob, None)
        return
    ana, bob, carl = [await Guest(name).login() for name in ("ana", "bob", "carl")]
    phone = await Guest("bob", "phone").login()
    people = (ana, bob, phone, carl)
    await makes_a_circle(*people)
    await talks(*people)
    await keeps_order(*people)


asyncio.run(main())
