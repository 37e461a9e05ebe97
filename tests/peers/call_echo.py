"""Calls the echo address with aiortc and hears its own tone: call_echo.py propose|direct CODEC HERTZ.

XEP-0353, or session-initiate at once; all candidates are in it.
"""
import asyncio, sys
from xml.etree import ElementTree as ET

import numpy
from aiortc import RTCConfiguration, RTCPeerConnection
from client import Client, step
from jingle import ICE, JINGLE, RTP, Tone, audio_of, candidates_of, content_of, prefer, remote_candidates, sdp_of

JMI = "{urn:xmpp:jingle-message:0}"


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
    prefer(connection, [codec])
    await connection.setLocalDescription(await connection.createOffer())
    iq = ana.make_iq_set(ito=peer)
    offer = ET.Element(JINGLE + "jingle", action="session-initiate", sid=sid)
    offer.extend(content_of(connection.localDescription.sdp))
    for content in candidates_of(connection.localDescription.sdp):
        offer.find(f"{JINGLE}content/{ICE}transport").extend(content.iter(ICE + "candidate"))
    iq.append(offer)
    await iq.send(timeout=10)
    accept = await asyncio.wait_for(requests.get(), 10)
    jingle = accept.xml.find(JINGLE + "jingle")
    assert jingle.get("action") == "session-accept", ET.tostring(jingle)
    ana.make_iq_result(id=accept["id"], ito=accept["from"]).send()
    await connection.setRemoteDescription(sdp_of(audio_of(jingle), "answer"))
    for candidate in remote_candidates(jingle):
        await connection.addIceCandidate(candidate)
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
