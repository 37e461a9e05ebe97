"""A web client of stanza.js and its user's telephone and friend with slixmpp: webclient.py stanza.mjs | chromium.mjs."""
import asyncio, json, os, sys
from client import Client, step

ANA, JULIA, ROOM = "ana@localhost", "julia@localhost", "tea@rooms.localhost"


class Web:
    """A driver of lines of JSON (client.mjs)."""

    async def start(self, script):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), script)
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec("node", path, stdin=pipe, stdout=pipe, limit=1 << 20)
        self.waiting = []
        return self

    async def tell(self, cmd, **rest):
        self.process.stdin.write((json.dumps({"cmd": cmd, **rest}) + "\n").encode())
        done = await self.want(lambda e: e["event"] in ("done", "error") and e.get("cmd") == cmd)
        assert done["event"] == "done", done

    async def ask(self, cmd, event=None, **rest):
        await self.tell(cmd, **rest)
        return await self.want(lambda e: e["event"] == (event or cmd))

    async def hear(self, event, **fields):
        return await self.want(lambda e: e["event"] == event and all(e.get(k) == v for k, v in fields.items()))

    async def want(self, test):
        async def look():
            for n, event in enumerate(self.waiting):
                if test(event):
                    return self.waiting.pop(n)
            while line := await self.process.stdout.readline():
                event = json.loads(line)
                if test(event):
                    return event
                self.waiting.append(event)
            raise AssertionError(f"the driver has ended: {self.waiting}")

        try:
            return await asyncio.wait_for(look(), 20)
        except asyncio.TimeoutError:
            raise AssertionError(f"it did not come; came: {self.waiting}") from None

    async def end(self):
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), 20)


async def contacts(web, ana):
    await web.tell("contact", jid=ANA, name="Ana", groups=["family"])
    await web.tell("presence", type="subscribe", to=ANA)
    await ana.expect("presence_subscribe")
    ana.send_presence(pto=JULIA, ptype="subscribed")
    await web.hear("presence", type="subscribed", **{"from": ANA})
    await web.hear("presence", type="available", **{"from": f"{ANA}/tablet"})
    known = (await web.ask("roster"))["contacts"]
    assert known == [{"jid": ANA, "name": "Ana", "groups": ["family"], "subscription": "to"}], known
    step("a contact in the roster, and her presence")


async def chats(web, ana, phone):
    await web.tell("message", to=ANA, body="hello from the web", id="w1")
    await ana.expect("message", lambda m: m["body"] == "hello from the web")
    await web.hear("receipt", id="w1")
    ana.send_message(mto=JULIA, mbody="hello to the web", mtype="chat")
    for got in (web.hear("message", body="hello to the web"), phone.expect("message", lambda m: m["body"] == "hello to the web")):
        await got
    step("a chat both ways, with a receipt")
    await phone.expect("carbon_sent", lambda m: m["carbon_sent"]["body"] == "hello from the web")
    await web.tell("carbons")
    phone.send_message(mto=ANA, mbody="from my phone", mtype="chat")
    await web.hear("carbon", type="sent", to=ANA, body="from my phone")
    ana.send_message(mto=f"{JULIA}/phone", mbody="to your phone", mtype="chat")
    await web.hear("carbon", type="received", body="to your phone")
    step("carbons both ways")
    for n in range(20):
        ana.send_message(mto=JULIA, mbody=f"note {n}", mtype="chat")
    await web.hear("message", body="note 19")
    said = ["hello from the web", "hello to the web", "from my phone", "to your phone", *(f"note {n}" for n in range(20))]
    forwards, page = [], {"complete": False, "last": None}
    while not page["complete"]:
        page = await web.ask("history", max=7, **{"with": ANA}, **({"after": page["last"]} if page["last"] else {}))
        forwards += page["bodies"]
    assert forwards == said, forwards
    backwards, page = [], {"complete": False, "first": ""}
    while not page["complete"]:
        page = await web.ask("history", max=7, before=page["first"])
        backwards = page["bodies"] + backwards
    assert [b for b in backwards if b] == said, backwards
    step("the archive in pages, forwards and backwards")


async def meets(web, ana, phone):
    muc = ana["xep_0045"]
    await muc.join_muc_wait(ROOM, "Ana", timeout=10)
    form = await muc.get_room_config(ROOM, timeout=10)
    form["values"] = {**form.get_values(), "muc#roomconfig_roomname": "Tea circle"}
    await muc.set_room_config(ROOM, form, timeout=10)
    muc.invite(ROOM, JULIA, reason="Tea?")
    await web.hear("invite", room=ROOM)
    await web.ask("join", "joined", room=ROOM, nick="Julia")
    await web.tell("message", to=ROOM, body="here I am", type="groupchat")
    await asyncio.wait_for(ana.until("here I am"), 10)
    await web.hear("message", body="here I am", **{"from": f"{ROOM}/Julia"})
    ana.send_message(mto=ROOM, mbody="sit down", mtype="groupchat")
    await web.hear("message", body="sit down", **{"from": f"{ROOM}/Ana"})
    step("invited into a room, and talked")
    await web.tell("bookmark", jid=ROOM, name="Tea circle", nick="Julia")
    kept = (await web.ask("bookmarks"))["rooms"]
    assert kept == [{"jid": ROOM, "name": "Tea circle", "nick": "Julia", "autoJoin": True}], kept
    items = (await phone["xep_0060"].get_items(JULIA, "urn:xmpp:bookmarks:1", timeout=10))["pubsub"]["items"]
    assert [i["id"] for i in items] == [ROOM] and "Tea circle" in str(items), items
    step("a bookmark that the telephone has too")
    await web.tell("leave", room=ROOM)


class Friend(Client):
    def __init__(self, jid):
        super().__init__(jid)
        for plugin in ("xep_0045", "xep_0060", "xep_0402"):
            self.register_plugin(plugin)
        self.heard = asyncio.Queue()
        self.add_event_handler("groupchat_message", self.heard.put_nowait)

    async def until(self, body):
        while (await self.heard.get())["body"] != body:
            pass


async def main():
    web = await Web().start(sys.argv[1])
    ana, phone = await Friend(f"{ANA}/tablet").login(), await Friend(f"{JULIA}/phone").login()
    await phone["xep_0280"].enable()
    url = f"wss://localhost:{os.environ['HTTPS_PORT']}/xmpp-websocket"
    online = await web.ask("login", "online", url=url, jid=f"{JULIA}/web", password="secret-julia")
    assert online["jid"] == f"{JULIA}/web", online
    await phone.expect("presence_available", lambda p: p["from"].full == f"{JULIA}/web")
    step("logged in over the websocket")
    await contacts(web, ana)
    await chats(web, ana, phone)
    await meets(web, ana, phone)
    await web.end()
    await phone.expect("presence_unavailable", lambda p: p["from"].full == f"{JULIA}/web")
    step("gone when logged out")


asyncio.run(main())
