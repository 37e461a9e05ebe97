"""An external component (XEP-0114) and a person: messages, requests and presence both ways; a second connection replaces
the first; who does not know the secret, or speaks for somebody else, is shown out."""
import asyncio, os, sys
import slixmpp
from slixmpp.xmlstream import ET
from client import Client, step

HOST, SECRET = "filter.localhost", "between us"


class Component(slixmpp.ComponentXMPP):
    def __init__(self, secret=SECRET):
        super().__init__(HOST, secret, "127.0.0.1", int(os.environ["COMPONENTS_PORT"]))
        for plugin in ("xep_0030", "xep_0199"):
            self.register_plugin(plugin)
        self.auto_authorize, self.auto_subscribe = None, False
        loop = asyncio.get_event_loop()
        self.up, self.gone = loop.create_future(), loop.create_future()
        self.errors, self.messages, self.presences = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()
        self.add_event_handler("session_start", lambda e: self.up.done() or self.up.set_result(True))
        self.add_event_handler("disconnected", lambda e: self.gone.done() or self.gone.set_result(True))
        self.add_event_handler("stream_error", self.errors.put_nowait)
        self.add_event_handler("message", self.messages.put_nowait)
        for event in ("presence_available", "presence_unavailable"):
            self.add_event_handler(event, self.presences.put_nowait)

    async def condition(self):
        error = await asyncio.wait_for(self.errors.get(), 10)
        await asyncio.wait_for(self.gone, 10)
        return error["condition"]


def connect(secret=SECRET):
    component = Component(secret)
    component.connect()
    return component


async def up(component):
    await asyncio.wait_for(component.up, 10)
    return component


async def main():
    ana = await Client("ana@localhost/tablet").login()
    ana.send_message(mto=f"bot@{HOST}", mbody="are you there", mtype="chat")
    await ana.expect("message_error")
    step("a component that is away is told of")
    wrong = connect("something else")
    assert await wrong.condition() == "not-authorized"
    step("a wrong secret is refused")

    component = await up(connect())
    ana.send_message(mto=f"bot@{HOST}/x", mbody="Grüße <&>", mtype="chat")
    got = await asyncio.wait_for(component.messages.get(), 10)
    assert got["body"] == "Grüße <&>" and got["from"].full == "ana@localhost/tablet" and got["to"].full == f"bot@{HOST}/x", got
    component.send_message(mto=got["from"], mfrom=f"bot@{HOST}/x", mbody="answer", mtype="chat")
    await ana.expect("message", lambda m: m["body"] == "answer" and m["from"].full == f"bot@{HOST}/x")
    step("messages both ways")
    info = await ana.plugin["xep_0030"].get_items(jid="localhost")
    assert HOST in [i[0] for i in info["disco_items"]["items"]], info
    await ana.plugin["xep_0199"].send_ping(jid=HOST)
    await component.plugin["xep_0199"].send_ping(jid="localhost", ifrom=HOST)
    step("requests both ways")
    ana.send_presence(pto=f"room@{HOST}/ana")
    got = await asyncio.wait_for(component.presences.get(), 10)
    assert got["to"].full == f"room@{HOST}/ana", got
    component.send_presence(pto="ana@localhost/tablet", pfrom=f"room@{HOST}/ana")
    await ana.expect("presence_available", lambda p: p["from"].full == f"room@{HOST}/ana")
    step("presence both ways")
    second = await up(connect())
    assert await component.condition() == "conflict"
    ana.send_message(mto=f"bot@{HOST}", mbody="to the second", mtype="chat")
    got = await asyncio.wait_for(second.messages.get(), 10)
    assert got["body"] == "to the second"
    step("a second connection replaces the first")
    ana.send_presence(ptype="unavailable")
    got = await asyncio.wait_for(second.presences.get(), 10)
    assert got["type"] == "unavailable" and got["to"].full == f"room@{HOST}/ana", got
    step("directed presence is taken back")
    second.send_message(mto="ana@localhost/tablet", mfrom="carl@localhost", mbody="forged", mtype="chat")
    assert await second.condition() == "invalid-from"
    step("a forged sender ends the stream")


asyncio.get_event_loop().run_until_complete(asyncio.wait_for(main(), 50))
