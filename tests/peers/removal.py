"""An operator removes an account that is online, in a room and somebody's contact, beside the server that runs."""
import asyncio, os, subprocess
from slixmpp import JID
from client import Client, step

DOMAIN = "localhost"
ROOM = JID(f"tea@rooms.{DOMAIN}")


class Guest(Client):
    def __init__(self, name):
        super().__init__(f"{name}@{DOMAIN}/x", "secret-" + name)
        self.register_plugin("xep_0045")
        self.muc = self["xep_0045"]
        self.seen = asyncio.Queue()
        self.add_event_handler("groupchat_presence", self.seen.put_nowait)

    async def sees(self, test):
        async def look():
            while not test(await self.seen.get()):
                pass

        await asyncio.wait_for(look(), 10)


def operator(*arguments):
    command = [os.environ["TANDEM_BIN"], "user", *arguments, "--config", os.environ["CONFIG"]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


async def main():
    ana, julia = [await Guest(name).login() for name in ("ana", "julia")]
    for asks, grants in ((ana, julia), (julia, ana)):
        asks.send_presence_subscription(grants.boundjid.bare)
        await grants.expect("presence_subscribe")
        grants.send_presence(pto=asks.boundjid.bare, ptype="subscribed")
        await asks.expect("presence_subscribed")
    await ana.muc.join_muc_wait(ROOM, "Ana", timeout=10)
    await ana.muc.set_room_config(ROOM, await ana.muc.get_room_config(ROOM))
    await ana.muc.set_affiliation(ROOM, "member", jid=JID(f"julia@{DOMAIN}"))
    await julia.muc.join_muc_wait(ROOM, "Julia", timeout=10)
    await ana.sees(lambda p: p["from"].resource == "Julia" and p["type"] != "unavailable")

    done = await asyncio.to_thread(operator, "remove", f"julia@{DOMAIN}")
    assert done.returncode == 0, done
    await asyncio.wait_for(julia.gone, 10)
    step("her session has ended")
    await ana.sees(lambda p: p["from"].resource == "Julia" and p["type"] == "unavailable")
    members = await ana.muc.get_affiliation_list(ROOM, "member", timeout=10)
    assert not members, members
    step("the room has let go of her")
    roster = await ana.get_roster()
    kept = {str(jid): item["subscription"] for jid, item in roster["roster"]["items"].items()}
    assert kept.get(f"julia@{DOMAIN}", "none") == "none", kept
    step("her contact has let go of her")
    done = await asyncio.to_thread(operator, "remove", f"julia@{DOMAIN}")
    assert done.returncode != 0 and "there is no" in done.stderr, done
    step("and once is enough")
    back = Client(f"julia@{DOMAIN}/x", mechanism="SCRAM-SHA-256").open()
    await asyncio.wait_for(back.refused, 10)
    step("she does not come back")


asyncio.run(main())
