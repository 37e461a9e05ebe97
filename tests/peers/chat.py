"""Three people: subscriptions, presence, messages, receipts, typing, carbons, errors."""
import asyncio, sys
from client import Client, step


async def main():
    domain = sys.argv[1]
    ana = await Client(f"ana@{domain}/tablet").login()
    julia = await Client(f"julia@{domain}/phone").login()
    other = await Client(f"julia@{domain}/laptop", direct=True).login()
    await julia.plugin["xep_0280"].enable()
    await other.plugin["xep_0280"].enable()

    ana.send_presence(pto=f"julia@{domain}", ptype="subscribe")
    await julia.expect("presence_subscribe")
    julia.send_presence(pto=f"ana@{domain}", ptype="subscribed")
    await ana.expect("presence_subscribed")
    await ana.expect("presence_available", lambda p: p["from"].full == f"julia@{domain}/phone")
    julia.send_presence(pto=f"ana@{domain}", ptype="subscribe")
    await ana.expect("presence_subscribe")
    ana.send_presence(pto=f"julia@{domain}", ptype="subscribed")
    await julia.expect("presence_subscribed")
    step("subscription asked and granted")
    await julia.expect("presence_available", lambda p: p["from"].full == f"ana@{domain}/tablet")
    ana.send_presence(pshow="away", pstatus="walking")
    await julia.expect("presence_away", lambda p: p["show"] == "away" and p["status"] == "walking")
    step("presence seen both ways")

    text = "Grüße <&> 'quoted' 🙂"
    message = ana.make_message(mto=f"julia@{domain}/phone", mbody=text, mtype="chat")
    message["request_receipt"] = True
    message["id"] = "m1"
    message.send()
    got = await julia.expect("message", lambda m: m["body"] == text)
    assert got["from"].full == f"ana@{domain}/tablet", got
    step("message delivered")
    await ana.expect("receipt_received", lambda m: m["receipt"] == "m1")
    step("receipt returned")
    state = ana.make_message(mto=f"julia@{domain}", mtype="chat")
    state["chat_state"] = "composing"
    state.send()
    await julia.expect("chatstate_composing")
    step("typing passed")
    copy = await other.expect("carbon_received", lambda m: m["carbon_received"]["body"] == text)
    assert copy["from"].full == f"julia@{domain}", copy
    step("carbon of a received message")
    julia.send_message(mto=f"ana@{domain}", mbody="answer", mtype="chat")
    await ana.expect("message", lambda m: m["body"] == "answer")
    await other.expect("carbon_sent", lambda m: m["carbon_sent"]["body"] == "answer")
    step("carbon of a sent message")

    ana.send_message(mto=f"nobody@{domain}", mbody="x", mtype="chat")
    error = await ana.expect("message_error")
    assert error["error"]["condition"] == "service-unavailable", error
    step("unknown account refused")
    ana.send_message(mto=f"echo@{domain}", mbody="is anybody there", mtype="chat")
    await ana.expect("message", lambda m: m["from"].bare == f"echo@{domain}" and m["body"] == "is anybody there")
    step("echo answered")

    iq = ana.make_iq_set(ito=f"julia@{domain}/phone")
    iq.append(slix_jingle())
    try:
        await iq.send(timeout=5)
        raise AssertionError("nobody implements Jingle here")
    except Exception as error:
        assert error.iq["error"]["condition"] in ("feature-not-implemented", "service-unavailable"), error
        assert error.iq["from"].full == f"julia@{domain}/phone", error.iq
    step("blocked by nobody: jingle iq passes untouched")

    await julia.disconnect()
    await ana.expect("presence_unavailable", lambda p: p["from"].full == f"julia@{domain}/phone")
    step("gone when logged out")


def slix_jingle():
    from xml.etree import ElementTree as ET

    return ET.Element("{urn:xmpp:jingle:1}jingle", {"action": "session-initiate", "sid": "1"})


asyncio.run(main())
