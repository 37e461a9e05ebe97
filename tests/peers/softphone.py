"""A softphone of slixmpp and aiortc: calls by XEP-0353 and by Jingle alone, with trickled candidates; messages with receipts
(XEP-0184), chat states (XEP-0085), carbons (XEP-0280), presence and subscriptions (RFC 6121).

Commands and events, JSON, one per line; each command ends in done {cmd} or error {cmd, text}:
  login {jid, password, port, direct?, enroll?}    over STARTTLS, or TLS at once; enroll makes the account first (XEP-0077) -> online {jid} | error
  history                                 of the archive (XEP-0313), what concerns calls, each as "action from", oldest first -> history {calls}
  presence {type?, to?, show?, status?}   any presence; subscribe, subscribed, unsubscribe, unsubscribed and unavailable are types
  message {to, body, id?}                 asks for a receipt -> receipt {from, id} | message_error {from, id, condition, text}
  raw {xml}                               a stanza as it is
  fetch {url}                             -> fetched {status, type, body}
  chat_state {to, state}
  call {to, tone, codecs?}                a bare JID is proposed to, a full one is sent session-initiate at once; codecs as in ["opus"],
                                          ["PCMA"]  -> ringing {from}, proceeding {from}, accepted, connected, ended
  auto_answer {tone, codecs?}             answers what comes in from now on
  ignore                                  says nothing to a proposal, as a device that nobody hears
  answer {tone, codecs?}                  proceeds, or accepts
  key {code, duration?}                   told by the session (XEP-0181) -> key_taken | key_refused {condition}
  hangup {reason?}                        retracts, cancels, rejects, declines or ends, whatever fits
  hear {seconds?}                         -> heard {hz, level, purity} of the seconds that follow
  stats                                   -> stats {codec, local, remote, sent, received} of the call
  logout
Unasked: presence {from, type, show, status}, message {from, to, body, id, type, receipt, subject, thread, lang, delay, url, carbon: sent|received}, chat_state {from, state},
  incoming {from, sid, via: propose|jingle, nick}, connected {sid}, finish {sid, from, reason}, offline, error {text},
  where XEP-0353 says it (incoming, ringing, proceeding, finish, ended): form, as in "chat, stored, to all";
  ended {sid, by, reason, text}; by is us, terminate, reject, retract, elsewhere (another device of ours), error or media.
"""
import asyncio, ssl, urllib.request, uuid
from xml.etree import ElementTree as ET

import slixmpp
from aiortc import RTCConfiguration, RTCPeerConnection
from jingle import FEATURES, JINGLE, RTP, Ears, Tone, audio_of, candidates_of, content_of, prefer, remote_candidates, sdp_of
from lines import follow, say
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

JMI = "{urn:xmpp:jingle-message:0}"
CLIENT = "{jabber:client}"
MAM = "{urn:xmpp:mam:2}"


class Call:
    def __init__(self, sid, peer, ours, proposed):
        self.sid, self.peer, self.ours, self.proposed = sid, slixmpp.JID(peer), ours, proposed
        self.state = "proposed" if proposed else "pending"  # then pending, active
        self.offer, self.media, self.ears, self.early, self.wish = None, None, None, [], None


