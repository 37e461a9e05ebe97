"""A phone by hand over UDP: digest by RFC 7616, and MESSAGE with whatever body a test wants (CPIM, IMDN, isComposing).

Commands and events, JSON, one per line; each command ends in done {cmd} or error {cmd, text}:
  start {user, password, domain, port, algorithm?, seconds?, uri?, params?, fields?, display?}
                                                       algorithm MD5 | SHA-256; uri and params go into the Contact, fields beside it -> registered {status, headers} (after the 401)
  refresh                                              registers again -> registered
  send {method?, to, type?, body?, headers?, call?}    a request with credentials, under a Call-ID -> answer {status, reason, headers}
  answer {status}                                      what the next requests get, and those that got nothing; 0 is silence, 200 the start
  take {formats, maps?}                                answers calls from now on with these payload types of RTP/AVP and lines, as in "0"; what comes is listened to
                                                       -> answered {headers}
  keys                                                 -> keys {keys, audio}: the DTMF tones (ITU-T Q.23) heard since, and packets
  auto                                                 rings from now on and is busy, but answers by itself where an INVITE asks for it in all the ways that phones know
                                                       -> ringing | answered {headers}
  unregister
Unasked: request {method, uri, from, type, body, headers, call, cseq, size}.
"""
import asyncio, cmath, hashlib, re, uuid

from lines import follow, say

HOST = "127.0.0.1"


