"""Logs in once: login.py DOMAIN MECHANISM|wrong-password starttls|direct."""
import asyncio, sys
from client import Client, step


async def main():
    domain, mechanism, transport = sys.argv[1:]
    wrong = mechanism == "wrong-password"
    client = Client(
        f"ana@{domain}/x",
        password="wrong" if wrong else None,
        mechanism="SCRAM-SHA-256" if wrong else mechanism,
        direct=transport == "direct",
    ).open()
    done, _ = await asyncio.wait([client.up, client.refused], timeout=15, return_when=asyncio.FIRST_COMPLETED)
    step("logged in" if client.up in done else "refused" if client.refused in done else "silence")


asyncio.run(main())
