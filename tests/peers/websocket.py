"""Finds the WebSocket by host-meta (XEP-0156) and logs in over it (RFC 7395) with PLAIN."""
import asyncio, base64, json, os, ssl, urllib.request
import websockets
from client import step


async def main():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    base = f"https://localhost:{os.environ['HTTPS_PORT']}"
    meta = json.load(urllib.request.urlopen(base + "/.well-known/host-meta.json", context=context))
    url = next(l["href"] for l in meta["links"] if l["rel"] == "urn:xmpp:alt-connections:websocket")
    async with websockets.connect(url, ssl=context, subprotocols=["xmpp"]) as socket:
        assert socket.subprotocol == "xmpp"
        opening = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
        await socket.send(opening)
        assert "<open" in await socket.recv()
        features = await socket.recv()
        assert "PLAIN" in features and "starttls" not in features, features
        plain = base64.b64encode(b"\0ana\0secret-ana").decode()
        await socket.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")
        assert "<success" in await socket.recv()
        await socket.send(opening)
        assert "<open" in await socket.recv()
        assert "urn:ietf:params:xml:ns:xmpp-bind" in await socket.recv()
        await socket.send(
            "<iq xmlns='jabber:client' type='set' id='b'>"
            "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>web</resource></bind></iq>"
        )
        answer = await socket.recv()
        assert "ana@localhost/web" in answer and "xmlns='jabber:client'" in answer, answer
        step("bound over the websocket")
        await socket.send("<message xmlns='jabber:client' to='echo@localhost' type='chat'><body>hi</body></message>")
        answer = await socket.recv()
        assert "<body>hi</body>" in answer and answer.startswith("<message") and "jabber:client" in answer, answer
        await socket.send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
        assert "<close" in await socket.recv()


asyncio.run(main())
