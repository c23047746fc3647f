"""Subscribers and servers that are not ours, for channels.

    observer.py redis PORT     what is published under orders.*, as redis-py gets it
    observer.py mqtt PORT      the same of orders/#, QoS 1, in a session that the broker keeps (paho-mqtt)
    observer.py websocket      a server of plain JSON values; the first line says its port, lines that come go to all

Each message is a line of JSON. All of them connect again when they lose their server.
"""

import asyncio
import json
import sys
import time


def tell(**what):
    print(json.dumps(what), flush=True)


def redis_messages(port):
    import redis

    while True:
        try:
            client = redis.Redis(host="127.0.0.1", port=port, decode_responses=True)
            pubsub = client.pubsub()
            pubsub.psubscribe("orders.*")
            for message in pubsub.listen():
                if message["type"] == "psubscribe":
                    tell(ready=True)
                elif message["type"] == "pmessage":
                    tell(payload=message["data"], topic=message["channel"])
        except redis.exceptions.RedisError:
            time.sleep(0.02)


def mqtt_messages(port):
    import paho.mqtt.client as mqtt

    def on_connect(client, userdata, flags, reason, properties):
        client.subscribe("orders/#", qos=1)

    def on_subscribe(client, userdata, mid, reasons, properties):
        tell(ready=True)

    def on_message(client, userdata, message):
        tell(payload=message.payload.decode(), topic=message.topic)

    version = mqtt.CallbackAPIVersion.VERSION2
    client = mqtt.Client(version, client_id="observer", clean_session=False)
    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    client.reconnect_delay_set(min_delay=1, max_delay=1)
    client.connect_async("127.0.0.1", port)
    client.loop_forever(retry_first_connection=True)


async def websocket_server():
    from websockets.asyncio.server import broadcast, serve

    connections = set()

    async def serve_one(connection):
        connections.add(connection)
        tell(authorization=connection.request.headers.get("authorization"))
        try:
            async for message in connection:
                tell(message=message)
        finally:
            connections.discard(connection)

    async with serve(serve_one, "127.0.0.1", 0) as server:
        tell(port=server.sockets[0].getsockname()[1])
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await reader.readline():
            broadcast(connections, json.dumps(json.loads(line)))


if __name__ == "__main__":
    match sys.argv[1]:
        case "redis":
            redis_messages(int(sys.argv[2]))
        case "mqtt":
            mqtt_messages(int(sys.argv[2]))
        case "websocket":
            asyncio.run(websocket_server())
