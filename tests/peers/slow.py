"""Strangers at the HTTPS port that send nothing, or very little: each is shown out, and nobody else feels it."""
import asyncio, http.client, os, ssl, time

PORT, MOST = int(os.environ["HTTPS_PORT"]), 50
# The server's patience with a handshake or a request's head, and with a request as a whole.
HEAD, WHOLE = 15, 30
CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


def healthy(address="127.0.0.1"):
    connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=CONTEXT, timeout=5, source_address=(address, 0))
    connection.request("GET", "/health/live")
    return connection.getresponse().status == 200


async def is_closed(reader):
    try:
        return not await asyncio.wait_for(reader.read(1), 0.2)
    except asyncio.TimeoutError:
        return False
    except ConnectionError:
        return True


async def crowd():
    """Many from one address that do not even begin."""
    opened = [await asyncio.open_connection("127.0.0.1", PORT, local_addr=("127.0.0.2", 0)) for _ in range(MOST + 20)]
    await asyncio.sleep(1)
    shown_out = sum(await asyncio.gather(*(is_closed(reader) for reader, _ in opened)))
    assert shown_out == 20, shown_out
    begun = time.monotonic()
    assert await asyncio.to_thread(healthy) and time.monotonic() - begun < 5
    print("an address has so many places, and others have theirs", flush=True)
    await asyncio.gather(*(asyncio.wait_for(reader.read(), HEAD + 10) for reader, _ in opened), return_exceptions=True)
    assert await asyncio.to_thread(healthy, "127.0.0.2")
    print("who does not begin is shown out", flush=True)


async def trickle(head, bytes, patience, text):
    """Sends something every second; gives up when the server does."""
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT, ssl=CONTEXT)
    writer.write(head)
    closed = asyncio.ensure_future(reader.read())
    while not closed.done():
        assert time.monotonic() - begun < patience + 10, text + ": is still waited for"
        writer.write(bytes)
        await asyncio.wait([closed], timeout=1)
    assert time.monotonic() - begun > patience - 2, text + ": too early"
    print(text, flush=True)


async def main():
    await asyncio.gather(
        crowd(),
        trickle(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", b"a", HEAD, "a head that trickles is not waited for"),
        trickle(b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", b"<", WHOLE, "a body that trickles is not waited for"),
        trickle(b"", b"", HEAD, "a connection without a request is not kept"),
    )


asyncio.run(main())