class Phone(asyncio.DatagramProtocol):
    def __init__(self):
        self._answers, self._status, self._challenge, self._count, self._cseq = {}, 200, None, 0, 0
        self._unanswered, self._auto, self._take = [], False, None

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, peer):
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        get = lambda name: next((value for key, value in fields if key.lower() == name), "")
        if first.startswith("SIP/2.0"):
            waiting = self._answers.get((get("call-id"), get("cseq")))
            if waiting and not waiting.done() and not first.startswith("SIP/2.0 1"):
                self._body = body
                waiting.set_result((int(first.split()[1]), first.split(" ", 2)[2], fields))
            return
        method = first.split()[0]
        if method == "INVITE" and (self._auto or self._take):
            return self._ring(fields, peer)
        if method != "ACK":
            kept = "".join(f"{key}: {value}\r\n" for key, value in fields if key.lower() in ("via", "from", "call-id", "cseq"))
            to = get("to") + ("" if "tag=" in get("to") else ";tag=raw")
            self._unanswered.append((f"{kept}To: {to}\r\nContent-Length: 0\r\n\r\n", peer))
            self._answer_all()
        say("request", method=method, uri=first.split()[1], **{"from": get("from")}, type=get("content-type"), body=body.decode(), headers=fields, call=get("call-id"),
            cseq=get("cseq"), size=len(data))

    async def start(self, user, password, domain, port, algorithm="MD5", seconds=300, uri="", params="", fields="", display=""):
        self._display = f'"{display}" ' if display else ""
        self._seconds, self._uri, self._params, self._fields = seconds, uri, params, fields
        self._user, self._password, self._domain, self._algorithm = user, password, domain, algorithm
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, 0), remote_addr=(HOST, port))
        self._port = self._transport.get_extra_info("sockname")[1]
        self._call = uuid.uuid4().hex
        await self.refresh()

    async def refresh(self):
        fields = self._fields + self._contact(self._seconds)
        status, _, headers = await self._ask("REGISTER", f"sip:{self._domain}", f"sip:{self._user}@{self._domain}", fields, b"", self._call)
        say("registered", status=status, headers=headers)

    def _contact(self, seconds):
        return f"Contact: <sip:{self._user}@{HOST}:{self._port}{self._uri}>{self._params};expires={seconds}\r\n"

    async def send(self, to, method="MESSAGE", type="text/plain", body="", headers="", call=None):
        more = (f"Content-Type: {type}\r\n" if body else "") + headers
        status, reason, fields = await self._ask(method, to, to, more, body.encode(), call or uuid.uuid4().hex)
        say("answer", status=status, reason=reason, headers=fields)

    async def answer(self, status):
        self._status = status
        self._answer_all()

    def _answer_all(self):
        if self._status:
            for rest, peer in self._unanswered:
                self._transport.sendto(f"SIP/2.0 {self._status} Answer\r\n{rest}".encode(), peer)
            self._unanswered = []

    async def auto(self):
        self._auto = True

    async def take(self, formats, maps=""):
        self._take, self._ears = (formats, maps), Ears()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self._ears, local_addr=(HOST, 0))
        self._rtp = transport.get_extra_info("sockname")[1]

    async def keys(self):
        say("keys", keys=self._ears.keys(), audio=len(self._ears.packets))

    def _ring(self, fields, peer):
        get = lambda name: next((value for key, value in fields if key.lower() == name), "")
        is_asked = self._take or get("answer-mode").startswith("Auto") and "answer-after=0" in get("call-info") and "alert-autoanswer" in get("alert-info")
        kept = "".join(f"{key}: {value}\r\n" for key, value in fields if key.lower() in ("via", "from", "call-id", "cseq", "record-route"))
        kept += f"To: {get('to')};tag=raw\r\nContact: <sip:{self._user}@{HOST}:{self._port}>\r\n"
        sdp = f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        formats, maps = self._take or ("0", "")
        sdp += f"m=audio {self._rtp if self._take else 9} RTP/AVP {formats}\r\n{maps}"
        answers = [("200 OK", sdp, "Content-Type: application/sdp\r\n")] if is_asked else [("180 Ringing", "", ""), ("486 Busy Here", "", "")]
        for status, body, kind in answers:
            self._transport.sendto(f"SIP/2.0 {status}\r\n{kept}{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode(), peer)
        say("answered" if is_asked else "ringing", headers=fields)

    async def unregister(self):
        await self._ask("REGISTER", f"sip:{self._domain}", f"sip:{self._user}@{self._domain}", self._contact(0), b"", self._call)

    async def _ask(self, method, uri, to, more, body, call):
        tag = uuid.uuid4().hex[:8]
        for _ in range(3):
            self._cseq += 1
            head = (f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:{self._port};branch=z9hG4bK{uuid.uuid4().hex};rport\r\n"
                    f"From: {self._display}<sip:{self._user}@{self._domain}>;tag={tag}\r\nTo: <{to}>\r\nCall-ID: {call}\r\nCSeq: {self._cseq} {method}\r\n"
                    f"Max-Forwards: 70\r\n{self._credentials(method, uri)}{more}Content-Length: {len(body)}\r\n\r\n")
            key = (call, f"{self._cseq} {method}")
            self._answers[key] = asyncio.get_running_loop().create_future()
            self._transport.sendto(head.encode() + body)
            status, reason, fields = await asyncio.wait_for(self._answers[key], 35)
            if status != 401:
                return status, reason, fields
            self._meet([value for key, value in fields if key.lower() == "www-authenticate"])
        return status, reason, fields

    def _meet(self, offers):
        """Takes the challenge that it can answer."""
        wanted = [offer for offer in offers if f"algorithm={self._algorithm}" in offer.replace(" ", "")]
        self._challenge, self._count = dict(re.findall(r'(\w+)="?([^",]+)"?', wanted[0].split(" ", 1)[1])), 0

    def _credentials(self, method, uri):
        if not self._challenge:
            return ""
        self._count += 1
        hash = lambda *parts: hashlib.new("sha256" if self._algorithm == "SHA-256" else "md5", ":".join(parts).encode()).hexdigest()
        realm, nonce, count, cnonce = self._challenge["realm"], self._challenge["nonce"], f"{self._count:08x}", uuid.uuid4().hex
        response = hash(hash(self._user, realm, self._password), nonce, count, cnonce, "auth", hash(method, uri))
        return (f'Authorization: Digest username="{self._user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
                f'algorithm={self._algorithm}, qop=auth, nc={count}, cnonce="{cnonce}"\r\n')


class Ears(asyncio.DatagramProtocol):
    """What comes by RTP as PCMU, kept."""

    def __init__(self):
        self.packets = []

    def datagram_received(self, data, _):
        if data[1] & 0x7F == 0:
            self.packets.append(data[12:])

    def keys(self):
        """One letter for each key that sounds for two packets or more."""
        heard = [key_of(packet) for packet in self.packets]
        begins = [key for before, key, after in zip([None] + heard, heard, heard[1:]) if key and key == after and key != before]
        return "".join(begins)


def linear(byte):
    byte = ~byte & 0xFF
    value = (((byte & 0x0F) << 3) + 0x84 << ((byte & 0x70) >> 4)) - 0x84
    return -value if byte & 0x80 else value


def key_of(packet):
    pcm = [linear(byte) for byte in packet]
    whole = sum(sample * sample for sample in pcm) * len(pcm)

    def share(hz):
        wave = sum(sample * cmath.exp(2j * cmath.pi * hz * n / 8000) for n, sample in enumerate(pcm))
        return 2 * abs(wave) ** 2 / whole if whole else 0

    row, column = (max(range(4), key=lambda n: share(tones[n])) for tones in (LOW, HIGH))
    is_key = share(LOW[row]) > 0.25 and share(HIGH[column]) > 0.25
    return "123A456B789C*0#D"[4 * row + column] if is_key else None


LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)


if __name__ == "__main__":
    asyncio.run(follow(Phone()))
