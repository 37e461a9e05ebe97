"""Calls the echo address with aiortc and hears its own tone: call_echo.py propose|direct CODEC HERTZ.

Jingle is written by hand here (XEP-0166, 0167, 0176, 0320, 0353), so that it shares nothing with the server's own.
"""
import asyncio, fractions, sys, time
from xml.etree import ElementTree as ET

import aioice.ice
import numpy
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame
from client import Client, step

# aioice leaves loopback out; the tests know no other network.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

JINGLE, RTP = "{urn:xmpp:jingle:1}", "{urn:xmpp:jingle:apps:rtp:1}"
ICE, DTLS, JMI = "{urn:xmpp:jingle:transports:ice-udp:1}", "{urn:xmpp:jingle:apps:dtls:0}", "{urn:xmpp:jingle-message:0}"


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self, hertz):
        super().__init__()
        self.hertz, self.position, self.begun = hertz, 0, None

    async def recv(self):
        self.begun = self.begun or time.time()
        await asyncio.sleep(max(0, self.begun + self.position / 48000 - time.time()))
        at = numpy.arange(self.position, self.position + 960) / 48000
        samples = (9000 * numpy.sin(2 * numpy.pi * self.hertz * at)).astype(numpy.int16)
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, self.position, fractions.Fraction(1, 48000)
        self.position += 960
        return frame


async def heard(track, hertz):
    """Waits for a second of the tone, in blocks of 100 ms where nothing else is louder."""
    buffer, good = numpy.zeros(0), 0
    while good < 10:
        frame = await track.recv()
        buffer = numpy.append(buffer, frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)])
        size = frame.sample_rate // 10
        while len(buffer) >= size:
            block, buffer = buffer[:size], buffer[size:]
            power = numpy.abs(numpy.fft.rfft(block * numpy.hanning(size))) ** 2
            peak = int(numpy.argmax(power[1:]) + 1)
            right = abs(peak * frame.sample_rate / size - hertz) <= 15 and power[peak] > 1e9
            good += right and power[max(0, peak - 3) : peak + 4].sum() > 0.9 * power.sum()


def field(sdp, name):
    return next(line.split(":", 1)[1] for line in sdp.splitlines() if line.startswith(f"a={name}:"))


def offer_of(sdp, sid, codec):
    """The content of our SDP, with one codec only."""
    jingle = ET.Element(JINGLE + "jingle", action="session-initiate", sid=sid)
    content = ET.SubElement(jingle, JINGLE + "content", creator="initiator", name="0", senders="both")
    description = ET.SubElement(content, RTP + "description", media="audio")
    for line in sdp.splitlines():
        if line.startswith("a=rtpmap:"):
            number, name = line[9:].split(" ", 1)
            name, clock, *channels = name.split("/")
            if name.lower() == codec.lower():
                ET.SubElement(description, RTP + "payload-type", id=number, name=name, clockrate=clock, channels=(channels or ["1"])[0])
    ET.SubElement(description, RTP + "rtcp-mux")
    transport = ET.SubElement(content, ICE + "transport", ufrag=field(sdp, "ice-ufrag"), pwd=field(sdp, "ice-pwd"))
    hash_name, value = next(l[14:] for l in sdp.splitlines() if l.startswith("a=fingerprint:sha-256 ")).split(" ")
    ET.SubElement(transport, DTLS + "fingerprint", hash=hash_name, setup="actpass").text = value
    for number, line in enumerate(l for l in sdp.splitlines() if l.startswith("a=candidate:")):
        foundation, component, protocol, priority, ip, port, _, kind = line[12:].split(" ")[:8]
        ET.SubElement(transport, ICE + "candidate", foundation=foundation, component=component, protocol=protocol.lower(), priority=priority,
                      ip=ip, port=port, type=kind, generation="0", id=f"c{number}", network="0")
    return jingle


