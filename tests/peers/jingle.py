"""Jingle audio (XEP-0166, 0167, 0176, 0320) for aiortc: its SDP as Jingle and back, a tone to send, and ears.

Written by hand, so that it shares nothing with the server's own.
"""
import asyncio, contextlib, fractions, time
from xml.etree import ElementTree as ET

import aioice.ice
import numpy
from aiortc import MediaStreamTrack, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame
from tone import dominant, sine

# aioice leaves loopback out; the tests know no other network.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

JINGLE, RTP = "{urn:xmpp:jingle:1}", "{urn:xmpp:jingle:apps:rtp:1}"
ICE, DTLS, GROUP = "{urn:xmpp:jingle:transports:ice-udp:1}", "{urn:xmpp:jingle:apps:dtls:0}", "{urn:xmpp:jingle:apps:grouping:0}"
FEATURES = ["urn:xmpp:jingle:1", "urn:xmpp:jingle:apps:rtp:1", "urn:xmpp:jingle:apps:rtp:audio", "urn:xmpp:jingle:transports:ice-udp:1",
            "urn:xmpp:jingle:apps:dtls:0", "urn:xmpp:jingle-message:0", "urn:ietf:rfc:5888"]
RATE, FRAME = 48000, 960


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self, hertz):
        super().__init__()
        self.hertz, self.position, self.begun = hertz, 0, None

    async def recv(self):
        self.begun = self.begun or time.monotonic()
        await asyncio.sleep(max(0, self.begun + self.position / RATE - time.monotonic()))
        samples = (32767 * sine(self.hertz, RATE, self.position, FRAME)).astype(numpy.int16)
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.position, fractions.Fraction(1, RATE)
        self.position += FRAME
        return frame


class Ears:
    """Takes in a track all the time; `hear` is about the seconds that follow."""

    def __init__(self, track):
        self.frames, self.rate, self.task = None, RATE, asyncio.ensure_future(self.listen(track))

    async def listen(self, track):
        with contextlib.suppress(MediaStreamError):  # the end of the track
            while True:
                frame = await track.recv()
                self.rate = frame.sample_rate
                if self.frames is not None:
                    self.frames.append(frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)] / 32768)

    async def hear(self, seconds):
        self.frames = []
        await asyncio.sleep(seconds)
        samples, self.frames = numpy.concatenate(self.frames or [numpy.zeros(0)]), None
        return dominant(samples, self.rate)


def prefer(connection, codecs):
    """These codecs alone, of the one audio track."""
    known = RTCRtpSender.getCapabilities("audio").codecs
    connection.getTransceivers()[0].setCodecPreferences([codec for name in codecs for codec in known if codec.name.lower() == name.lower()])


def field(sdp, name):
    return next(line.split(":", 1)[1] for line in sdp.splitlines() if line.startswith(f"a={name}:"))


def content_of(sdp):
    """Our SDP as (group and content, candidates): candidates are sent on their own."""
    mid = field(sdp, "mid")
    content = ET.Element(JINGLE + "content", creator="initiator", name=mid, senders="both")
    description = ET.SubElement(content, RTP + "description", media="audio")
    types = {}
    for line in sdp.splitlines():
        kind, _, rest = line.partition(":")
        number, _, value = rest.partition(" ")
        if kind == "a=rtpmap":
            name, clock, *channels = value.split("/")
            types[number] = ET.SubElement(description, RTP + "payload-type", id=number, name=name, clockrate=clock, channels=(channels or ["1"])[0])
        elif kind == "a=fmtp" and number in types:
            for name, _, setting in (pair.strip().partition("=") for pair in value.split(";")):
                ET.SubElement(types[number], RTP + "parameter", name=name, value=setting)
    ET.SubElement(description, RTP + "rtcp-mux")
    transport = bare_transport(content, sdp)
    for line in (line for line in sdp.splitlines() if line.startswith("a=fingerprint:sha-256 ")):
        ET.SubElement(transport, DTLS + "fingerprint", hash="sha-256", setup=field(sdp, "setup")).text = line.split(" ")[1]
    group = ET.Element(GROUP + "group", semantics="BUNDLE")
    ET.SubElement(group, GROUP + "content", name=mid)
    return [group, content]


def bare_transport(content, sdp):
    return ET.SubElement(content, ICE + "transport", ufrag=field(sdp, "ice-ufrag"), pwd=field(sdp, "ice-pwd"))


def candidates_of(sdp):
    """A content for transport-info per candidate."""
    for number, line in enumerate(line for line in sdp.splitlines() if line.startswith("a=candidate:")):
        foundation, component, protocol, priority, ip, port, _, kind = line[12:].split(" ")[:8]
        content = ET.Element(JINGLE + "content", creator="initiator", name=field(sdp, "mid"))
        ET.SubElement(bare_transport(content, sdp), ICE + "candidate", foundation=foundation, component=component, protocol=protocol.lower(),
                      priority=priority, ip=ip, port=port, type=kind, generation="0", id=f"c{number}", network="0")
        yield content


def remote_candidates(jingle):
    """The candidates of a Jingle element for aiortc."""
    for content in jingle.findall(JINGLE + "content"):
        for c in content.iter(ICE + "candidate"):
            if c.get("protocol") == "udp" and c.get("component") == "1":
                candidate = candidate_from_sdp(" ".join([c.get("foundation"), "1", "udp", c.get("priority"), c.get("ip"), c.get("port"), "typ", c.get("type")]))
                candidate.sdpMid = content.get("name")
                yield candidate


def audio_of(jingle):
    """The content with audio, or None."""
    for content in jingle.findall(JINGLE + "content"):
        description = content.find(RTP + "description")
        if description is not None and description.get("media") == "audio":
            return content


def sdp_of(content, kind):
    """The other side's content, without its candidates, for aiortc."""
    description, transport = content.find(RTP + "description"), content.find(ICE + "transport")
    fingerprint = transport.find(DTLS + "fingerprint")
    types, mid = description.findall(RTP + "payload-type"), content.get("name")
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {mid}",
             "m=audio 9 UDP/TLS/RTP/SAVPF " + " ".join(t.get("id") for t in types), "c=IN IP4 127.0.0.1",
             f"a=mid:{mid}", "a=sendrecv", "a=rtcp-mux", f"a=ice-ufrag:{transport.get('ufrag')}", f"a=ice-pwd:{transport.get('pwd')}",
             f"a=fingerprint:{fingerprint.get('hash')} {fingerprint.text.strip()}", f"a=setup:{fingerprint.get('setup')}"]
    for t in types:
        channels = f"/{t.get('channels')}" if t.get("channels", "1") != "1" else ""
        lines.append(f"a=rtpmap:{t.get('id')} {t.get('name')}/{t.get('clockrate')}{channels}")
    return RTCSessionDescription("\r\n".join(lines + [""]), kind)
