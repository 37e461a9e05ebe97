"""What bad input gets on real sockets, while another session goes on."""
import asyncio, os, ssl
from client import Client, step

HEADER = (
    b"<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)


async def raw(data):
    """Sends bytes before login over direct TLS; gives everything that comes back until the server closes."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["XMPPS_PORT"]), ssl=context)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(-1), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def main():
    witness = await Client("carl@localhost/w").login()

    answer = await raw(HEADER + b" " * 20_000)
    assert b"policy-violation" in answer and answer.endswith(b"</stream:stream>"), answer
    step("16 KiB before login: policy-violation")
    answer = await raw(b"GET / HTTP/1.1\r\n\r\n")
    assert b"not-well-formed" in answer, answer
    step("not XML: not-well-formed")

    for name, stanza in (
        ("300 KiB stanza", "<message to='carl@localhost'><body>" + "x" * 300_000 + "</body></message>"),
        ("100,000 nested elements", "<message to='carl@localhost'>" + "<a>" * 100_000),
        ("300 attributes", "<message to='carl@localhost'><a %s/></message>" % " ".join(f"a{n}='1'" for n in range(300))),
    ):
        bad = await Client("ana@localhost/bad").login()
        errors = asyncio.Queue()
        bad.add_event_handler("stream_error", lambda e: errors.put_nowait(e))
        bad.transport.write(stanza.encode())
        error = await asyncio.wait_for(errors.get(), 10)
        assert error["condition"] == "policy-violation", error
        await asyncio.wait_for(bad.gone, 10)
        step(f"{name}: policy-violation")

    await witness.plugin["xep_0199"].ping("localhost", timeout=10)
    assert not witness.gone.done()
    assert witness.messages.empty()
    step("the other session noticed nothing")


asyncio.run(main())
