"""The published server: `server.py PORT`. Endpoints by which a test sees what came, and fails on purpose."""

import asyncio
import sys
import time

from velithon.vsp import VSPManager

manager = VSPManager('table', num_workers=8)
seen = {'calls': 0}


@manager.vsp_service('Echo')
async def echo(**body):
    seen['calls'] += 1
    return body


@manager.vsp_service('Add')
async def add(a, b):
    return {'sum': a + b}


@manager.vsp_service('Slow')
async def slow(ms, **body):
    await asyncio.sleep(ms / 1000)
    return {'slept': ms, **body}


@manager.vsp_service('Fail')
async def fail(text):
    raise ValueError(text)


@manager.vsp_service('Odd')
async def odd(value):
    return value


@manager.vsp_service('Unwritable')
async def unwritable():
    return {'set': {1, 2}}


@manager.vsp_service('Seen')
async def counts():
    return {**seen, 'at': time.time()}


async def main():
    await manager.start_server('127.0.0.1', int(sys.argv[1]))


asyncio.run(main())