class Softphone:
    def __init__(self):
        self._xmpp, self._call, self._auto, self._silent, self._form = None, None, None, False, None

    # Chat

    def login(self, jid, password, port, direct=False, enroll=False):
        xmpp = self._xmpp = slixmpp.ClientXMPP(jid, password)
        for plugin in ("xep_0030", "xep_0085", "xep_0115", "xep_0184", "xep_0199", "xep_0280", "xep_0353"):
            xmpp.register_plugin(plugin)
        if enroll:
            xmpp.register_plugin("xep_0077")
            xmpp.add_event_handler("register", self._enroll)
        for feature in FEATURES:
            xmpp.plugin["xep_0030"].add_feature(feature)
        xmpp.ssl_context.check_hostname, xmpp.ssl_context.verify_mode = False, ssl.CERT_NONE
        xmpp.enable_direct_tls, xmpp.enable_starttls, xmpp.enable_plaintext = direct, not direct, False
        xmpp.auto_authorize, xmpp.auto_subscribe = None, False
        xmpp.add_event_handler("session_start", self._online)
        xmpp.add_event_handler("failed_all_auth", lambda _: say("error", text="not authorized"))
        xmpp.add_event_handler("disconnected", lambda _: say("offline"))
        xmpp.add_event_handler("message", self._message)
        xmpp.add_event_handler("message_error", lambda m: say("message_error", **{"from": m["from"].full}, id=m["id"], condition=m["error"]["condition"], text=m["error"]["text"]))
        xmpp.add_event_handler("receipt_received", lambda m: say("receipt", **{"from": m["from"].full}, id=m["receipt"]))
        xmpp.add_event_handler("chatstate", lambda m: say("chat_state", **{"from": m["from"].full}, state=m["chat_state"]))
        xmpp.add_event_handler("carbon_sent", lambda m: self._carbon(m["carbon_sent"], "sent"))
        xmpp.add_event_handler("carbon_received", lambda m: self._carbon(m["carbon_received"], "received"))
        xmpp.register_handler(Callback("presences", MatchXPath(CLIENT + "presence"), self._presence))
        xmpp.register_handler(Callback("jingle", MatchXPath(f"{CLIENT}iq/{JINGLE}jingle"), self._jingle))
        for action in ("propose", "ringing", "proceed", "reject", "retract", "finish"):
            xmpp.register_handler(Callback(action, MatchXPath(f"{CLIENT}message/{JMI}{action}"), self._initiation))
        xmpp.connect("127.0.0.1", port)

    async def _online(self, _):
        await self._xmpp.plugin["xep_0280"].enable()
        await self._xmpp.get_roster()
        self._xmpp.send_presence()
        say("online", jid=self._xmpp.boundjid.full)

    async def _enroll(self, _):
        request = self._xmpp.make_iq_set()
        request["register"]["username"], request["register"]["password"] = self._xmpp.boundjid.user, self._xmpp.password
        await request.send()

    async def history(self):
        results = []
        taken = Callback("history", MatchXPath(f"{CLIENT}message/{MAM}result"), lambda m: results.append(m.xml.find(f"{MAM}result/*/{CLIENT}message")))
        self._xmpp.register_handler(taken)
        iq = self._xmpp.make_iq_set()
        ET.SubElement(iq.xml, MAM + "query", queryid="calls")
        await iq.send(timeout=10)
        self._xmpp.remove_handler("history")
        actions = [(child.tag.removeprefix(JMI), m.get("from").partition("/")[0]) for m in results for child in m if child.tag.startswith(JMI)]
        say("history", calls=[" ".join(action) for action in actions])

    def _presence(self, p):
        get = lambda name: p.xml.findtext(CLIENT + name)
        say("presence", **{"from": p["from"].full}, type=p.xml.get("type", "available"), show=get("show"), status=get("status"))

    def _message(self, m, **more):
        if m["type"] != "error" and m["body"]:
            get = lambda path: next((e.text or e.get("stamp") for e in m.xml.iterfind(path)), None)
            say("message", **{"from": m["from"].full}, to=m["to"].full, body=m["body"], id=m["id"], receipt=bool(m["request_receipt"]), type=m["type"],
                subject=get(CLIENT + "subject"), thread=get(CLIENT + "thread"), lang=m.xml.get("{http://www.w3.org/XML/1998/namespace}lang"),
                delay=get("{urn:xmpp:delay}delay"), url=get("{jabber:x:oob}x/{jabber:x:oob}url"), **more)

    def _carbon(self, m, direction):
        self._message(m, carbon=direction)
        call = self._call
        for action in m.xml:
            if action.tag in (JMI + "proceed", JMI + "reject") and call and call.sid == action.get("id") and call.state == "proposed" and direction == "sent":
                self._over("elsewhere", action.tag.removeprefix(JMI))

    def presence(self, to=None, type=None, show=None, status=None):
        self._xmpp.send_presence(pto=to, ptype=type, pshow=show, pstatus=status)

    def message(self, to, body, id=None):
        m = self._xmpp.make_message(mto=to, mbody=body, mtype="chat")
        m["id"] = id or str(uuid.uuid4())
        m["request_receipt"] = True
        m.send()

    def raw(self, xml):
        self._xmpp.send_raw(xml)

    async def fetch(self, url):
        def get():
            with urllib.request.urlopen(url, context=ssl._create_unverified_context(), timeout=10) as answer:
                return answer.status, answer.headers.get("Content-Type"), answer.read().decode("utf-8", "replace")

        status, kind, body = await asyncio.get_running_loop().run_in_executor(None, get)
        say("fetched", status=status, type=kind, body=body)

    def chat_state(self, to, state):
        m = self._xmpp.make_message(mto=to, mtype="chat")
        m["chat_state"] = state
        m.send()

    async def logout(self):
        if self._xmpp:
            await asyncio.wait_for(self._xmpp.disconnect(wait=1), 3)

    # What may begin a call, and how it may end: XEP-0353

    def _initiate(self, to, action, sid, *children):
        m = self._xmpp.make_message(mto=to, mtype="chat")
        element = ET.Element(JMI + action, id=sid)
        element.extend(children)
        m.append(element)
        m.append(ET.Element("{urn:xmpp:hints}store"))
        m.send()

    def _initiation(self, m):
        element = next(child for child in m.xml if child.tag.startswith(JMI))
        action, sid, call = element.tag.removeprefix(JMI), element.get("id"), self._call
        if m["type"] == "error" or m["from"].bare == self._xmpp.boundjid.bare and action == "propose":
            return
        self._form = form_of(m)
        if action == "propose":
            return self._proposed(m["from"], sid, m.xml.findtext("{http://jabber.org/protocol/nick}nick"))
        if action == "finish":
            return say("finish", sid=sid, **{"from": m["from"].full}, reason=reason_of(element), form=self._form)
        if not call or call.sid != sid or call.peer.bare != m["from"].bare or call.state != "proposed":
            return
        match action:
            case "ringing":
                say("ringing", sid=sid, **{"from": m["from"].full}, form=self._form)
            case "proceed" if call.ours:
                call.peer = m["from"]
                say("proceeding", sid=sid, **{"from": m["from"].full}, form=self._form)
                self._later(self._offer(call))
            case "reject" | "retract":
                self._over(action, reason_of(element), text_of(element))

    def _proposed(self, peer, sid, nick):
        if self._call:
            return self._initiate(peer, "reject", sid, reason_element("busy"))
        self._call = Call(sid, peer, ours=False, proposed=True)
        say("incoming", sid=sid, **{"from": peer.full}, via="propose", form=self._form, nick=nick)
        if not self._silent:
            self._initiate(peer, "ringing", sid)
        if self._auto:
            self.answer(**self._auto)

    def call(self, to, tone, codecs=None):
        if self._call:
            raise RuntimeError("in a call")
        full = bool(slixmpp.JID(to).resource)
        call = self._call = Call(str(uuid.uuid4()), to, ours=True, proposed=not full)
        call.wish = (tone, codecs)
        if full:
            return self._later(self._offer(call))
        self._initiate(to, "propose", call.sid, ET.Element(RTP + "description", media="audio"))

    def _now(self):
        if not self._call:
            raise RuntimeError("no call")
        return self._call

    def auto_answer(self, tone, codecs=None):
        self._auto = {"tone": tone, "codecs": codecs}

    def ignore(self):
        self._silent = True

    def answer(self, tone, codecs=None):
        call = self._now()
        call.wish = (tone, codecs)
        if call.state == "proposed":
            self._initiate(call.peer, "proceed", call.sid)
        else:
            self._later(self._accept(call))

    async def hangup(self, reason=None):
        call = self._now()
        if call.state == "proposed":
            to, action, usual = (call.peer.bare, "retract", "cancel") if call.ours else (call.peer, "reject", "busy")
            self._initiate(to, action, call.sid, reason_element(reason or usual))
            return self._over("us", reason or usual)
        usual = "success" if call.state == "active" else "cancel" if call.ours else "decline"
        sent = self._send(call, "session-terminate", reason_element(reason or usual))
        self._over("us", reason or usual)
        await sent

    async def inform(self, what):
        await self._send(self._now(), "session-info", ET.Element(f"{{urn:xmpp:jingle:apps:rtp:info:1}}{what}"))

    async def key(self, code, duration=200):
        dtmf = ET.Element("{urn:xmpp:jingle:dtmf:0}dtmf", code=code, duration=str(duration))
        try:
            await self._send(self._now(), "session-info", dtmf)
            say("key_taken")
        except IqError as error:
            say("key_refused", condition=error.iq["error"]["condition"])

    async def modify(self, senders):
        creator = "initiator"
        content = ET.Element(JINGLE + "content", creator=creator, name=self._content_name(), senders=senders)
        await self._send(self._now(), "content-modify", content)

    def _content_name(self):
        call = self._now()
        return call.offer.find(JINGLE + "content").get("name") if call.offer is not None else "0"

    async def transfer(self, to, sid=None):
        element = ET.Element("{urn:xmpp:jingle:transfer:0}transfer", to=to)
        if sid:
            element.set("sid", sid)
        await self._send(self._now(), "session-info", element)

    def _over(self, by, reason, text=None):
        call, self._call = self._call, None
        say("ended", sid=call.sid, by=by, reason=reason, text=text, form=self._form if by in ("reject", "retract") else None)
        if call.media:
            self._later(call.media.close())
        if call.proposed and call.state != "proposed":
            self._initiate(call.peer, "finish", call.sid, reason_element(reason or "success"))

    # Jingle

    def _send(self, call, action, *children):
        iq = self._xmpp.make_iq_set(ito=call.peer)
        jingle = ET.Element(JINGLE + "jingle", action=action, sid=call.sid)
        if action in ("session-initiate", "session-accept"):
            jingle.set("initiator" if call.ours else "responder", self._xmpp.boundjid.full)
        jingle.extend(children)
        iq.append(jingle)
        return iq.send(timeout=10)

    def _later(self, work):
        async def attempt():
            try:
                await work
            except (IqError, IqTimeout) as error:
                if self._call:
                    self._over("error", error.iq["error"]["condition"] if isinstance(error, IqError) else "timeout")
            except Exception as error:
                say("error", text=f"{type(error).__name__}: {error}")

        asyncio.ensure_future(attempt())

    def _media(self, call):
        call.media = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        call.media.on("track", lambda track: setattr(call, "ears", Ears(track)))

        @call.media.on("connectionstatechange")
        def changed():
            if call.media.connectionState == "connected":
                say("connected", sid=call.sid)
            elif call.media.connectionState == "failed" and self._call is call:
                self._later(self.hangup("connectivity-error"))

    def _speak(self, call):
        tone, codecs = call.wish
        call.media.addTrack(Tone(tone))
        if codecs:
            prefer(call.media, codecs)

    async def _offer(self, call):
        call.state = "pending"
        self._media(call)
        self._speak(call)
        await call.media.setLocalDescription(await call.media.createOffer())
        await self._say_ours(call, "session-initiate")

    async def _accept(self, call):
        self._media(call)
        self._speak(call)
        await call.media.setRemoteDescription(sdp_of(audio_of(call.offer), "offer"))
        await call.media.setLocalDescription(await call.media.createAnswer())
        call.state = "active"
        await self._take(call, call.early)
        await self._say_ours(call, "session-accept")

    async def _say_ours(self, call, action):
        sdp = call.media.localDescription.sdp
        await self._send(call, action, *content_of(sdp))
        for content in candidates_of(sdp) if self._call is call else ():
            await self._send(call, "transport-info", content)

    async def _take(self, call, candidates):
        for candidate in candidates:
            await call.media.addIceCandidate(candidate)

    def _jingle(self, iq):
        jingle = iq.xml.find(JINGLE + "jingle")
        action, sid, call = jingle.get("action"), jingle.get("sid"), self._call
        if iq["type"] != "set":
            return
        if action != "session-initiate" and (not call or call.sid != sid or call.peer != iq["from"]):
            error = iq.reply()
            error["type"] = "error"
            error["error"]["type"], error["error"]["condition"] = "cancel", "item-not-found"
            error["error"].append(ET.Element("{urn:xmpp:jingle:errors:1}unknown-session"))
            return error.send()
        iq.reply().send()
        match action:
            case "session-initiate":
                self._initiated(iq["from"], sid, jingle)
            case "session-accept":
                call.state = "active"
                say("accepted", sid=sid)
                self._later(self._accepted(call, jingle))
            case "transport-info":
                candidates = list(remote_candidates(jingle))
                if call.media and call.media.remoteDescription:
                    self._later(self._take(call, candidates))
                else:
                    call.early += candidates
            case "session-info":
                for info in jingle:
                    more = {key: info.get(key) for key in ("signalling", "media") if info.get(key)}
                    say(info.tag.partition("}")[2], sid=sid, **{"from": iq["from"].full}, **more)
            case "session-terminate":
                self._over("terminate", reason_of(jingle), text_of(jingle))

    def _initiated(self, peer, sid, jingle):
        call = self._call
        if call and call.sid == sid and call.state == "proposed" and not call.ours and call.wish:
            call.peer, call.state = peer, "pending"
        elif call:
            self._later(self._send(Call(sid, peer, ours=False, proposed=False), "session-terminate", reason_element("busy")))
            return
        else:
            call = self._call = Call(sid, peer, ours=False, proposed=False)
            say("incoming", sid=sid, **{"from": peer.full}, via="jingle")
        call.offer, call.early = jingle, list(remote_candidates(jingle))
        if call.proposed:
            self._later(self._accept(call))
        elif self._auto:
            self.answer(**self._auto)
        else:
            self._later(self._send(call, "session-info", ET.Element("{urn:xmpp:jingle:apps:rtp:info:1}ringing")))

    async def _accepted(self, call, jingle):
        await call.media.setRemoteDescription(sdp_of(audio_of(jingle), "answer"))
        await self._take(call, call.early + list(remote_candidates(jingle)))

    # Sound

    async def hear(self, seconds=2):
        say("heard", **await self._now().ears.hear(seconds))

    async def stats(self):
        media = self._now().media
        reports = (await media.getStats()).values()
        counted = lambda kind, name: next((getattr(r, name) for r in reports if r.type == kind), None)
        [transceiver] = media.getTransceivers()
        pair = transceiver.sender.transport.transport._connection._nominated.get(1)
        address = lambda candidate: f"{candidate.host}:{candidate.port}" if candidate else None
        say("stats", codec=transceiver._codecs[0].mimeType, local=address(pair and pair.local_candidate), remote=address(pair and pair.remote_candidate),
            sent=counted("outbound-rtp", "packetsSent"), received=counted("inbound-rtp", "packetsReceived"))


def reason_element(name):
    element = ET.Element(JINGLE + "reason")
    ET.SubElement(element, JINGLE + name)
    return element


def form_of(m):
    """What XEP-0353 section 3 asks of every message about a call, and to whom it went."""
    stored = m.xml.find("{urn:xmpp:hints}store") is not None
    return f"{m['type']}, {'stored' if stored else 'not stored'}, to {'one device' if m['to'].resource else 'all'}"


def reason_of(element):
    found = element.find(f"{JINGLE}reason/*")
    return None if found is None else found.tag.removeprefix(JINGLE)


def text_of(element):
    return element.findtext(f"{JINGLE}reason/{JINGLE}text")


async def main():
    phone = Softphone()
    await follow(phone)
    if phone._call:
        await phone.hangup()
    await phone.logout()


asyncio.run(main())
