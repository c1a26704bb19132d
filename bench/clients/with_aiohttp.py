"""Python's aiohttp: one session, as many connections as calls at once."""
import asyncio
import ssl
import sys
import time

import aiohttp

HEADERS = {"Authorization": "Bearer dpg_api_live_bench", "Accept": "application/json"}


async def perform(session, count, at_once, what, url):
    left = count

    async def work():
        nonlocal left
        while left > 0:
            left -= 1
            async with session.get(url) as answer:
                answer.raise_for_status()
                if what == "decoded":
                    await answer.json()
                else:
                    await answer.read()

    await asyncio.gather(*(work() for _ in range(at_once)))


async def main():
    context = ssl.create_default_context(cafile=sys.argv[1])
    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(ssl=context)) as session:
        print("ready aiohttp", aiohttp.__version__, flush=True)
        for line in sys.stdin:
            count, at_once, protocol, what, url = line.split()
            if protocol == "h2" or what == "fields":
                print("no", flush=True)
                continue
            began = time.process_time()
            await perform(session, int(count), int(at_once), what, url)
            print("%.9f" % (time.process_time() - began), flush=True)


asyncio.run(main())
