"""The cases of h3spec, as far as a client of aioquic can make them: each does to a server what it has to end the connection for (RFC 9000,
9114, 9204), and tells whether it did so with the right code.

    h3spec.py PORT
"""

import asyncio
import json
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset
from aioquic.quic.packet import QuicFrameType

PATIENCE = 3
FLOW_CONTROL, STREAM_LIMIT, STREAM_STATE, FRAME_ENCODING, PARAMETER, VIOLATION = 3, 4, 5, 7, 8, 10
NO_PROTOCOL = 0x178
CLOSED_CRITICAL, FRAME_UNEXPECTED, MISSING_SETTINGS, MESSAGE_ERROR = 0x104, 0x105, 0x10A, 0x10E
DECOMPRESSION, ENCODER_STREAM, DECODER_STREAM = 0x200, 0x201, 0x202
# Codes that may stand for any other.
ANY_TRANSPORT, ANY_HTTP = {1, VIOLATION}, {0x101, 0x102}

v = encode_uint_var


def frame(kind, payload=b""):
    return v(kind) + v(len(payload)) + payload


METHOD, SCHEME, PATH, AUTHORITY = b"\xd1", b"\xd7", b"\xc1", b"\x50\x09localhost"
SETTINGS = frame(4)


def head(*fields):
    return frame(1, b"\x00\x00" + b"".join(fields))


REQUEST = head(METHOD, SCHEME, AUTHORITY, PATH)


