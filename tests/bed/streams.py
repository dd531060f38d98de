# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's end of streams to tests/system/tcp_peer: many connections in one loop, each octet
checked.  Octet i of a stream is PATTERN[(seed + i) % 65521]."""

import contextlib
import errno
import selectors
import socket
import struct
import time

from bed import proc

LENGTH = 65521
CHUNK = 4 * LENGTH


def _pattern():
    x, out = 2463534242, bytearray()
    for _ in range(LENGTH):
        x ^= x << 13 & 0xffffffff
        x ^= x >> 17
        x ^= x << 5 & 0xffffffff
        out.append(x >> 24)
    return bytes(out)


PATTERN = memoryview(_pattern() * 6)


def piece(seed, at, n):
    """A view of up to n octets of the stream from octet at on."""
    start = (seed + at) % LENGTH
    return PATTERN[start:start + min(n, CHUNK)]


class Bad(Exception):
    """A stream that was not what was sent, or a connection that ended."""


class Stream:
    """One connection.  mode: "echo" sends count octets and wants them back, "sink" sends them and
    wants the peer's verdict, "source" wants them sent."""

    def __init__(self, mode, seed, count):
        self.mode, self.seed, self.count = mode, seed, count
        self.sent = self.received = 0
        self.header = b"" if mode == "echo" else struct.pack("<QQ", seed, count)
        self.verdict = b""
        self.to_send = 0 if mode == "source" else count
        self.done = False

    def write(self, sock):
        """Send what fits; False: nothing is left to send."""
        while self.header:
            self.header = self.header[sock.send(self.header):]
        while self.sent < self.to_send:
            self.sent += sock.send(piece(self.seed, self.sent, self.to_send - self.sent))
        sock.shutdown(socket.SHUT_WR)
        return False

    def read(self, sock):
        data = sock.recv(CHUNK)
        if self.mode == "sink":
            self.verdict += data
            if not data:
                self.finish(self.verdict == b"good %d\n" % self.count, self.verdict)
            return
        if not data:
            self.finish(self.received == self.count, f"{self.received} octets of {self.count}")
            return
        if data != piece(self.seed, self.received, len(data)):
            raise Bad(f"{self.mode}: wrong data behind octet {self.received}")
        self.received += len(data)

    def finish(self, good, what):
        if not good:
            raise Bad(f"{self.mode}: {what}")
        self.done = True


def _connect(address, port, namespace, buffers):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with proc.inside(namespace):
        sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if buffers:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    result = sock.connect_ex((address, port))
    if result not in (0, errno.EINPROGRESS):
        raise Bad(f"connect: {errno.errorcode.get(result)}")
    return sock


def _event(selector, key, mask):
    stream, sock = key.data, key.fileobj
    try:
        if mask & selectors.EVENT_WRITE:
            with contextlib.suppress(BlockingIOError):
                if not stream.write(sock):
                    selector.modify(sock, selectors.EVENT_READ, stream)
        if mask & selectors.EVENT_READ:
            with contextlib.suppress(BlockingIOError):
                stream.read(sock)
    except OSError as e:
        raise Bad(f"{stream.mode}: {e.strerror} after {stream.sent} out, {stream.received} in")
    if stream.done:
        selector.unregister(sock)
        sock.close()


def run(namespace, address, port, mode, connections, count, seconds=60, buffers=0):
    """All at once; returns the seconds it took.  Bad: a stream was wrong, or time was up."""
    selector = selectors.DefaultSelector()
    began = time.monotonic()
    try:
        for i in range(connections):
            sock = _connect(address, port, namespace, buffers)
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE,
                              Stream(mode, i * 7919 % LENGTH, count))
        while selector.get_map():
            left = began + seconds - time.monotonic()
            if left < 0:
                raise Bad(f"{mode}: {len(selector.get_map())} of {connections} connections had not"
                          f" ended after {seconds} s")
            for key, mask in selector.select(left):
                _event(selector, key, mask)
    finally:
        for key in list(selector.get_map().values()):
            key.fileobj.close()
        selector.close()
    return time.monotonic() - began


def stuff(namespace, address, port, mode, connections, seconds, during=None):
    """Connections that send all they can, or ask for much, and read nothing; then they are closed.
    during() is called once, when the time is half over.  Those that the peer ends are let go; returns
    how many."""
    selector = selectors.DefaultSelector()
    began, ended, waiting = time.monotonic(), 0, []
    try:
        for i in range(connections):
            selector.register(_connect(address, port, namespace, 0), selectors.EVENT_WRITE,
                              Stream(mode, i, 1 << 30))
        while time.monotonic() - began < seconds:
            if during and time.monotonic() - began > seconds / 2:
                during()
                during = None
            for key, _ in selector.select(0.05):
                try:
                    with contextlib.suppress(BlockingIOError):
                        if not key.data.write(key.fileobj):
                            waiting.append(key.fileobj)
                            selector.unregister(key.fileobj)
                except OSError:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    ended += 1
    finally:
        for sock in waiting + [key.fileobj for key in selector.get_map().values()]:
            sock.close()
        selector.close()
    return ended


class EchoServer:
    """A kernel echo server, driven by serve() from the test's own thread."""

    def __init__(self, namespace, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with proc.inside(namespace):
            self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(4096)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.accepted = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def serve(self, until, seconds):
        """Echo until the condition until() holds, which is asked ten times a second."""
        deadline = time.monotonic() + seconds
        asked = time.monotonic()
        while True:
            if time.monotonic() - asked > 0.1:
                if until():
                    return
                asked = time.monotonic()
                if asked > deadline:
                    raise Bad(f"active opens had not ended after {seconds} s")
            for key, _ in self.selector.select(0.1):
                if key.data is None:
                    self.accept()
                else:
                    self.echo(key)

    def accept(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self.listener.accept()
                sock.setblocking(False)
                self.accepted += 1
                self.selector.register(sock, selectors.EVENT_READ, bytearray())

    def echo(self, key):
        sock, waiting = key.fileobj, key.data
        try:
            if len(waiting) < CHUNK:
                with contextlib.suppress(BlockingIOError):
                    data = sock.recv(CHUNK)
                    if not data and not waiting:
                        self.selector.unregister(sock)
                        sock.close()
                        return
                    waiting += data
            with contextlib.suppress(BlockingIOError):
                if waiting:
                    del waiting[:sock.send(waiting)]
        except OSError:
            self.selector.unregister(sock)
            sock.close()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0)
        self.selector.modify(sock, events, waiting)
