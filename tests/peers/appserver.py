"""An app server (XEP-0357): a component (XEP-0114) that is told when a device has to be woken.

Commands and events, JSON, one per line; each command ends in done {cmd} or error {cmd, text}:
  start {host, secret, port}      -> ready
Unasked: pushed {node, urgent}.
"""
import asyncio

import slixmpp
from lines import follow, say
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

PUBSUB = "{http://jabber.org/protocol/pubsub}"


class AppServer:
    async def start(self, host, secret, port):
        self._component = slixmpp.ComponentXMPP(host, secret, "127.0.0.1", port)
        self._component.add_event_handler("session_start", lambda _: say("ready"))
        self._component.register_handler(Callback("publish", StanzaPath("iq@type=set"), self._published))
        self._component.connect()

    def _published(self, iq):
        iq.reply().send()
        node = iq.xml.find(f"{PUBSUB}pubsub/{PUBSUB}publish").get("node")
        say("pushed", node=node, urgent=iq.xml.find(".//{tigase:push:priority:0}priority") is not None)


async def main():
    server = AppServer()
    await follow(server)


asyncio.run(main())
