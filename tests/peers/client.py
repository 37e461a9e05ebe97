"""A slixmpp client for the stories."""
import asyncio, os, ssl
import slixmpp


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, password=None, mechanism=None, direct=False):
        name = jid.split("@")[0]
        options = {"sasl_mech": mechanism} if mechanism else {}
        super().__init__(jid, password or "secret-" + name, **options)
        for plugin in ("xep_0030", "xep_0085", "xep_0184", "xep_0199", "xep_0280"):
            self.register_plugin(plugin)
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE
        self.enable_direct_tls, self.enable_starttls, self.enable_plaintext = direct, not direct, False
        self.auto_authorize = None
        self.auto_subscribe = False
        self.direct = direct
        loop = asyncio.get_event_loop()
        self.up, self.refused, self.gone = loop.create_future(), loop.create_future(), loop.create_future()
        self.messages, self.presences = asyncio.Queue(), asyncio.Queue()
        self.kept_messages, self.kept_presences = [], []
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("failed_all_auth", lambda e: self.refused.done() or self.refused.set_result(e))
        self.add_event_handler("disconnected", lambda e: self.gone.done() or self.gone.set_result(e))
        for event in ("message", "receipt_received", "chatstate_composing", "carbon_received", "carbon_sent", "message_error"):
            self.add_event_handler(event, lambda m, e=event: self.messages.put_nowait((e, m)))
        for event in ("presence_available", "presence_away", "presence_unavailable", "presence_subscribe", "presence_subscribed"):
            self.add_event_handler(event, lambda p, e=event: self.presences.put_nowait((e, p)))

    async def started(self, _):
        self.send_presence()
        await self.get_roster()
        self.up.done() or self.up.set_result(True)

    def open(self):
        port = int(os.environ["XMPPS_PORT" if self.direct else "XMPP_PORT"])
        self.connect("127.0.0.1", port)
        return self

    async def login(self):
        self.open()
        await asyncio.wait_for(self.up, 10)
        return self

    async def expect(self, event, test=lambda stanza: True):
        """The first such event, now or within ten seconds. Others are kept for later expectations."""
        queue, kept = (self.presences, self.kept_presences) if event.startswith("presence") else (self.messages, self.kept_messages)

        async def look():
            for n, (got, stanza) in enumerate(kept):
                if got == event and test(stanza):
                    del kept[n]
                    return stanza
            while True:
                got, stanza = await queue.get()
                if got == event and test(stanza):
                    return stanza
                kept.append((got, stanza))

        try:
            return await asyncio.wait_for(look(), 10)
        except asyncio.TimeoutError:
            raise AssertionError(f"no {event}; kept: {[(e, str(s)) for e, s in kept]}") from None


def step(text):
    print(text, flush=True)
