"""Accounts: block and report, invite, roster versions, passwords, removal, registration, administration."""
import asyncio, os, re, socket, ssl, sys, urllib.request
from xml.etree import ElementTree as ET
from client import Client, step

COMMANDS = "http://jabber.org/protocol/commands"
FORM = "jabber:x:data"
REGISTER = "jabber:iq:register"
BLOCKING = "urn:xmpp:blocking"


def tls():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Raw:
    """A stream of our own, before any login."""

    def __init__(self, domain):
        plain = socket.create_connection(("127.0.0.1", int(os.environ["XMPPS_PORT"])), timeout=10)
        self.socket = tls().wrap_socket(plain, server_hostname=domain)
        self.features = self.say(
            f"<stream:stream to='{domain}' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>", "</stream:features>")

    def say(self, text, end):
        self.socket.sendall(text.encode())
        got = ""
        while not re.search(end, got):
            part = self.socket.recv(65536).decode()
            assert part, f"closed after {got}"
            got += part
        return got

    def ask(self, text):
        return self.say(text, "</iq>|<iq [^>]*/>")

    def register(self, name, password="long enough"):
        return self.ask(f"<iq type='set' id='r'><query xmlns='{REGISTER}'><username>{name}</username>"
                        f"<password>{password}</password></query></iq>")


async def ask(client, element, to=None, kind="set"):
    iq = client.make_iq_set(ito=to) if kind == "set" else client.make_iq_get(ito=to)
    iq.append(element)
    return (await iq.send(timeout=10)).xml


async def refused(client, element, to=None, kind="set"):
    try:
        await ask(client, element, to, kind)
    except Exception as error:
        return error.iq["error"]["condition"]
    raise AssertionError("it was not refused")


def element(name, ns, text=None, *children, **attributes):
    made = ET.Element(f"{{{ns}}}{name}", attributes)
    made.text = text
    made.extend(children)
    return made


def filled(**fields):
    made = [element("field", FORM, None, element("value", FORM, v), var=k) for k, v in fields.items()]
    return element("x", FORM, None, *made, type="submit")


async def command(client, domain, node, **fields):
    answer = (await ask(client, element("command", COMMANDS, node=node, action="execute"), domain))[0]
    if fields:
        assert answer.get("status") == "executing", ET.tostring(answer)
        again = element("command", COMMANDS, None, filled(**fields), node=node, sessionid=answer.get("sessionid"))
        answer = (await ask(client, again, domain))[0]
    assert answer.get("status") == "completed", ET.tostring(answer)
    return {f.get("var"): [v.text for v in f.findall(f"{{{FORM}}}value")] for f in answer.iter(f"{{{FORM}}}field")}


def roster_get(version):
    return element("query", "jabber:iq:roster", ver=version)


async def versions(ana, domain):
    first = (await ask(ana, roster_get(""), kind="get"))[0]
    known = first.get("ver")
    assert len(await ask(ana, roster_get(known), kind="get")) == 0
    await ask(ana, element("query", "jabber:iq:roster", None, element("item", "jabber:iq:roster", jid=f"x@{domain}")))
    again = await Client(f"ana@{domain}/again").login()
    pushed = asyncio.get_event_loop().create_future()
    again.add_event_handler("roster_update", lambda iq: pushed.done() or iq["type"] != "set" or pushed.set_result(iq))
    assert len(await ask(again, roster_get(known), kind="get")) == 0
    push = await asyncio.wait_for(pushed, 10)
    assert f"x@{domain}" in str(push), push
    await again.disconnect()
    step("a client that knows a version gets what has changed")


