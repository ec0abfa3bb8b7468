"""A client over HTTP/3 that others wrote (aioquic), and one that does what no client should. Says what it saw; ends with 1 when that is wrong.

    http3.py CASE PORT [ARGUMENT...]
"""

import asyncio
import hashlib
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer, BufferReadError, encode_uint_var
from aioquic.h3.connection import H3_ALPN, FrameType, H3Connection, StreamType
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived, StreamReset

EXCESSIVE_LOAD = 0x107
REQUEST_REJECTED = 0x10B


class Answer:
    def __init__(self):
        self.head, self.body, self.reset, self.over = [], bytearray(), None, asyncio.Event()

    @property
    def fields(self):
        return {name.decode(): value.decode() for name, value in self.head}

    @property
    def status(self):
        return int(self.fields.get(":status", 0))


class Http(H3Connection):
    """Of an answer to HEAD it would want the body that its length tells of (RFC 9110, section 8.6, has none)."""

    def __init__(self, quic):
        super().__init__(quic)
        self.heads = set()

    def _check_content_length(self, stream):
        if stream.stream_id not in self.heads:
            super()._check_content_length(stream)


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = Http(self._quic)
        self.answers, self.ended, self.end = {}, asyncio.Event(), None
        self.one_way = {}

    @property
    def left(self):
        """The first request that the server does not take any more, once it has said so (GOAWAY), which aioquic does not read."""
        left = None
        for data in self.one_way.values():
            stream = Buffer(data=bytes(data))
            try:
                if stream.pull_uint_var() != StreamType.CONTROL:
                    continue
                while True:
                    kind = stream.pull_uint_var()
                    frame = stream.pull_bytes(stream.pull_uint_var())
                    if kind == FrameType.GOAWAY:
                        left = Buffer(data=frame).pull_uint_var()
            except BufferReadError:
                pass
        return left

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived) and event.stream_id % 4 == 3:
            self.one_way.setdefault(event.stream_id, bytearray()).extend(event.data)
        if isinstance(event, ConnectionTerminated):
            self.end = event.error_code
            self.ended.set()
            for answer in self.answers.values():
                answer.over.set()
        if isinstance(event, StreamReset) and event.stream_id in self.answers:
            answer = self.answers[event.stream_id]
            answer.reset = event.error_code
            answer.over.set()
        for event in self.http.handle_event(event):
            answer = self.answers.get(event.stream_id)
            if answer is None:
                continue
            if isinstance(event, HeadersReceived) and not answer.head:
                answer.head = event.headers
            if isinstance(event, DataReceived):
                answer.body += event.data
            if event.stream_ended:
                answer.over.set()

    def begin(self, method, host, path, fields=(), body=None, more=False):
        stream = self._quic.get_next_available_stream_id()
        answer = self.answers[stream] = Answer()
        if method == "HEAD":
            self.http.heads.add(stream)
        head = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *fields]
        head = [(name.encode(), value.encode()) for name, value in head]
        self.http.send_headers(stream, head, end_stream=body is None and not more)
        if body is not None:
            self.http.send_data(stream, body, end_stream=not more)
        self.transmit()
        return stream, answer

    async def ask(self, *args, **kwargs):
        _, answer = self.begin(*args, **kwargs)
        await asyncio.wait_for(answer.over.wait(), 60)
        return answer


def client(port, **settings):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, **settings)
    return connect("127.0.0.1", port, configuration=configuration, create_protocol=Client)


async def get(port, path, expected):
    """A page, its head alone, and a hundred of them at once."""
    async with client(port) as us:
        page = await us.ask("GET", "127.0.0.1", path)
        assert (page.status, page.body.decode()) == (200, expected), (page.head, page.body)
        head = await us.ask("HEAD", "127.0.0.1", path)
        assert (head.status, head.body, head.fields.get("content-length")) == (200, b"", str(len(expected))), (head.head, head.reset, us.end)
        assert "connection" not in head.fields and "transfer-encoding" not in head.fields, head.head
        for answer in await asyncio.gather(*(us.ask("GET", "127.0.0.1", path) for _ in range(100))):
            assert answer.body.decode() == expected
        missing = await us.ask("GET", "localhost", "/nowhere")
        assert missing.status == 404, missing.head


async def large(port, path, digest):
    """A body of many windows."""
    async with client(port) as us:
        answer = await us.ask("GET", "127.0.0.1", path)
        assert hashlib.sha256(answer.body).hexdigest() == digest, (answer.head, len(answer.body), answer.reset)


async def resumed(port, path):
    """A second connection resumes the session, without early data."""
    tickets = []
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE)
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client,
                       session_ticket_handler=tickets.append) as us:
        assert (await us.ask("GET", "127.0.0.1", path)).status == 200
    assert tickets and all(not ticket.max_early_data_size for ticket in tickets), tickets
    configuration.session_ticket = tickets[0]
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as us:
        assert (await us.ask("GET", "127.0.0.1", path)).status == 200
        assert us._quic.tls.session_resumed


