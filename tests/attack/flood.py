"""Sends one body again and again, `AT_ONCE` at a time: `python -m tests.attack.flood URL KEY AT_ONCE < BODY`."""

from __future__ import annotations

import asyncio
import sys

import aiohttp


async def flood(url: str, key: str, at_once: int, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as client:

        async def again_and_again() -> None:
            while True:
                try:
                    async with client.post(url, data=body) as response:
                        await response.read()
                        refused = response.status != 200
                except aiohttp.ClientError:
                    refused = True
                # A refusal asks to wait; a flood waits as little as it can.
                await asyncio.sleep(0.05 if refused else 0.0)

        print("begun", flush=True)
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(again_and_again())


if __name__ == "__main__":
    asyncio.run(flood(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.stdin.buffer.read()))