async def block(ana, julia, domain):
    await ask(ana, element("blocklist", BLOCKING), kind="get")
    julia.send_message(mto=f"ana@{domain}", mbody="buy now", mtype="chat")
    spam = await ana.expect("message", lambda m: m["body"] == "buy now")
    sid = spam.xml.find("{urn:xmpp:sid:0}stanza-id")
    report = element("report", "urn:xmpp:reporting:1", None,
                     element("stanza-id", "urn:xmpp:sid:0", by=sid.get("by"), id=sid.get("id")),
                     element("text", "urn:xmpp:reporting:1", "she sells things"),
                     reason="urn:xmpp:reporting:spam")
    item = element("item", BLOCKING, None, report, jid=f"julia@{domain}")
    await ask(ana, element("block", BLOCKING, None, item))
    julia.send_message(mto=f"ana@{domain}", mbody="again", mtype="chat")
    error = await julia.expect("message_error")
    assert error["error"]["condition"] == "service-unavailable", error
    ana.send_message(mto=f"julia@{domain}", mbody="no", mtype="chat")
    error = await ana.expect("message_error")
    assert error["error"]["condition"] == "not-acceptable", error
    assert error.xml.find(".//{urn:xmpp:blocking:errors}blocked") is not None, error
    listed = await ask(ana, element("blocklist", BLOCKING), kind="get")
    assert f"julia@{domain}" in ET.tostring(listed).decode()
    await ask(ana, element("unblock", BLOCKING))
    julia.send_message(mto=f"ana@{domain}", mbody="friends again", mtype="chat")
    await ana.expect("message", lambda m: m["body"] == "friends again")
    step("blocked, reported and unblocked")


async def invited(ana, domain):
    stranger = Raw(domain)
    assert "ibr-token" in stranger.features, stranger.features
    assert "not-allowed" in stranger.register("eve")
    step("registration is closed to strangers")
    made = await command(ana, domain, "urn:xmpp:invite#invite")
    token = re.search("preauth=([0-9a-f]+)", made["uri"][0]).group(1)
    assert made["uri"][0].startswith(f"xmpp:ana@{domain}?roster;"), made
    assert token in made["landing-url"][0], made
    page = urllib.request.urlopen(f"https://127.0.0.1:{os.environ['HTTPS_PORT']}/invite/{token}", context=tls())
    assert f"href='{made['uri'][0]}'" in page.read().decode()
    step("an invitation has a link and a page")
    assert "result" in stranger.ask(f"<iq type='set' id='p' to='{domain}'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>")
    assert "<conflict" in stranger.register("julia")
    assert "result" in stranger.register("eve")
    eve = await Client(f"eve@{domain}/new", "long enough").login()
    await ana.expect("presence_available", lambda p: p["from"].bare == f"eve@{domain}")
    await eve.expect("presence_available", lambda p: p["from"].bare == f"ana@{domain}")
    assert "item-not-found" in Raw(domain).ask(f"<iq type='set' id='p' to='{domain}'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>")
    step("who was invited has an account and a contact")
    return eve


async def password(eve, domain):
    change = element("query", REGISTER, None, element("username", REGISTER, "eve"), element("password", REGISTER, "longer than before"))
    await ask(eve, change, domain)
    await eve.disconnect()
    old = Client(f"eve@{domain}/old", "long enough", "SCRAM-SHA-256").open()
    await asyncio.wait_for(old.refused, 10)
    new = await Client(f"eve@{domain}/new", "longer than before").login()
    step("a password is changed")
    return new


async def removal(ana, eve, domain):
    await ask(eve, element("query", REGISTER, None, element("remove", REGISTER)))
    await asyncio.wait_for(eve.gone, 10)
    await ana.expect("presence_unavailable", lambda p: p["from"].bare == f"eve@{domain}")
    again = Client(f"eve@{domain}/new", "longer than before", "SCRAM-SHA-256").open()
    await asyncio.wait_for(again.refused, 10)
    roster = ET.tostring(await ask(ana, element("query", "jabber:iq:roster"), kind="get")).decode()
    assert 'jid="eve@' not in roster or 'subscription="none"' in roster, roster
    step("an account is removed")


