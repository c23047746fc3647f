"""Methods have no topics. closed.py HOST PORT"""

import sys

from client import Client, case, equal, run


@case()
def only_routes_are_calls(address, version):
    client = Client(address)
    client.subscribe("replies/a", 1)
    equal(client.publish("$call/echo/Echo", "{}", 1)[0].value, 0x87)
    client.publish("log/a", "{}", 1, ResponseTopic="replies/a")
    equal(client.message().payload, b'{"rest":"a"}')
    client.close()


run((sys.argv[1], int(sys.argv[2])))
