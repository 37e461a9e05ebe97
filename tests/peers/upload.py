"""Files (XEP-0363) over real HTTPS: a slot is asked for, used once, and what is there can be fetched by who knows where."""
import asyncio, http.client, os, ssl, struct, sys, zlib
from urllib.parse import urlsplit
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET
from client import Client, step

NS = "urn:xmpp:http:upload:0"
SERVICE = "upload.localhost"
CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((x + y) % 256 for x in range(width) for _ in range(3)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def request(method, url, body=None, headers={}):
    parts = urlsplit(url)
    # The host of the URL is the domain; here it is this machine.
    connection = http.client.HTTPSConnection("127.0.0.1", parts.port, context=CONTEXT, timeout=20)
    path = parts.path + ("?" + parts.query if parts.query else "")
    try:
        connection.request(method, path, body, {"Host": parts.netloc, **headers})
        response = connection.getresponse()
        return response.status, dict((k.lower(), v) for k, v in response.getheaders()), response.read()
    finally:
        connection.close()


async def web(*arguments, **named):
    return await asyncio.get_event_loop().run_in_executor(None, lambda: request(*arguments, **named))


async def slot(client, name, size, kind=None):
    iq = client.make_iq_get(ito=SERVICE)
    attributes = {"filename": name, "size": str(size)} | ({"content-type": kind} if kind else {})
    iq.append(ET.Element(f"{{{NS}}}request", attributes))
    answer = (await iq.send(timeout=10)).xml.find(f"{{{NS}}}slot")
    return answer.find(f"{{{NS}}}put").get("url"), answer.find(f"{{{NS}}}get").get("url")


async def main():
    ana, julia = await Client("ana@localhost/tablet").login(), await Client("julia@localhost/phone").login()
    items = await ana.plugin["xep_0030"].get_items(jid="localhost")
    assert SERVICE in [item[0] for item in items["disco_items"]["items"]], items
    info = await ana.plugin["xep_0030"].get_info(jid=SERVICE)
    assert NS in info["disco_info"]["features"] and ("store", "file", None, "Files") in [(i[0], i[1], None, i[3]) for i in info["disco_info"]["identities"]], info
    assert "<value>2000000</value>" in str(info), info
    step("the service is found with its bound")

    picture = png(800, 400)
    put, get = await slot(ana, "très cool.png", len(picture), "image/png")
    assert put.startswith("https://") and "tr%C3%A8s%20cool.png" in get, get
    kind = {"Content-Type": "image/png"}
    assert (await web("GET", get))[0] == 404
    assert (await web("PUT", get, picture, kind))[0] == 403, "no token"
    assert (await web("PUT", put[:-3] + "xyz", picture, kind))[0] == 403, "another token"
    assert (await web("PUT", put, picture[:-1], kind))[0] == 400, "another length"
    assert (await web("PUT", put, picture, {"Content-Type": "text/html"}))[0] == 415, "another type"
    page = b"<html><script>alert(1)</script>".ljust(len(picture))
    assert (await web("PUT", put, page, kind))[0] == 415, "not what it says"
    step("what does not fit the slot is refused")
    assert (await web("PUT", put, picture, kind))[0] == 201
    assert (await web("PUT", put, picture, kind))[0] == 409
    step("a slot is used once")

    ana.send_message(mto="julia@localhost", mbody=get, mtype="chat")
    link = (await julia.expect("message", lambda m: m["body"].startswith("https://")))["body"]
    status, headers, body = await web("GET", link)
    assert status == 200 and body == picture, status
    assert headers["content-type"] == "image/png" and headers["x-content-type-options"] == "nosniff", headers
    assert headers["content-disposition"].startswith("inline") and "immutable" in headers["cache-control"], headers
    assert "sandbox" in headers["content-security-policy"], headers
    status, headers, body = await web("GET", link, headers={"Range": "bytes=1-3"})
    assert status == 206 and body == b"PNG" and headers["content-range"] == f"bytes 1-3/{len(picture)}", headers
    step("who knows the address has the file")

    small = link.replace("/upload/", "/thumbnail/")
    for _ in range(100):
        status, headers, body = await web("GET", small)
        if status == 200:
            break
        await asyncio.sleep(0.1)
    assert status == 200 and headers["content-type"] == "image/jpeg" and body[:3] == b"\xff\xd8\xff", (status, headers)
    step("a picture has a thumbnail beside it")

    put, get = await slot(ana, "page.html", 5, "text/html")
    assert (await web("PUT", put, b"<b>hi", {"Content-Type": "text/html"}))[0] == 201
    headers = (await web("GET", get))[1]
    assert headers["content-disposition"].startswith("attachment"), headers
    step("a page is saved, not shown")

    try:
        await slot(ana, "big", 2000001)
        raise AssertionError("too large and taken")
    except IqError as error:
        assert error.iq["error"]["condition"] == "not-acceptable" and "<max-file-size>2000000</max-file-size>" in str(error.iq), error.iq
    try:
        for n in range(4):
            await slot(ana, f"file{n}", 1900000)
        raise AssertionError("no quota")
    except IqError as error:
        assert error.iq["error"]["condition"] == "resource-constraint" and "<retry" in str(error.iq), error.iq
    put, get = await slot(julia, "hers", 3)
    assert (await web("PUT", put, b"abc"))[0] == 201
    step("bounds and quotas are told")


asyncio.run(main())