async def administration(ana, julia, domain):
    admin = "http://jabber.org/protocol/admin#"
    assert await refused(julia, element("command", COMMANDS, node=f"{admin}add-user", action="execute"), domain) == "forbidden"
    fields = {"accountjid": f"tom@{domain}", "password": "a good password"}
    await command(ana, domain, f"{admin}add-user", **fields)
    tom = await Client(f"tom@{domain}/t", "a good password").login()
    online = await command(ana, domain, f"{admin}get-online-users-list", max_items="100")
    assert f"tom@{domain}" in online["onlineuserjids"], online
    await command(ana, domain, f"{admin}announce", announcement="We go down")
    await tom.expect("message", lambda m: m["body"] == "We go down" and m["type"] == "headline")
    await command(ana, domain, f"{admin}disable-user", accountjids=f"tom@{domain}")
    await asyncio.wait_for(tom.gone, 10)
    shut = Client(f"tom@{domain}/t", "a good password", "SCRAM-SHA-256").open()
    await asyncio.wait_for(shut.refused, 10)
    await command(ana, domain, f"{admin}reenable-user", accountjids=f"tom@{domain}")
    await (await Client(f"tom@{domain}/t", "a good password").login()).disconnect()
    await command(ana, domain, f"{admin}delete-user", accountjids=f"tom@{domain}")
    number = await command(ana, domain, f"{admin}get-registered-users-num")
    assert number["registeredusersnum"] == ["4"], number
    step("accounts are administered")


async def closed(domain):
    ana = await Client(f"ana@{domain}/tablet").login()
    julia = await Client(f"julia@{domain}/phone").login()
    await versions(ana, domain)
    await block(ana, julia, domain)
    eve = await password(await invited(ana, domain), domain)
    await removal(ana, eve, domain)
    await administration(ana, julia, domain)


async def paged(domain):
    """A command of several steps, by slixmpp's own sessions (XEP-0050)."""
    ana = Client(f"ana@{domain}/desk")
    ana.register_plugin("xep_0050")
    await ana.login()
    commands, steps = ana["xep_0050"], asyncio.Queue()

    def took(iq, session):
        session["next"] = took
        steps.put_nowait((iq, session))

    def failed(iq, session):
        steps.put_nowait((AssertionError(iq), session))

    async def arrived():
        iq, session = await asyncio.wait_for(steps.get(), 10)
        if isinstance(iq, Exception):
            raise iq
        form = iq["command"]["form"]
        listed = form.get_fields().get("registereduserjids")
        return iq["command"], session, form, [jid.split("@")[0] for jid in listed["value"]] if listed is not None else []

    node = "http://jabber.org/protocol/admin#get-registered-users-list"
    commands.start_command(domain, node, {"next": took, "error": failed})
    command, session, form, _ = await arrived()
    answer = form
    answer["type"] = "submit"
    answer.set_values({"max_items": "25"})
    session["payload"] = answer
    commands.continue_command(session)
    pages = []
    for direction in ("next", "prev", "next", "next", None):
        command, session, form, names = await arrived()
        pages.append(names)
        if direction is None:
            break
        assert command["status"] == "executing" and {"next", "prev"} == set(command["actions"]), command
        form["type"] = "submit"
        session["payload"] = form if direction == "next" else None
        commands.continue_command(session, direction=direction)
    assert command["status"] == "completed", command
    first, second, back, again, last = pages
    assert first == back and second == again, pages
    assert first + second + last == sorted(first + second + last) and len(first + second + last) == 61, pages
    step("a long list is read forwards and back")


async def opened(domain):
    for name in ("eva", "evi"):
        stream = Raw(domain)
        assert "iq-register" in stream.features, stream.features
        assert "jabber:x:data" in stream.ask(f"<iq type='get' id='g'><query xmlns='{REGISTER}'/></iq>")
        assert "result" in stream.register(name)
        await (await Client(f"{name}@{domain}/new", "long enough").login()).disconnect()
    step("anybody makes an account")
    answer = Raw(domain).register("evo")
    assert "not-acceptable" in answer and "wait" in answer, answer
    step("but not too many")


asyncio.run({"closed": closed, "open": opened, "paged": paged}[sys.argv[2]](sys.argv[1]))
