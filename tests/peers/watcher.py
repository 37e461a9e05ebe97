"""A phone by hand that watches and publishes: SUBSCRIBE and NOTIFY (RFC 6665), PUBLISH (RFC 3903). It registers and sends like rawphone.py.

More commands:
  watch {to, event, expires?, accept?, more?}   the SUBSCRIBE that makes a dialog -> answer {status, headers}
  renew {event, expires}                        a SUBSCRIBE inside the last dialog for that event -> answer
  publish {body, expires?, etag?, type?}        -> answer {status, etag}
Unasked: notify {event_package, state, type, body, require}.
"""
import asyncio, uuid

from lines import follow, say
from rawphone import HOST, Phone


class Watcher(Phone):
    def __init__(self):
        super().__init__()
        self._dialogs = {}

    def datagram_received(self, data, peer):
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"NOTIFY "):
            return super().datagram_received(data, peer)
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in head.decode().split("\r\n")[1:]]
        get = lambda name: next((value for key, value in fields if key.lower() == name), "")
        kept = "".join(f"{key}: {value}\r\n" for key, value in fields if key.lower() in ("via", "from", "to", "call-id", "cseq"))
        self._transport.sendto(f"SIP/2.0 200 OK\r\n{kept}Content-Length: 0\r\n\r\n".encode(), peer)
        say("notify", event_package=get("event"), state=get("subscription-state"), type=get("content-type"), body=body.decode(),
            require=get("require"))

    async def watch(self, to, event, expires=600, accept="", more=""):
        accept = f"Accept: {accept}\r\n" if accept else ""
        contact = f"Contact: <sip:{self._user}@{HOST}:{self._port}>\r\n"
        headers = f"Event: {event}\r\nExpires: {expires}\r\n{contact}{accept}{more}"
        call = uuid.uuid4().hex
        status, reason, fields, tag = await self._dialog_ask("SUBSCRIBE", to, f"<{to}>", headers, call, uuid.uuid4().hex[:8])
        get = lambda name: next((value for key, value in fields if key.lower() == name), "")
        if status == 200:
            self._dialogs[event] = (get("contact").strip("<>").split(">")[0], get("to"), call, tag, contact)
        say("answer", status=status, reason=reason, headers=fields)

    async def renew(self, event, expires):
        target, to, call, tag, contact = self._dialogs[event]
        headers = f"Event: {event}\r\nExpires: {expires}\r\n{contact}"
        status, reason, fields, _ = await self._dialog_ask("SUBSCRIBE", target, to, headers, call, tag)
        say("answer", status=status, reason=reason, headers=fields)

    async def publish(self, body, expires=600, etag="", type="application/pidf+xml"):
        to = f"sip:{self._user}@{self._domain}"
        headers = f"Event: presence\r\nExpires: {expires}\r\n" + (f"SIP-If-Match: {etag}\r\n" if etag else "")
        headers += f"Content-Type: {type}\r\n" if body else ""
        status, reason, fields = await self._ask("PUBLISH", to, to, headers, body.encode(), uuid.uuid4().hex)
        etag = next((value for key, value in fields if key.lower() == "sip-etag"), "")
        say("answer", status=status, reason=reason, etag=etag)

    async def _dialog_ask(self, method, uri, to, more, call, tag):
        """As `_ask`, for a dialog whose tags stay."""
        for _ in range(3):
            self._cseq += 1
            head = (f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:{self._port};branch=z9hG4bK{uuid.uuid4().hex};rport\r\n"
                    f"From: <sip:{self._user}@{self._domain}>;tag={tag}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {self._cseq} {method}\r\n"
                    f"Max-Forwards: 70\r\n{self._credentials(method, uri)}{more}Content-Length: 0\r\n\r\n")
            key = (call, f"{self._cseq} {method}")
            self._answers[key] = asyncio.get_running_loop().create_future()
            self._transport.sendto(head.encode())
            status, reason, fields = await asyncio.wait_for(self._answers[key], 35)
            if status != 401:
                break
            self._meet([value for key, value in fields if key.lower() == "www-authenticate"])
        return status, reason, fields, tag


if __name__ == "__main__":
    asyncio.run(follow(Watcher()))
