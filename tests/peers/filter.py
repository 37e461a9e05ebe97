"""A content filter (XEP-0114) that is shown a domain's chats and its rooms. Its verdicts take messages back (XEP-0425) and
file reports; then its process is stopped, and nobody who talks feels it."""
import asyncio, os, signal, sys, time
import slixmpp
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath
from archive import RETRACT, Device
from client import step

HOST, SECRET, ROOM = "filter.localhost", "between us", "tea@rooms.localhost"
NS, MODERATE = "urn:tandem:filter:0", "urn:xmpp:message-moderate:1"
LONG = "long talk " * 2000
CHATS, TALKS = 400, 200
# A server that waits for a filter waits until it gives the connection up, half a minute.
AT_ONCE = 5


class Filter(slixmpp.ComponentXMPP):
    """Tells of what it is shown in a line, and takes back what is bad."""

    def __init__(self):
        super().__init__(HOST, SECRET, "127.0.0.1", int(os.environ["COMPONENTS_PORT"]))
        self.add_event_handler("session_start", lambda e: print("up", flush=True))
        copy = MatchXPath("{jabber:component:accept}message/{%s}copy" % NS)
        self.register_handler(Callback("copy", copy, lambda m: asyncio.ensure_future(self.judge(m.xml))))

    async def judge(self, message):
        copy, body = message.find(f"{{{NS}}}copy"), next(e.text for e in message.iter() if e.tag.endswith("}body"))
        print(f"shown {copy.get('by')}", flush=True)
        if "bad" in body:
            verdict = self.make_iq_set(ito="localhost", ifrom=HOST)
            attributes = {"by": copy.get("by"), "id": copy.get("id"), "action": "report" if "only" in body else "retract"}
            element = ET.Element(f"{{{NS}}}verdict", attributes)
            element.text = "rude"
            verdict.append(element)
            answer = await verdict.send(timeout=20)
            print(f"judged {answer['type']}", flush=True)


class Watched:
    """The process of the filter."""

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(sys.executable, "-W", "ignore", __file__, "filter", stdout=asyncio.subprocess.PIPE)
        self.shown, self.lines = 0, asyncio.Queue()
        self.reader = asyncio.ensure_future(self.read())
        await self.says("up")
        return self

    async def read(self):
        while line := await self.process.stdout.readline():
            line = line.decode().strip()
            self.shown += line.startswith("shown")
            self.lines.put_nowait(line)

    async def says(self, expected):
        async def look():
            while (line := await self.lines.get()) != expected:
                pass

        await asyncio.wait_for(look(), 20)


class Guest(Device):
    def __init__(self, name):
        super().__init__(f"{name}@localhost/x")
        self.said, self.chats = asyncio.Queue(), asyncio.Queue()
        self.register_plugin("xep_0045")
        self.add_event_handler("message", lambda m: m["type"] == "chat" and self.chats.put_nowait(m["body"]))
        self.add_event_handler("groupchat_message", lambda m: self.said.put_nowait(m.xml))
        retract = MatchXPath("{jabber:client}message/{%s}retract" % RETRACT)
        self.register_handler(Callback("retract", retract, lambda m: self.said.put_nowait(m.xml)))

    async def hears(self, test):
        async def look():
            while not test(message := await self.said.get()):
                pass
            return message

        return await asyncio.wait_for(look(), 10)


def body(text):
    return lambda message: message.findtext("{jabber:client}body") == text


async def enter(ana, julia):
    await ana.plugin["xep_0045"].join_muc_wait(ROOM, "Ana", timeout=10)
    form = ana.make_iq_set(ito=ROOM)
    query = ET.SubElement(form.xml, "{http://jabber.org/protocol/muc#owner}query")
    data = ET.SubElement(query, "{jabber:x:data}x", {"type": "submit"})
    field = ET.SubElement(data, "{jabber:x:data}field", {"var": "muc#roomconfig_membersonly"})
    ET.SubElement(field, "{jabber:x:data}value").text = "0"
    await form.send(timeout=10)
    await julia.plugin["xep_0045"].join_muc_wait(ROOM, "Julia", timeout=10)


