"""The published discovery: `discovery.py AGENT_PORT SERVICE [ENDPOINT]`. What it finds by way of Consul, and, with an
endpoint, what a call there gives."""

import asyncio
import json
import socket
import sys

from velithon.vsp import VSPManager
from velithon.vsp.discovery import ConsulDiscovery
from velithon.vsp.mesh import ServiceMesh


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


async def main():
    agent, service = int(sys.argv[1]), sys.argv[2]
    found = await ConsulDiscovery(host='127.0.0.1', port=agent).query(service)
    told = {'found': [[one.host, one.port, one.weight] for one in found]}
    if len(sys.argv) > 3:
        mesh = ServiceMesh(discovery_type='consul', host='127.0.0.1', port=agent)
        manager = VSPManager('caller', service_mesh=mesh)
        task = asyncio.create_task(manager.start_server('127.0.0.1', free_port()))
        await asyncio.sleep(0.1)
        told['answer'] = await manager.client.call(service, sys.argv[3], {'text': 'hello'})
        task.cancel()
    print(json.dumps(told), flush=True)


asyncio.run(main())
