"""A process that wants to take over from a node, is given its sockets and its folder, and then hangs for ever.

    hangs.py SOCKET LOCK
"""

import fcntl
import json
import signal
import socket
import sys

node = socket.socket(socket.AF_UNIX)
node.connect(sys.argv[1])
node.sendall(
    b"POST /v1/takeover HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: atoll-takeover-1\r\n\r\n"
)


def line():
    read = b""
    while not read.endswith(b"\n"):
        read += node.recv(1)
    return read.strip()


assert b" 101 " in line()
while line():
    pass
sockets, left = [], len(json.loads(line()))
while len(sockets) < left:
    sockets += socket.recv_fds(node, 1, 64)[1]
node.sendall(b"ready\n")
assert line() == b"yours"
lock = open(sys.argv[2], "a")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("mine", flush=True)
signal.pause()