async def takes_back(ana, julia, watched):
    ana.send_message(mto="julia@localhost", mbody="bad words", mtype="chat")
    await julia.expect("message", lambda m: m["body"] == "bad words")
    await watched.says("shown julia@localhost")
    await watched.says("judged result")
    bodies, _, kept, _ = await julia.archive()
    moderated = kept[0].find(f"{{{RETRACT}}}retracted/{{{MODERATE}}}moderated")
    assert bodies == [None] and moderated is not None and moderated.get("by") == "localhost", ET.tostring(kept[0])
    step("a verdict leaves a tombstone in an archive")
    ana.send_message(mto=ROOM, mbody="bad words for all", mtype="groupchat")
    said = await julia.hears(body("bad words for all"))
    id = said.find("{urn:xmpp:sid:0}stanza-id").get("id")
    await watched.says(f"shown {ROOM}")
    told = await julia.hears(lambda m: m.find(f"{{{RETRACT}}}retract") is not None)
    retract = told.find(f"{{{RETRACT}}}retract")
    assert told.get("from") == ROOM and retract.get("id") == id, ET.tostring(told)
    assert retract.find(f"{{{MODERATE}}}moderated") is not None, ET.tostring(told)
    await watched.says("judged result")
    assert "bad words for all" not in (await ana.archive(owner=ROOM))[0]
    step("a verdict takes back what was said in a room")
    ana.send_message(mto="julia@localhost", mbody="only somewhat bad", mtype="chat")
    await julia.expect("message", lambda m: m["body"] == "only somewhat bad")
    await watched.says("judged result")
    ana.send_message(mto="julia@localhost", mbody="nice words", mtype="chat")
    await julia.expect("message", lambda m: m["body"] == "nice words")
    await watched.says("shown julia@localhost")
    assert (await julia.archive())[0] == [None, "only somewhat bad", "nice words"]
    step("what is only reported, or nice, stays")


async def nobody_waits(ana, julia):
    worst, julia.chats = 0, asyncio.Queue()
    for n in range(CHATS + TALKS):
        text, begun = f"{n} {LONG}", time.monotonic()
        if n < CHATS:
            ana.send_message(mto="julia@localhost", mbody=text, mtype="chat")
            got = await asyncio.wait_for(julia.chats.get(), 40)
            assert got == text, f"{got[:10]} instead of {n}"
        else:
            julia.send_message(mto=ROOM, mbody=text, mtype="groupchat")
            await ana.hears(body(text))
        worst = max(worst, time.monotonic() - begun)
    assert worst < AT_ONCE, f"somebody waited for {worst} s"
    step("nobody waits for a filter that is stopped")
    kept = 0
    for owner, count in (None, CHATS), (ROOM, TALKS):
        page, more = "", True
        numbers = []
        while more:
            bodies, ids, _, complete = await julia.archive(owner=owner, page=page)
            numbers += [int(b.split()[0]) for b in bodies if b and b.endswith(LONG)]
            page, more = f"after {ids[-1]}", not complete
        assert numbers == list(range(kept, kept + count)), numbers
        kept += count
    step("nothing is lost")


async def main():
    ana, julia = Guest("ana"), Guest("julia")
    await ana.login(), await julia.login()
    watched = await Watched().start()
    try:
        await enter(ana, julia)
        await takes_back(ana, julia, watched)
        before = watched.shown
        watched.process.send_signal(signal.SIGSTOP)
        await nobody_waits(ana, julia)
        watched.process.send_signal(signal.SIGCONT)
        copies = CHATS + TALKS
        while True:
            # What waited for it is read, then there is room again.
            ana.send_message(mto=ROOM, mbody="bad again", mtype="groupchat")
            copies += 1
            try:
                await watched.says("judged result")
                break
            except asyncio.TimeoutError:
                pass
        step("a filter that wakes up does its work again")
        step(f"copies {copies} shown {watched.shown - before}")
    finally:
        watched.process.kill()


if sys.argv[1:] == ["filter"]:
    component = Filter()
    component.connect()
    asyncio.get_event_loop().run_forever()
else:
    asyncio.get_event_loop().run_until_complete(asyncio.wait_for(main(), 100))
