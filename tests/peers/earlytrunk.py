"""A trunk by hand over UDP that plays tones before it answers (RFC 3261 section 13.2.1), as many of them as it forks into.

Commands and events, JSON, one per line; each command ends in done {cmd} or error {cmd, text}:
  start {port, password?}              takes every INVITE on 127.0.0.1:port -> invited {uri} for each, after its 100
  invite {server, to, headers?}        calls 127.0.0.1:server -> said {status} for each answer
  ring {status?}                       180 or another without a description
  play {fork, tone}                    183 with a description of this fork, which plays PCMU from now on
  stop {fork}                          it plays no more
  answer {fork}                        200 of this fork -> acked
  refuse {status}                      -> acked
Unasked: ended {method} for CANCEL and BYE, which are answered.
"""
import asyncio, math, re

from lines import follow, say

HOST = "127.0.0.1"


def ulaw(sample):
    sign, value = (0x80, -sample) if sample < 0 else (0, sample)
    value = min(value, 32635) + 0x84
    exponent = max(value.bit_length() - 8, 0)
    return ~(sign | exponent << 4 | value >> exponent + 3 & 0x0F) & 0xFF


class Fork:
    """One phone behind the trunk: an address for media, and a tone."""

    async def open(self, remote):
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(HOST, 0))
        self.port, self._remote, self._task = self._transport.get_extra_info("sockname")[1], remote, None
        return self

    def play(self, tone):
        self._task = asyncio.ensure_future(self._play(tone))

    async def _play(self, tone):
        loop, n = asyncio.get_running_loop(), 0
        begun = loop.time()
        while True:
            samples = (int(8000 * math.sin(2 * math.pi * tone * (160 * n + k) / 8000)) for k in range(160))
            header = bytes([0x80, 0]) + (n & 0xFFFF).to_bytes(2) + (160 * n & 0xFFFFFFFF).to_bytes(4) + self.port.to_bytes(4)
            self._transport.sendto(header + bytes(map(ulaw, samples)), self._remote)
            n += 1
            await asyncio.sleep(max(begun + n * 0.02 - loop.time(), 0))

    def stop(self):
        if self._task:
            self._task.cancel()


class Trunk(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self._transport, self._invite, self._forks = transport, None, {}

    async def start(self, port):
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(HOST, port))
        self._port = port

    def datagram_received(self, data, peer):
        head, _, body = data.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        if first.startswith("SIP/2.0"):
            return say("said", status=first.split()[1])
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        method, uri = first.split()[:2]
        if method == "INVITE":
            if not self._invite or self._invite[0] != fields:
                self._invite, self._forks = (fields, body, peer), {}
                say("invited", uri=uri, headers=fields)
        elif method == "ACK":
            say("acked")
        else:
            if method in ("CANCEL", "BYE"):
                self._silence()
                say("ended", method=method)
            self._send(200, None, (fields, body, peer))
            if method == "CANCEL":
                self._send(487, "cancelled")

    def _send(self, status, tag, request=None, sdp=""):
        fields, _, peer = request or self._invite
        kept = "".join(f"{key}: {value}\r\n" for key, value in fields if key.lower() in ("via", "from", "call-id", "cseq", "record-route"))
        to = next(value for key, value in fields if key.lower() == "to")
        to += f";tag={tag}" if tag and "tag=" not in to else ""
        more = f"Contact: <sip:{HOST}:{self._port}>\r\n" + ("Content-Type: application/sdp\r\n" if sdp else "")
        self._transport.sendto(f"SIP/2.0 {status} Said\r\n{kept}To: {to}\r\n{more}Content-Length: {len(sdp)}\r\n\r\n{sdp}".encode(), peer)

    async def _fork(self, name):
        if name not in self._forks:
            body = self._invite[1]
            remote = re.search(r"c=IN IP4 (\S+)", body)[1], int(re.search(r"m=audio (\d+)", body)[1])
            self._forks[name] = await Fork().open(remote)
        return self._forks[name]

    async def _describe(self, name):
        port = (await self._fork(name)).port
        return f"v=0\r\no=- {port} 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"

    async def invite(self, server, to, headers=""):
        sdp = f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
        self._count = getattr(self, "_count", 0) + 1
        request = (f"INVITE {to} SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:{self._port};branch=z9hG4bKin{self._count};rport\r\nMax-Forwards: 70\r\n"
                   f"From: <sip:+4930777@{HOST}>;tag=in\r\nTo: <{to}>\r\nCall-ID: in-{self._count}\r\nCSeq: 1 INVITE\r\nContact: <sip:{HOST}:{self._port}>\r\n"
                   f"{headers}Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}")
        self._transport.sendto(request.encode(), (HOST, server))

    async def ring(self, status=180):
        self._send(status, "ringing")

    async def play(self, fork, tone):
        self._send(183, fork, sdp=await self._describe(fork))
        self._forks[fork].play(tone)

    async def stop(self, fork):
        self._forks[fork].stop()

    async def answer(self, fork):
        self._send(200, fork, sdp=await self._describe(fork))

    def _silence(self):
        """Nobody else gets the port that is free now, and what was for another."""
        for fork in self._forks.values():
            fork.stop()

    async def refuse(self, status):
        self._silence()
        self._send(status, "refused")


if __name__ == "__main__":
    asyncio.run(follow(Trunk()))
