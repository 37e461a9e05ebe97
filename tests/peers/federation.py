"""Two people at two servers: ana at ours, rey at another's. Messages, subscriptions, presence, requests, rooms and their
archives, in both directions.
Arguments: our domain, theirs, their port for clients, their room service."""
import asyncio, sys
from client import Client, step
from slixmpp.exceptions import IqError

HERE, THERE, PORT, ROOMS = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


class Far(Client):
    """A client at the other server, which registers its account first."""

    def __init__(self, jid):
        super().__init__(jid)
        self.register_plugin("xep_0077")
        self.add_event_handler("register", self.enroll)

    async def enroll(self, _):
        request = self.Iq()
        request["type"] = "set"
        request["register"]["username"] = self.boundjid.user
        request["register"]["password"] = self.password
        await request.send()

    def open(self):
        self.connect("127.0.0.1", PORT)
        return self


def prepare(client):
    for plugin in ("xep_0045", "xep_0059", "xep_0313", "xep_0030", "xep_0199"):
        client.register_plugin(plugin)
    client.group = asyncio.Queue()
    client.add_event_handler("groupchat_message", client.group.put_nowait)
    return client


async def befriend(one, other, jids):
    one.send_presence(pto=jids[1], ptype="subscribe")
    await other.expect("presence_subscribe", lambda p: p["from"].bare == jids[0])
    other.send_presence(pto=jids[0], ptype="subscribed")
    await one.expect("presence_subscribed", lambda p: p["from"].bare == jids[1])
    await one.expect("presence_available", lambda p: p["from"].bare == jids[1])


async def heard(client, text):
    async def look():
        while True:
            message = await client.group.get()
            if message["body"] == text:
                return message
    return await asyncio.wait_for(look(), 15)


async def archive(client, room):
    texts = []
    results = client.plugin["xep_0313"].retrieve(jid=room, iterator=True, rsm={"max": 50})
    async for page in results:
        for result in page["mam"]["results"]:
            texts.append(result["mam_result"]["forwarded"]["stanza"]["body"])
    return [text for text in texts if text]


async def meet(owner, guest, room, name):
    """Both talk in a room of the owner's server, and the guest reads its archive from afar."""
    await owner.plugin["xep_0045"].join_muc_wait(room, "owner", timeout=15)
    form = await owner.plugin["xep_0045"].get_room_config(room)
    form["type"] = "submit"
    for field in ("muc#roomconfig_membersonly",):
        if field in form.get_fields():
            form.get_fields()[field]["value"] = False
    await owner.plugin["xep_0045"].set_room_config(room, form)
    await guest.plugin["xep_0045"].join_muc_wait(room, "guest", timeout=15)
    owner.send_message(mto=room, mbody=f"welcome to {name}", mtype="groupchat")
    await heard(guest, f"welcome to {name}")
    guest.send_message(mto=room, mbody=f"thanks for {name}", mtype="groupchat")
    await heard(owner, f"thanks for {name}")
    await heard(guest, f"thanks for {name}")
    step(f"talked in a room of {name}")
    for _ in range(50):
        texts = await archive(guest, room)
        if {f"welcome to {name}", f"thanks for {name}"} <= set(texts):
            break
        await asyncio.sleep(0.2)
    else:
        raise AssertionError(f"archive of {room}: {texts}")
    step(f"read the archive of a room of {name}")


async def main():
    ana = await prepare(Client(f"ana@{HERE}/tablet")).login()
    rey = await prepare(Far(f"rey@{THERE}/desk")).login()
    text = "Grüße <&> 'quoted' 🙂"
    ana.send_message(mto=f"rey@{THERE}", mbody=text, mtype="chat")
    got = await rey.expect("message", lambda m: m["body"] == text)
    assert got["from"].full == f"ana@{HERE}/tablet", got
    rey.send_message(mto=f"ana@{HERE}/tablet", mbody=text, mtype="chat")
    got = await ana.expect("message", lambda m: m["body"] == text)
    assert got["from"].full == f"rey@{THERE}/desk", got
    step("messages both ways")
    jids = [f"ana@{HERE}", f"rey@{THERE}"]
    await befriend(ana, rey, jids)
    await befriend(rey, ana, jids[::-1])
    step("subscribed both ways")
    ana.send_presence(pshow="away", pstatus="walking")
    await rey.expect("presence_away", lambda p: p["from"].full == f"ana@{HERE}/tablet" and p["status"] == "walking")
    rey.send_presence(pshow="away", pstatus="asleep")
    await ana.expect("presence_away", lambda p: p["from"].full == f"rey@{THERE}/desk" and p["status"] == "asleep")
    step("presence both ways")
    # A second device learns by probe.
    phone = await prepare(Client(f"ana@{HERE}/phone")).login()
    await phone.expect("presence_away", lambda p: p["from"].full == f"rey@{THERE}/desk")
    far = await prepare(Far(f"rey@{THERE}/laptop")).login()
    await far.expect("presence_away", lambda p: p["from"].full == f"ana@{HERE}/tablet")
    step("probes answered both ways")
    phone.disconnect()
    await rey.expect("presence_unavailable", lambda p: p["from"].full == f"ana@{HERE}/phone")
    far.disconnect()
    await ana.expect("presence_unavailable", lambda p: p["from"].full == f"rey@{THERE}/laptop")
    step("gone both ways")
    await ana.plugin["xep_0199"].send_ping(jid=THERE, timeout=15)
    await rey.plugin["xep_0199"].send_ping(jid=HERE, timeout=15)
    info = await rey.plugin["xep_0030"].get_info(jid=HERE)
    assert any(i[0] == "server" for i in info["disco_info"]["identities"]), info
    step("requests both ways")
    ana.send_message(mto=f"nobody@{THERE}", mbody="x", mtype="chat")
    rey.send_message(mto=f"nobody@{HERE}", mbody="x", mtype="chat")
    await ana.expect("message_error", lambda m: m["from"].bare == f"nobody@{THERE}")
    await rey.expect("message_error", lambda m: m["from"].bare == f"nobody@{HERE}")
    ana.send_message(mto="rey@nowhere.example", mbody="x", mtype="chat")
    error = await ana.expect("message_error", lambda m: m["from"].bare == "rey@nowhere.example")
    assert error["error"]["condition"] == "remote-server-not-found", error
    step("what cannot be delivered comes back")
    await meet(rey, ana, f"tea@{ROOMS}", "the other server")
    if "norooms" not in sys.argv:
        await meet(ana, rey, f"tea@rooms.{HERE}", "this server")


asyncio.get_event_loop().run_until_complete(asyncio.wait_for(main(), 100))
