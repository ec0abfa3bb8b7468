"""Opens connections, asks for one thing on each, and keeps them: idle.py ADDRESS PORT COUNT TLS(0 or 1).

About a thousand a second, as visitors come and not as a flood does. Says `ready` when all are open, and leaves when its input ends.
"""

import resource
import socket
import ssl
import sys
import time

address, port, count, secure = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1"
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
kept = []
for _ in range(count):
    connection = socket.create_connection((address, port), timeout=30)
    if secure:
        connection = context.wrap_socket(connection, server_hostname="localhost")
    connection.sendall(b"GET /1KiB.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while len(answer.partition(b"\r\n\r\n")[2]) < 1024:
        part = connection.recv(65536)
        if not part:
            sys.exit(f"connection {len(kept)} was closed: {answer[:200]}")
        answer += part
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"connection {len(kept)} was answered {answer[:200]}")
    kept.append(connection)
    time.sleep(0.001)
print("ready", flush=True)
sys.stdin.read()
