"""Messages to somebody who is away: offline.py send|receive|receive-none."""
import asyncio, sys
from client import Client, step


async def main():
    if sys.argv[1] == "send":
        ana = await Client("ana@localhost/x").login()
        for n in range(20):
            ana.send_message(mto="julia@localhost", mbody=f"note {n}", mtype="chat")
        # Stanzas of one sender are handled in order: this answer says that all of them were taken.
        await ana.plugin["xep_0199"].ping("localhost", timeout=10)
        step("sent")
        return
    julia = await Client("julia@localhost/y").login()
    if sys.argv[1] == "receive":
        for n in range(20):
            message = await julia.expect("message")
            assert message["body"] == f"note {n}", message
        step("20 messages in order")
    await julia.plugin["xep_0199"].ping("localhost", timeout=10)
    assert julia.messages.empty(), julia.messages.get_nowait()
    step("nothing waits")
    await julia.disconnect()


asyncio.run(main())
