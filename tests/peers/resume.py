"""Sessions that outlive their connections (XEP-0198): resume.py tcp (slixmpp) | websocket (by hand, RFC 7395)."""
import asyncio, base64, os, re, ssl, sys
import websockets
from client import Client, step

SM = "urn:xmpp:sm:3"


class Device(Client):
    """Loses its connection as a telephone does in a tunnel, and comes back."""

    def __init__(self, *args):
        super().__init__(*args)
        self.register_plugin("xep_0198")
        self.seen, self.resumed, self.sessions = [], asyncio.Queue(), 0
        self.add_event_handler("message", lambda m: self.seen.append(m["body"]))
        self.add_event_handler("session_resumed", self.resumed.put_nowait)
        self.add_event_handler("session_start", self.count)

    def count(self, _):
        self.sessions += 1

    async def drop(self):
        gone = asyncio.get_event_loop().create_future()
        self.add_event_handler("disconnected", lambda e: gone.done() or gone.set_result(e), disposable=True)
        self.abort()
        await asyncio.wait_for(gone, 10)

    async def come_back(self):
        self.open()
        await asyncio.wait_for(self.resumed.get(), 10)


async def befriend(one, other):
    for asks, grants in ((one, other), (other, one)):
        asks.send_presence(pto=grants.boundjid.bare, ptype="subscribe")
        await grants.expect("presence_subscribe")
        grants.send_presence(pto=asks.boundjid.bare, ptype="subscribed")
        await asks.expect("presence_subscribed")


async def tcp():
    ana = await Client("ana@localhost/tablet").login()
    julia = await Device("julia@localhost/phone").login()
    await befriend(ana, julia)
    await ana.expect("presence_available", lambda p: p["from"].full == "julia@localhost/phone")
    heard = []
    ana.add_event_handler("message", lambda m: heard.append(m["body"]))
    wanted, said = [], []
    for tunnel in range(3):
        await julia.drop()
        for n in range(20):
            wanted.append(f"{tunnel} {n}")
            ana.send_message(mto="julia@localhost", mbody=wanted[-1], mtype="chat")
        # One to the session itself, and a presence: they wait too.
        wanted.append(f"to the phone {tunnel}")
        ana.send_message(mto="julia@localhost/phone", mbody=wanted[-1], mtype="chat")
        ana.send_presence(pstatus=f"status {tunnel}")
        await ana.plugin["xep_0199"].ping("localhost", timeout=10)
        await julia.come_back()
        await julia.expect("message", lambda m: m["body"] == wanted[-1])
        await julia.expect("presence_available", lambda p: p["status"] == f"status {tunnel}")
    assert julia.seen == wanted, julia.seen
    assert julia.sessions == 1
    step("written to in three tunnels, everything once and in order")

    for tunnel in range(3):
        for n in range(5):
            said.append(f"from the tunnel {tunnel} {n}")
            julia.send_message(mto="ana@localhost", mbody=said[-1], mtype="chat")
        # As soon as they are on their way: some arrive, some do not, and the phone knows of none.
        while len(julia.plugin["xep_0198"].unacked_queue) < 5:
            await asyncio.sleep(0)
        await julia.drop()
        await julia.come_back()
        await ana.expect("message", lambda m: m["body"] == said[-1])
    assert heard == said, heard
    step("what was on its way in three tunnels arrived once and in order")
    assert not [p for e, p in ana.kept_presences if e == "presence_unavailable"], ana.kept_presences
    step("nobody noticed")

    await julia.disconnect()
    await ana.expect("presence_unavailable", lambda p: p["from"].full == "julia@localhost/phone")
    again = Device("julia@localhost/phone")
    await again.login()
    await again.plugin["xep_0199"].ping("localhost", timeout=10)
    assert again.seen == [], again.seen
    step("nothing comes again after that")


class Socket:
    """A stream over WebSocket up to its features after the login."""

    handled = 0

    async def open(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"wss://localhost:{os.environ['HTTPS_PORT']}/xmpp-websocket"
        self.socket = await websockets.connect(url, ssl=context, subprotocols=["xmpp"])
        opening = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
        plain = base64.b64encode(b"\0julia\0secret-julia").decode()
        await self.say(opening, "<stream:features")
        await self.say(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>", "<success")
        await self.say(opening, "<stream:features")
        return self

    async def say(self, text, until):
        await self.socket.send(text)
        return await self.hear(until)

    async def hear(self, until):
        while True:
            got = await asyncio.wait_for(self.socket.recv(), 10)
            self.handled += re.match("<(message|presence|iq)", got) is not None
            if re.search(until, got):
                return got

    def drop(self):
        self.socket.transport.abort()


async def websocket():
    ana = await Client("ana@localhost/tablet").login()
    julia = await Socket().open()
    bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>web</resource></bind>"
    await julia.say(f"<iq xmlns='jabber:client' type='set' id='b'>{bind}</iq>", "julia@localhost/web")
    enabled = await julia.say(f"<enable xmlns='{SM}' resume='true'/>", "<enabled")
    previous = re.search("id=['\"]([^'\"]+)", enabled).group(1)
    julia.handled = 0
    await julia.say("<presence xmlns='jabber:client'/>", "<presence")
    for n in range(3):
        ana.send_message(mto="julia@localhost/web", mbody=f"seen {n}", mtype="chat")
        await julia.hear(f"<body>seen {n}<")
    julia.drop()
    handled = julia.handled
    for n in range(20):
        ana.send_message(mto="julia@localhost/web", mbody=f"missed {n}", mtype="chat")
    await ana.plugin["xep_0199"].ping("localhost", timeout=10)
    # It comes back with all but one of those that it saw on record.
    julia = await Socket().open()
    resumed = await julia.say(f"<resume xmlns='{SM}' previd='{previous}' h='{handled - 1}'/>", "<(resumed|failed)")
    assert "<resumed" in resumed, resumed
    got = []
    while len(got) < 21:
        got.append(re.search("<body>([^<]*)", await julia.hear("<body>")).group(1))
    assert got == ["seen 2", *(f"missed {n}" for n in range(20))], got
    await julia.say(f"<r xmlns='{SM}'/>", f"<a [^>]*h=['\"]1['\"]")
    step("resumed over the websocket, everything in order")


asyncio.run({"tcp": tcp, "websocket": websocket}[sys.argv[1]]())