class Raw(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ended, self.end = asyncio.Event(), None
        self.frames = b""
        self._quic._write_ping_frame = self.write_frames

    def write_frames(self, builder, uids=[], comment=""):
        """Frames as they are, behind a PING."""
        buf = builder.start_frame(QuicFrameType.PING, capacity=1 + len(self.frames))
        buf.push_bytes(self.frames)

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.end = ("transport" if event.frame_type is not None else "http", event.error_code)
            self.ended.set()
        elif isinstance(event, StreamReset) and event.error_code == MESSAGE_ERROR:
            self.end = ("http", event.error_code)
            self.ended.set()

    def say(self, stream, data, over=False):
        self._quic.send_stream_data(stream, data, over)
        self.transmit()


def parameters(change):
    """With other transport parameters than aioquic would send."""

    class Changed(Raw):
        def __init__(self, quic, *args, **kwargs):
            super().__init__(quic, *args, **kwargs)
            serialize = quic._serialize_transport_parameters

            def changed():
                buf, all = Buffer(data=serialize()), {}
                while not buf.eof():
                    name = buf.pull_uint_var()
                    all[name] = buf.pull_bytes(buf.pull_uint_var())
                all.pop(2, None)
                change(all)
                return b"".join(v(name) + v(len(value)) + value for name, value in all.items())

            quic._serialize_transport_parameters = changed

    return Changed, None, "transport", {PARAMETER}


def frames(data, *codes):
    """Frames of QUIC once the connection stands."""

    def run(us):
        us.frames = data
        us._quic.send_ping(1)
        us.transmit()

    return Raw, run, "transport", set(codes)


def control(data, *codes, over=False):
    """What a control stream says."""
    return Raw, lambda us: us.say(2, v(0) + data, over), "http", set(codes)


def one_way(kind, data, *codes):
    """What the streams of QPACK say."""

    def run(us):
        us.say(2, v(0) + SETTINGS)
        us.say(6, v(kind) + data)

    return Raw, run, "http", set(codes)


def request(data, *codes):
    def run(us):
        us.say(2, v(0) + SETTINGS)
        us.say(0, data, True)

    return Raw, run, "http", set(codes)


def new_connection_id(retire, cid):
    return v(0x18) + v(3) + v(retire) + bytes([len(cid)]) + cid + bytes(16)


CASES = {
    "a STREAM frame with a large offset": frames(b"\x0e" + v(0) + v(100_000_000) + v(1) + b"x", FLOW_CONTROL),
    "a stream id over the limit": frames(b"\x0a" + v(1_000_000_000) + v(1) + b"x", STREAM_LIMIT),
    "no initial_source_connection_id": parameters(lambda all: all.pop(0x0F)),
    "original_destination_connection_id": parameters(lambda all: all.update({0x00: b"DUMMY"})),
    "preferred_address": parameters(lambda all: all.update({0x0D: b"\x7f\0\0\1\1\xbb" + bytes(18) + b"\x08" + bytes(8) + bytes(16)})),
    "retry_source_connection_id": parameters(lambda all: all.update({0x10: b"DUMMY"})),
    "stateless_reset_token": parameters(lambda all: all.update({0x02: bytes(16)})),
    "max_udp_payload_size < 1200": parameters(lambda all: all.update({0x03: v(1090)})),
    "ack_delay_exponent > 20": parameters(lambda all: all.update({0x0A: v(30)})),
    "max_ack_delay >= 2^14": parameters(lambda all: all.update({0x0B: v(2**15)})),
    "a frame of unknown type": frames(v(0x20), FRAME_ENCODING),
    "RESET_STREAM for a send-only stream": frames(v(0x04) + v(3) + v(0) + v(0), STREAM_STATE),
    "STOP_SENDING for a stream that does not exist": frames(v(0x05) + v(101) + v(0), STREAM_STATE),
    "NEW_TOKEN": frames(v(0x07) + v(5) + b"dummy"),
    "STREAM for a stream of the server's that is not open": frames(b"\x0a" + v(1) + v(1) + b"x", STREAM_STATE),
    "STREAM for a send-only stream": frames(b"\x0a" + v(3) + v(1) + b"x", STREAM_STATE),
    "MAX_STREAM_DATA for a stream that is not open": frames(v(0x11) + v(101) + v(1_000_000), STREAM_STATE),
    "MAX_STREAM_DATA for a receive-only stream": frames(v(0x11) + v(2) + v(1_000_000), STREAM_STATE),
    "MAX_STREAMS over 2^60": frames(v(0x12) + v(2**60 + 1), FRAME_ENCODING),
    "STREAMS_BLOCKED over 2^60": frames(v(0x16) + v(2**60 + 1), FRAME_ENCODING, STREAM_LIMIT),
    "NEW_CONNECTION_ID that retires more than there are": frames(new_connection_id(10, bytes(8)), FRAME_ENCODING),
    "NEW_CONNECTION_ID of no bytes": frames(new_connection_id(0, b""), FRAME_ENCODING),
    "HANDSHAKE_DONE": frames(v(0x1E)),
    "no protocol in common": (Raw, None, "transport", {NO_PROTOCOL}),
    "DATA before HEADERS": request(frame(0, b"x") + REQUEST, FRAME_UNEXPECTED),
    "a pseudo-header twice": request(head(METHOD, METHOD, SCHEME, AUTHORITY, PATH), MESSAGE_ERROR),
    "a pseudo-header is missing": request(head(SCHEME, AUTHORITY, PATH), MESSAGE_ERROR),
    "a pseudo-header of answers": request(head(METHOD, SCHEME, AUTHORITY, PATH, b"\xd8"), MESSAGE_ERROR),
    "a pseudo-header behind a field": request(head(METHOD, SCHEME, AUTHORITY, b"\xdd", PATH), MESSAGE_ERROR),
    "control stream without SETTINGS": control(frame(0), MISSING_SETTINGS),
    "DATA on a control stream": control(SETTINGS + frame(0), FRAME_UNEXPECTED),
    "HEADERS on a control stream": control(SETTINGS + frame(1), FRAME_UNEXPECTED),
    "SETTINGS twice": control(SETTINGS + SETTINGS, FRAME_UNEXPECTED),
    "CANCEL_PUSH in a request": request(frame(3, v(0)) + REQUEST, FRAME_UNEXPECTED),
    "an index that no static table has": request(head(METHOD, SCHEME, AUTHORITY, PATH, b"\xff\xff\x01"), DECOMPRESSION),
    "a table larger than announced": one_way(2, b"\x3f\xe1\xff\x3f", ENCODER_STREAM),
    "a control stream that ends": control(SETTINGS, CLOSED_CRITICAL, over=True),
    "Insert Count Increment of 0": one_way(3, b"\x00", DECODER_STREAM),
}


async def judge(port, name, case):
    kind, run, layer, codes = case
    alpn = ["dummy"] if name == "no protocol in common" else ["h3"]
    configuration = QuicConfiguration(is_client=True, alpn_protocols=alpn, verify_mode=ssl.CERT_NONE)
    found = {}

    def create(*args, **kwargs):
        found["us"] = kind(*args, **kwargs)
        return found["us"]

    async def all():
        async with connect("127.0.0.1", port, configuration=configuration, create_protocol=create) as us:
            if run is not None:
                run(us)
            await us.ended.wait()

    try:
        await asyncio.wait_for(all(), PATIENCE)
    except (asyncio.TimeoutError, ConnectionError):
        pass
    end = found["us"].end
    passes = end is not None and end[0] == layer and end[1] in codes | (ANY_TRANSPORT if layer == "transport" else ANY_HTTP)
    return name, passes, end


async def main(port):
    seen = await asyncio.gather(*(judge(port, name, case) for name, case in CASES.items()))
    for name, passes, end in seen:
        print(f"{'ok  ' if passes else 'FAIL'} {name}: {end}", file=sys.stderr)
    print(json.dumps({name: passes for name, passes, _ in seen}))


asyncio.run(main(int(sys.argv[1])))
