"""SASL2 by hand, bound to the channel by the certificate (RFC 5929): sasl2.py password | token TOKEN [back].

By password it logs in with SCRAM-SHA-512-PLUS, checks what protects the lists (XEP-0474) and prints the token it is given
(XEP-0484); by a token it logs in with HT-SHA-256-ENDP, and gives the token back if told so.
"""
import asyncio, base64, hashlib, hmac, os, re, ssl, sys
from client import step

NS, DEVICE = "urn:xmpp:sasl:2", "d4565fa7-4d72-4749-b3d3-740edbf87770"
AGENT = f"<user-agent id='{DEVICE}'/>"
BIND = "<bind xmlns='urn:xmpp:bind:0'><tag>hand</tag><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>"


def encode(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


class Stream:
    async def open(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["xmpp-client"])
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", int(os.environ["XMPPS_PORT"]), ssl=context)
        certificate = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.end_point = hashlib.sha256(certificate).digest()
        header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
        self.features = await self.say(header, "</stream:features>")
        return self

    async def say(self, text, until):
        self.writer.write(text.encode())
        heard = ""
        while not re.search(until, heard):
            got = await asyncio.wait_for(self.reader.read(65536), 10)
            assert got, f"closed: {heard}"
            heard += got.decode()
        return heard

    async def login(self, mechanism, initial, parts):
        return await self.say(
            f"<authenticate xmlns='{NS}' mechanism='{mechanism}'><initial-response>{encode(initial)}</initial-response>"
            f"{AGENT}{parts}</authenticate>", "</challenge>|</failure>|</stream:features>")


async def by_password():
    stream = await Stream().open()
    offer = stream.features.split("<authentication")[1].split("<inline>")[0]
    mechanisms = sorted(re.findall("<mechanism>([^<]*)<", offer))
    types = sorted(re.findall("<channel-binding type='([^']*)'", stream.features))
    assert "tls-exporter" in types and "tls-server-end-point" in types, types
    header, bare = "p=tls-server-end-point,,", "n=ana,r=hand"
    ask = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-ENDP'/>"
    said = await stream.login("SCRAM-SHA-512-PLUS", header + bare, BIND + ask)
    first = base64.b64decode(re.search("<challenge[^>]*>([^<]*)<", said)[1]).decode()
    fields = dict(field.split("=", 1) for field in first.split(","))
    lists = "\x1e".join(mechanisms) + "\x1f" + "\x1e".join(types)
    assert fields["h"] == encode(hashlib.sha512(lists.encode()).digest()), "the lists were changed"
    salted = hashlib.pbkdf2_hmac("sha512", b"secret-ana", base64.b64decode(fields["s"]), int(fields["i"]))
    mac = lambda key, data: hmac.digest(key, data, "sha512")
    client_key = mac(salted, b"Client Key")
    last = f"c={encode(header.encode() + stream.end_point)},r={fields['r']}"
    auth = f"{bare},{first},{last}".encode()
    proof = bytes(a ^ b for a, b in zip(client_key, mac(hashlib.sha512(client_key).digest(), auth)))
    said = await stream.say(f"<response xmlns='{NS}'>{encode(f'{last},p={encode(proof)}')}</response>", "</failure>|</stream:features>")
    answer = encode("v=" + encode(mac(mac(salted, b"Server Key"), auth)))
    assert f"<additional-data>{answer}<" in said, said
    assert re.search("<authorization-identifier>ana@localhost/hand/", said) and "<enabled" in said, said
    step("bound to the channel")
    step("token " + re.search("<token [^>]*token='([^']*)'", said)[1])


async def by_token(token, back):
    stream = await Stream().open()
    mac = lambda role: hmac.digest(token.encode(), role + stream.end_point, "sha256")
    fast = "<fast xmlns='urn:xmpp:fast:0' invalidate='true'/>" if back else "<fast xmlns='urn:xmpp:fast:0'/>"
    said = await stream.login("HT-SHA-256-ENDP", b"ana\0" + mac(b"Initiator"), BIND + fast)
    if "<failure" in said:
        return step("refused")
    assert f"<additional-data>{encode(mac(b'Responder'))}<" in said, said
    step("logged in by the token")


mode, *arguments = sys.argv[1:]
asyncio.run(by_password() if mode == "password" else by_token(arguments[0], arguments[1:] == ["back"]))
