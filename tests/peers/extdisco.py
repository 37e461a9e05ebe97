"""Relays (XEP-0215): prints what the server announces and the credentials it gives for one of them."""
import asyncio, json, sys
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET
from client import Client, step

NS = "urn:xmpp:extdisco:2"


async def ask(client, payload):
    iq = client.make_iq_get(ito="localhost")
    iq.append(payload)
    answer = (await iq.send(timeout=10)).xml
    return [dict(service.attrib) for service in answer.iter(f"{{{NS}}}service")]


async def main():
    ana = await Client("ana@localhost/tablet").login()
    info = await ana.plugin["xep_0030"].get_info(jid="localhost")
    assert NS in info["disco_info"]["features"], info
    services = await ask(ana, ET.Element(f"{{{NS}}}services"))
    assert [s["type"] for s in services] == ["stun", "turn", "stun", "turn"], services
    turn = await ask(ana, ET.Element(f"{{{NS}}}services", {"type": "turn"}))
    assert all(s["type"] == "turn" and s["restricted"] == "true" and s["expires"].endswith("Z") for s in turn), turn
    query = ET.Element(f"{{{NS}}}credentials")
    ET.SubElement(query, f"{{{NS}}}service", {"type": "turn", "host": turn[0]["host"]})
    credentials = (await ask(ana, query))[0]
    query = ET.Element(f"{{{NS}}}credentials")
    ET.SubElement(query, f"{{{NS}}}service", {"type": "turn", "host": "elsewhere"})
    try:
        await ask(ana, query)
        raise AssertionError("credentials for a relay that is not ours")
    except IqError as error:
        assert error.iq["error"]["condition"] == "item-not-found", error.iq
    step(json.dumps(credentials))


asyncio.run(main())