async def upload(port, host):
    """A body on its way to a server behind."""
    async with client(port) as us:
        said = await us.ask("POST", host, "/length", [("content-length", "100000")], b"a" * 100_000)
        assert said.status == 200, said.head
        streamed = await us.ask("POST", host, "/stream", (), b"b" * 100_000)
        assert streamed.status == 200, streamed.head


async def malformed(port, host):
    """What may not be a request: refused, and the server behind sees nothing of it, or one request that says one thing."""
    cases = {
        "transfer-encoding": ([("transfer-encoding", "chunked")], b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        "connection": ([("connection", "close, x-hidden"), ("x-hidden", "1")], None),
        "upgrade": ([("upgrade", "websocket")], None),
        "te": ([("te", "gzip")], None),
        "upper case": ([("X-Upper", "1")], None),
        "line break": ([("x-break", "1\r\nx-smuggled: 1")], None),
        "zero": ([("x-zero", "1\0")], None),
        "outer space": ([("x-space", " 1")], None),
        "unknown pseudo-header": ([(":smuggled", "1")], None),
        "longer": ([("content-length", "9")], b"short"),
        "shorter": ([("content-length", "2")], b"0123GET /smuggled HTTP/1.1\r\n\r\n"),
        "two lengths": ([("content-length", "5"), ("content-length", "7")], b"01234"),
        "list of lengths": ([("content-length", "5, 7")], b"01234"),
        "length with sign": ([("content-length", "+5")], b"01234"),
        "other host": ([("host", "elsewhere.example")], None),
    }
    for name, (fields, body) in cases.items():
        async with client(port) as us:
            answer = await us.ask("POST" if body else "GET", host, "/" + name.replace(" ", "-"), fields, body)
            print(f"{name}: status {answer.status}, reset {answer.reset}, end {us.end}")
            assert answer.status == 0 or answer.status >= 400, (name, answer.head)
    for path in ["smuggled", "", "*", "http://elsewhere.example/"]:
        async with client(port) as us:
            answer = await us.ask("GET", host, path)
            print(f"path {path!r}: status {answer.status}, reset {answer.reset}, end {us.end}")
            assert answer.status == 0 or answer.status >= 400, (path, answer.head)


async def excessive(port, kind, length):
    """A frame that says it is as long as this."""
    async with client(port) as us:
        stream = us._quic.get_next_available_stream_id()
        frame = encode_uint_var(int(kind)) + encode_uint_var(int(length))
        us._quic.send_stream_data(stream, frame + bytes(1000))
        us.transmit()
        await asyncio.wait_for(us.ended.wait(), 60)
        assert us.end == EXCESSIVE_LOAD, us.end


async def resets(port, path):
    """Requests that are given up as soon as they are made."""
    async with client(port) as us:
        for count in range(2000):
            stream, _ = us.begin("GET", "127.0.0.1", path)
            us._quic.reset_stream(stream, 0x10C)
            us._quic.stop_stream(stream, 0x10C)
            us.transmit()
            # Datagrams that no buffer has room for would be lost.
            await asyncio.sleep(0.01 if count % 20 == 19 else 0)
            if us.ended.is_set():
                break
        await asyncio.wait_for(us.ended.wait(), 60)
        assert us.end == EXCESSIVE_LOAD, us.end


async def drained(port, path, digest):
    """A body whose node is told to end while it is sent: all of it comes, and no further request is taken."""
    async with client(port, max_stream_data=64 * 1024, max_data=128 * 1024) as us:
        _, answer = us.begin("GET", "127.0.0.1", path)
        while not answer.body:
            await asyncio.sleep(0.01)
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.wait_for(answer.over.wait(), 60)
        assert hashlib.sha256(answer.body).hexdigest() == digest, (len(answer.body), answer.reset, us.end)


async def visits(port, host, *paths):
    """Pages, one after the other, on connections that are left when the server says so, until standard input ends. Tells how many
    requests were answered and how many were not; one that the server says it has not taken is made again, as it may be."""
    served, failed, over = 0, 0, asyncio.Event()

    async def visitor():
        nonlocal served, failed
        while not over.is_set():
            try:
                async with client(port) as us:
                    while us.left is None and not over.is_set():
                        path = paths[served % len(paths)]
                        stream, answer = us.begin("GET", host, path)
                        await asyncio.wait_for(answer.over.wait(), 60)
                        not_taken = answer.reset == REQUEST_REJECTED or (us.left is not None and stream >= us.left)
                        if answer.status == 200 and answer.reset is None and us.end is None:
                            served += 1
                        elif not not_taken or answer.head:
                            failed += 1
                            print(f"{path}: status {answer.status}, reset {answer.reset}, end {us.end}", file=sys.stderr)
                        await asyncio.sleep(0.002)
            except Exception as error:
                failed += 1
                print(repr(error), file=sys.stderr)

    async def tell():
        while not over.is_set():
            print(served, failed, flush=True)
            await asyncio.sleep(0.05)

    async def end():
        await asyncio.to_thread(sys.stdin.readline)
        over.set()

    await asyncio.gather(visitor(), visitor(), tell(), end())
    print(served, failed, flush=True)


CASES = {case.__name__: case for case in (get, large, resumed, upload, malformed, excessive, resets, drained, visits)}
asyncio.run(CASES[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:]))
