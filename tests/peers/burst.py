"""A hundred clients write to each other while the server is killed, or its disk fills up; afterwards everything is counted.

burst.py kill STATE PID ACKS   after so many acknowledgements (XEP-0198) the server is killed
burst.py full STATE FLAG ACKS  after so many its disk is full, as long as the file FLAG exists
burst.py check STATE           what was not acknowledged is sent again, and all is counted

Each begins as clients do: log in, catch up from the archive, send again what nobody has acknowledged. STATE is what the
clients remember from run to run. It parses no more than it must and shares no code with the server.
"""
import asyncio, base64, json, os, signal, ssl, sys
from xml.etree import ElementTree as ET

CLIENTS, MESSAGES, WINDOW = 100, 100, 40
C, MAM, RSM, SM = "{jabber:client}", "{urn:xmpp:mam:2}", "{http://jabber.org/protocol/rsm}", "{urn:xmpp:sm:3}"
HEADER = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
PATIENCE = 50


class Gone(Exception):
    pass


class Stream:
    """Stanzas of one connection."""

    async def open(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = int(os.environ["XMPPS_PORT"])
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        self.restart()

    def restart(self):
        self.parser, self.depth, self.root, self.ready = ET.XMLPullParser(("start", "end")), 0, None, []
        self.say(HEADER)

    def say(self, text):
        self.writer.write(text.encode())

    async def next(self):
        while not self.ready:
            try:
                data = await self.reader.read(65536)
            except (ConnectionError, ssl.SSLError):
                raise Gone from None
            if not data:
                raise Gone
            self.parser.feed(data)
            for event, element in self.parser.read_events():
                self.depth += 1 if event == "start" else -1
                if event == "start" and self.depth == 1:
                    self.root = element
                elif event == "end" and self.depth == 1:
                    self.ready.append(element)
                    self.root.remove(element)
        return self.ready.pop(0)

    async def want(self, tag):
        while True:
            stanza = await self.next()
            if stanza.tag == tag:
                return stanza
            assert not stanza.tag.endswith(("failure", "error")), ET.tostring(stanza)


class Client:
    def __init__(self, world, n, state):
        self.world, self.n, self.jid = world, n, f"u{n}@localhost"
        # The next number, what was acknowledged, what was sent and not, the archive's last id, what it holds.
        self.count, self.acked, self.open, self.last, self.held = state or [0, [], [], None, {}]
        self.acked, self.sent = set(self.acked), []

    def state(self):
        return [self.count, sorted(self.acked), self.open, self.last, self.held]

    async def login(self):
        self.stream = stream = Stream()
        await stream.open()
        await stream.want("{http://etherx.jabber.org/streams}features")
        plain = base64.b64encode(f"\0u{self.n}\0secret-u{self.n}".encode()).decode()
        stream.say(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")
        await stream.want("{urn:ietf:params:xml:ns:xmpp-sasl}success")
        stream.restart()
        await stream.want("{http://etherx.jabber.org/streams}features")
        stream.say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>")
        await stream.want(f"{C}iq")
        await self.catch_up()
        stream.say("<presence/><enable xmlns='urn:xmpp:sm:3'/>")
        while (stanza := await stream.next()).tag != f"{SM}enabled":
            self.take(stanza)
        self.sent, self.handled = [], 0

    async def catch_up(self):
        complete = False
        while not complete:
            after = f"<after>{self.last}</after>" if self.last else ""
            self.stream.say(f"<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>200</max>{after}</set></query></iq>")
            # The server may ask something of its own meanwhile.
            while (stanza := await self.stream.next()).tag != f"{C}iq" or stanza.get("id") != "m":
                result = stanza.find(f"{MAM}result")
                if result is not None:
                    self.hold(result.findtext(f".//{C}body"), result.get("id"))
            fin = stanza.find(f"{MAM}fin")
            assert fin is not None, ET.tostring(stanza)
            complete = fin.get("complete") == "true"
            self.last = fin.findtext(f"{RSM}set/{RSM}last") or self.last

    def hold(self, key, id):
        """A message has one id, wherever it is seen."""
        known = self.held.setdefault(key, id)
        assert known == id, f"{self.jid} has {key} twice"

    def take(self, stanza):
        if stanza.tag == f"{SM}a":
            handled = int(stanza.get("h"))
            for key in self.sent[self.handled:handled]:
                # An error came first for those that were refused.
                if key in self.open:
                    self.open.remove(key)
                    self.acked.add(key)
                    self.world.acknowledged()
            self.handled = handled
        elif stanza.tag == f"{C}message" and stanza.get("type") == "error":
            # Refused: it is sent again another time, and what is acknowledged now is only that it was refused.
            key = stanza.get("id")
            self.sent[self.sent.index(key)] = None
            if key in self.acked:
                self.acked.remove(key)
                self.open.append(key)
                self.world.acks -= 1
            self.world.refused += 1
        elif stanza.tag == f"{C}message":
            ids = [e.get("id") for e in stanza.findall("{urn:xmpp:sid:0}stanza-id") if e.get("by") == self.jid]
            assert len(ids) == 1, ET.tostring(stanza)
            self.hold(stanza.findtext(f"{C}body"), ids[0])

    def send(self, key):
        to = f"u{addressee(key)}@localhost"
        self.stream.say(f"<message to='{to}' type='chat' id='{key}'><body>{key}</body><origin-id xmlns='urn:xmpp:sid:0' id='{key}'/></message><r xmlns='urn:xmpp:sm:3'/>")
        self.sent.append(key)

    async def run(self, count):
        """Sends again what is open, then new messages; until all is acknowledged or the server is gone."""
        try:
            await self.login()
            await self.world.all_in()
            again = list(self.open)
            while again or count or self.handled < len(self.sent):
                while (again or count) and len(self.sent) - self.handled < WINDOW:
                    if again:
                        self.send(again.pop(0))
                        continue
                    key, self.count, count = f"{self.n}-{self.count}", self.count + 1, count - 1
                    self.open.append(key)
                    self.send(key)
                await self.stream.writer.drain()
                self.take(await self.stream.next())
            # Others are not done, and the server is killed before they are, or it is full.
            done = asyncio.ensure_future(self.world.all_done())
            while not done.done():
                next = asyncio.ensure_future(self.stream.next())
                await asyncio.wait((done, next), return_when=asyncio.FIRST_COMPLETED)
                if next.done():
                    self.take(next.result())
                else:
                    next.cancel()
        except (Gone, ConnectionError):
            assert self.world.killed, f"{self.jid} lost its stream"
            try:
                # What had arrived before counts as well.
                while True:
                    self.take(await self.stream.next())
            except (Gone, ConnectionError):
                pass

    async def leave(self):
        self.stream.say("</stream:stream>")
        await self.stream.writer.drain()
        self.stream.writer.close()


def addressee(key):
    n, count = map(int, key.split("-"))
    return (n + 1 + 7 * (count % 5)) % CLIENTS


class World:
    def __init__(self, mode, path, act=None, after=0):
        self.mode, self.path, self.act, self.after = mode, path, act, after
        self.acks, self.refused, self.killed, self.full = 0, 0, False, False
        states = json.load(open(path)) if os.path.exists(path) else [None] * CLIENTS
        self.clients = [Client(self, n, state) for n, state in enumerate(states)]
        self.inside, self.done, self.everybody_in, self.everybody_done = 0, 0, asyncio.Event(), asyncio.Event()

    def acknowledged(self):
        self.acks += 1
        if self.acks == self.after and self.mode == "kill":
            os.kill(int(self.act), signal.SIGKILL)
            self.killed = True
        if self.acks == self.after and self.mode == "full":
            open(self.act, "w").close()
            self.full = True

    async def all_in(self):
        self.inside += 1
        if self.inside == CLIENTS:
            # All have caught up: this is what there is to count.
            self.count()
            self.everybody_in.set()
        await self.everybody_in.wait()

    async def all_done(self):
        self.done += 1
        if self.done == CLIENTS:
            self.everybody_done.set()
        await self.everybody_done.wait()

    def count(self):
        """Everything that was acknowledged is in both archives. Twice was looked for where it was read."""
        for client in self.clients:
            for key in client.acked:
                for owner in (client, self.clients[addressee(key)]):
                    assert key in owner.held, f"{key} is missing at {owner.jid}"
        return sum(len(client.acked) for client in self.clients)

    async def room_again(self):
        while self.refused < 200 and not self.everybody_done.is_set():
            await asyncio.sleep(0.02)
        os.path.exists(self.act) and os.remove(self.act)

    async def main(self):
        new = 0 if self.mode == "check" else MESSAGES
        work = [client.run(new) for client in self.clients]
        if self.mode == "full":
            work.append(self.room_again())
        await asyncio.wait_for(asyncio.gather(*work), PATIENCE)
        if self.mode == "check":
            await asyncio.gather(*(client.catch_up() for client in self.clients))
            self.count()
            assert not any(client.open for client in self.clients)
        for client in self.clients if not self.killed else []:
            await client.leave()
        json.dump([client.state() for client in self.clients], open(self.path, "w"))
        print(json.dumps({"acks": self.acks, "refused": self.refused, "killed": self.killed, "counted": self.count() if self.mode == "check" else 0}))


async def main():
    await World(*sys.argv[1:4], *map(int, sys.argv[4:5])).main()


asyncio.run(main())