def answer_of(jingle):
    content = jingle.find(JINGLE + "content")
    description, transport = content.find(RTP + "description"), content.find(ICE + "transport")
    fingerprint = transport.find(DTLS + "fingerprint")
    types = description.findall(RTP + "payload-type")
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
             "m=audio 9 UDP/TLS/RTP/SAVPF " + " ".join(t.get("id") for t in types), "c=IN IP4 127.0.0.1",
             "a=mid:0", "a=sendrecv", "a=rtcp-mux",
             f"a=ice-ufrag:{transport.get('ufrag')}", f"a=ice-pwd:{transport.get('pwd')}",
             f"a=fingerprint:{fingerprint.get('hash')} {fingerprint.text}", f"a=setup:{fingerprint.get('setup')}"]
    for t in types:
        channels = "/2" if t.get("channels") == "2" else ""
        lines.append(f"a=rtpmap:{t.get('id')} {t.get('name')}/{t.get('clockrate')}{channels}")
    for c in transport.findall(ICE + "candidate"):
        lines.append(f"a=candidate:{c.get('foundation')} {c.get('component')} {c.get('protocol')} {c.get('priority')} {c.get('ip')} {c.get('port')} typ {c.get('type')}")
    return RTCSessionDescription("\r\n".join(lines + ["a=end-of-candidates", ""]), "answer")


async def main():
    how, codec, hertz = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ana = await Client("ana@localhost/tablet").login()
    requests, calls = asyncio.Queue(), asyncio.Queue()
    from slixmpp.xmlstream.handler import Callback
    from slixmpp.xmlstream.matcher import MatchXPath
    ana.register_handler(Callback("jingle", MatchXPath("{jabber:client}iq/" + JINGLE + "jingle"), requests.put_nowait))
    ana.register_handler(Callback("proceed", MatchXPath("{jabber:client}message/" + JMI + "proceed"), calls.put_nowait))
    peer, sid = "echo@localhost/service", f"call-{hertz}"
    if how == "propose":
        message = ana.make_message(mto="echo@localhost", mtype="chat")
        propose = ET.Element(JMI + "propose", id=sid)
        ET.SubElement(propose, RTP + "description", media="audio")
        message.append(propose)
        message.send()
        proceed = await asyncio.wait_for(calls.get(), 10)
        assert proceed.xml.find(JMI + "proceed").get("id") == sid
        peer = proceed["from"].full
        step("proceeded")
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks = asyncio.get_event_loop().create_future()
    connection.on("track", tracks.set_result)
    connection.addTrack(Tone(hertz))
    await connection.setLocalDescription(await connection.createOffer())
    iq = ana.make_iq_set(ito=peer)
    iq.append(offer_of(connection.localDescription.sdp, sid, codec))
    await iq.send(timeout=10)
    accept = await asyncio.wait_for(requests.get(), 10)
    jingle = accept.xml.find(JINGLE + "jingle")
    assert jingle.get("action") == "session-accept", ET.tostring(jingle)
    ana.make_iq_result(id=accept["id"], ito=accept["from"]).send()
    await connection.setRemoteDescription(answer_of(jingle))
    await asyncio.wait_for(heard(await asyncio.wait_for(tracks, 10), hertz), 20)
    step(f"heard {hertz} Hz in {codec}")
    iq = ana.make_iq_set(ito=peer)
    iq.append(ET.fromstring(f"<jingle xmlns='urn:xmpp:jingle:1' action='session-terminate' sid='{sid}'><reason><success/></reason></jingle>"))
    await iq.send(timeout=10)
    iq = ana.make_iq_set(ito=peer)
    iq.append(ET.fromstring(f"<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='{sid}'/>"))
    try:
        await iq.send(timeout=10)
        raise AssertionError("the session should be gone")
    except Exception as error:
        assert error.iq["error"]["condition"] == "item-not-found", error
    step("hung up")
    await connection.close()


asyncio.run(main())
