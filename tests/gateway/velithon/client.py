"""The published client: `client.py HOST:PORT CASE [N]`, whose own server part runs, as it has to: its workers hand
responses on. Each case prints one line of JSON."""

import asyncio
import json
import socket
import sys
import time

from velithon._velithon import ServiceInfo
from velithon.vsp import VSPManager
from velithon.vsp.message import VSPError

SERVICE = 'table-rust'


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


async def manager_of(address, **kwargs):
    host, port = address.rsplit(':', 1)
    manager = VSPManager('caller', **kwargs)
    for name in (SERVICE, 'unknown', 'other-name'):
        manager.service_mesh.register(ServiceInfo(name, host, int(port), 1))
    task = asyncio.create_task(manager.start_server('127.0.0.1', free_port()))
    await asyncio.sleep(0.1)
    return manager, task


async def outcome(manager, service, endpoint, body, limit=25):
    try:
        return {'ok': await asyncio.wait_for(manager.client.call(service, endpoint, body), limit)}
    except VSPError as error:
        return {'error': str(error)}
    except asyncio.TimeoutError:
        return {'error': 'late'}
    except (OSError, RuntimeError) as error:
        return {'error': repr(error)}


async def many(manager, n):
    """So many calls, fifty at a time: how many were right, and how many connections that took."""
    # Calls that come before the first connections are there open ten each.
    await outcome(manager, SERVICE, 'Echo', {})
    wrong, at_once = [], asyncio.Semaphore(50)

    async def one(i):
        async with at_once:
            body = {'i': i, 'text': 'Grüße, 世界 🌍', 'deep': {'list': [i, None, 1.5, True]}}
            got = await outcome(manager, SERVICE, 'Echo', body)
            if got != {'ok': body}:
                wrong.append(got)

    begin = time.monotonic()
    await asyncio.gather(*(one(i) for i in range(n)))
    seconds = time.monotonic() - begin
    connections = sum(len(some) for some in manager.client.transports.values())
    return {'calls': n, 'wrong': wrong[:3], 'n_wrong': len(wrong), 'connections': connections,
            'left': len(manager.client.response_queues), 'seconds': round(seconds, 2)}


async def health(manager):
    await outcome(manager, SERVICE, 'Echo', {})
    return await outcome(manager, SERVICE, 'health', {})


async def errors(manager):
    fail = {'kind': 'not-found', 'message': 'no user'}
    return {
        'fail': await outcome(manager, SERVICE, 'Fail', fail),
        'nothing': await outcome(manager, SERVICE, 'Nothing', {}),
        'service': await outcome(manager, 'unknown', 'Echo', {'a': 1}),
        'list': await outcome(manager, SERVICE, 'Echo', [1, 2]),
        'argument': await outcome(manager, SERVICE, 'Sum', {'values': 'many'}),
        'result': await outcome(manager, SERVICE, 'Sum', {'values': [1, 2, 39]}),
        'member': await outcome(manager, SERVICE, 'Echo', {'error': 'not one'}),
    }


async def order(manager):
    """A slow call and quick ones behind it: the quick ones are answered first."""
    done = []

    async def one(name, endpoint, body):
        await outcome(manager, 'other-name', endpoint, body)
        done.append(name)

    calls = [one('slow', 'Slow', {'ms': 1500})]
    calls += [one(f'quick{i}', 'Echo', {'i': i}) for i in range(20)]
    await asyncio.gather(*calls)
    return {'last': done[-1], 'n': len(done)}


async def steady(manager, n):
    """Ten callers, each with a call every 20 ms, until so many were right after the last that was not. How many failed,
    and how long nobody was answered."""
    right, failed, since, silence = 0, 0, 0, 0
    heard = time.monotonic()
    print(json.dumps({'begun': True}), flush=True)

    async def caller():
        nonlocal right, failed, since, silence, heard
        while failed == 0 or since < n:
            got = await outcome(manager, SERVICE, 'Echo', {'i': right}, limit=2)
            if 'ok' in got:
                right, since = right + 1, since + 1
                silence, heard = max(silence, time.monotonic() - heard), time.monotonic()
            else:
                failed, since = failed + 1, 0
            await asyncio.sleep(0.02)

    await outcome(manager, SERVICE, 'Echo', {})
    await asyncio.gather(*(caller() for _ in range(10)))
    return {'right': right, 'failed': failed, 'seconds': round(silence, 2)}


async def main():
    address, case = sys.argv[1:3]
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    manager, task = await manager_of(address)
    cases = {'many': lambda: many(manager, n), 'health': lambda: health(manager), 'errors': lambda: errors(manager),
             'order': lambda: order(manager), 'steady': lambda: steady(manager, n)}
    print(json.dumps(await cases[case]()), flush=True)
    task.cancel()


asyncio.run(main())
