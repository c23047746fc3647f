"""Makes the calls of `vectors.json` by a client of others:

    clients.py PROTOCOL HOST:PORT

for http, websocket, grpc, velithon, mqtt and redis. Prints an outcome a line, in the order of the vectors:
`{"ok": VALUE}`, or `{"kind": KIND, "message": TEXT}`. The service is `table-rust`.
"""

import asyncio
import json
import pathlib
import sys
import urllib.error
import urllib.request

SERVICE = 'table-rust'
# Seconds, on a busy machine.
PATIENCE = 60
VECTORS = json.loads((pathlib.Path(__file__).parent / 'vectors.json').read_text())


def written(value):
    return json.dumps(value, ensure_ascii=False, separators=(',', ':'))


def http(address, method, body):
    url = f'http://{address}/v1/services/{SERVICE}/{method}'
    request = urllib.request.Request(url, written(body).encode(), {'content-type': 'application/json'})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return {'ok': json.load(response)}
    except urllib.error.HTTPError as error:
        return {'kind': error.headers['x-postern-error'], 'message': json.load(error)['error']}


def websocket():
    from websockets.sync.client import connect
    sockets = {}

    def call(address, method, body):
        if not sockets:
            sockets['one'] = connect(f'ws://{address}/ws/{SERVICE}/Echo', subprotocols=['vstp.json'])
        sockets['one'].send(written({'id': '1', 'method': method, 'payload': body}))
        told = json.loads(sockets['one'].recv(timeout=PATIENCE))
        if told['type'] == 'error':
            return {'kind': told['status'], 'message': told['error']}
        return {'ok': told['payload']}

    return call


def grpc():
    import grpc as core
    channels = {}

    def call(address, method, body):
        channel = channels.setdefault(address, core.insecure_channel(address))
        try:
            reply = channel.unary_unary(f'/{SERVICE}/{method}')(written(body).encode(), timeout=PATIENCE)
            return {'ok': json.loads(reply)}
        except core.RpcError as error:
            kind = error.code().name.lower().replace('_', '-')
            return {'kind': kind, 'message': error.details()}

    return call


def mqtt():
    """A request of MQTT 5, and the reply at its response topic."""
    import queue

    import paho.mqtt.client as paho
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    state = {}

    def begin(address):
        host, port = address.rsplit(':', 1)
        replies = queue.Queue()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, 'one-handler', protocol=paho.MQTTv5)
        client.on_message = lambda _, __, message: replies.put(message)
        ready = queue.Queue()
        client.on_subscribe = lambda *_: ready.put(None)
        client.on_connect = lambda *_: client.subscribe('replies/one-handler', 1)
        client.connect(host, int(port))
        client.loop_start()
        ready.get(timeout=PATIENCE)
        return client, replies

    def call(address, method, body):
        if not state:
            state['client'], state['replies'] = begin(address)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = 'replies/one-handler', method.encode()
        topic = f'$call/{SERVICE}/{method}'
        state['client'].publish(topic, written(body), 1, properties=properties)
        reply = state['replies'].get(timeout=PATIENCE)
        assert reply.properties.CorrelationData == method.encode()
        told = dict(reply.properties.UserProperty)
        payload = json.loads(reply.payload)
        if told['status'] == 'success':
            return {'ok': payload}
        return {'kind': told['status'], 'message': payload['error']}

    return call


def redis():
    """`CALL service/method json`; a failure is an error reply whose first word is the kind. Two of them are Redis's
    own words, which the package takes off."""
    import redis as package
    clients = {}

    def call(address, method, body):
        host, port = address.rsplit(':', 1)
        client = clients.setdefault(address, package.Redis(host, int(port), socket_timeout=PATIENCE))
        try:
            reply = client.execute_command('CALL', f'{SERVICE}/{method}', written(body))
            return {'ok': json.loads(reply)}
        except package.exceptions.NoPermissionError as error:
            return {'kind': 'permission-denied', 'message': str(error)}
        except package.AuthenticationError as error:
            return {'kind': 'unauthenticated', 'message': str(error)}
        except package.ResponseError as error:
            kind, _, message = str(error).partition(' ')
            return {'kind': kind.lower().replace('_', '-'), 'message': message}

    return call


async def velithon(address):
    """The published client, whose own server part has to run."""
    import socket

    from velithon._velithon import ServiceInfo
    from velithon.vsp import VSPManager
    from velithon.vsp.message import VSPError
    host, port = address.rsplit(':', 1)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        free = probe.getsockname()[1]
    manager = VSPManager('caller')
    manager.service_mesh.register(ServiceInfo(SERVICE, host, int(port), 1))
    task = asyncio.create_task(manager.start_server('127.0.0.1', free))
    await asyncio.sleep(0.1)
    for vector in VECTORS:
        try:
            tell({'ok': await manager.client.call(SERVICE, vector['method'], vector['body'])})
        except VSPError as error:
            kind, _, message = str(error).partition(': ')
            tell({'kind': kind, 'message': message})
    task.cancel()


def tell(outcome):
    print(json.dumps(outcome), flush=True)


def main():
    protocol, address = sys.argv[1:]
    if protocol == 'velithon':
        return asyncio.run(velithon(address))
    call = http if protocol == 'http' else {'websocket': websocket, 'grpc': grpc, 'mqtt': mqtt, 'redis': redis}[protocol]()
    for vector in VECTORS:
        tell(call(address, vector['method'], vector['body']))


main()
