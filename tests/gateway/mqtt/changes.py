"""A client that is connected while the rules change. changes.py HOST PORT MARKER"""

import pathlib
import sys

from client import Client, case, equal, eventually, run


@case()
def the_next_publish_is_held_to_the_new_rules(address, version):
    client = Client(address)
    equal(client.publish("a/1", "x", 1)[0].value < 0x80, True)
    equal(client.publish("b/1", "x", 1)[0].value, 0x87)
    pathlib.Path(sys.argv[3]).write_text("published")
    eventually(lambda: client.publish("a/1", "x", 1)[0].value == 0x87)
    equal(client.publish("b/1", "x", 1)[0].value < 0x80, True)
    client.close()


run((sys.argv[1], int(sys.argv[2])))
