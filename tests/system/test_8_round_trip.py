# SPDX-License-Identifier: BSD-3-Clause
"""Octet for octet: random messages through the relay to a next hop and into a mailbox.

BYPOST_ROUND_TRIP=10000 ./check --only "system:round trip"   (1,000 without it)"""

import collections
import hashlib
import os
import random
import re
import threading
import time

from bed import mailbox, proc
from bed.harness import equal, expect, test
from bed.nexthop import log_text
from system.test_7_outbound import Outbound

COUNT = int(os.environ.get("BYPOST_ROUND_TRIP", "1000"))
CONNECTIONS = 8
OURS = re.compile(rb"\A(?:Return-Path: [^\r\n]*\r\n)?Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
OCTETS = bytes(c for c in range(1, 256) if c not in b"\r\n")


def line(rng):
    """A line of any kind: dots, 8-bit, long, empty, what looks like something it is not."""
    kind = rng.random()
    if kind < 0.15:
        return b"." * rng.randrange(1, 4)
    if kind < 0.25:
        return b"." + bytes(rng.choices(OCTETS, k=rng.randrange(0, 30)))
    if kind < 0.35:
        return b""
    if kind < 0.4:
        return bytes(rng.choices(OCTETS, k=rng.randrange(900, 1900)))
    if kind < 0.5:
        return rng.choice((b"From x", b"QUIT", b"RSET", b".QUIT", b"--b", b"Received: no", b"\t",
                           b" trailing ", b"Bcc: a@example.org"))
    return bytes(rng.choices(OCTETS, k=rng.randrange(0, 120)))


def header(rng):
    fields = [b"Subject: " + hashlib.sha256(rng.randbytes(8)).hexdigest().encode()]
    huge = rng.random() < 0.03
    for i in range(rng.randrange(400, 900) if huge else rng.randrange(0, 12)):
        fields.append(b"X-Field-%d: " % i + bytes(rng.choices(range(33, 127), k=rng.randrange(60)))
                      + (b"\r\n\tfolded" if rng.random() < 0.2 else b""))
    return b"\r\n".join(fields) + b"\r\n"


def make(rng):
    """One message; a few have no header, no body, no last line end, or nothing at all."""
    kind = rng.random()
    if kind < 0.01:
        return b""
    lines = b"\r\n".join(line(rng) for _ in range(rng.randrange(0, 60)))
    if kind < 0.03:
        return b"\r\n" + lines + b"\r\n"
    if kind < 0.05:
        return header(rng)
    if kind < 0.06:
        return header(rng) + b"\r\n" + b"x" * 70 + b"\r\n" + rng.randbytes(1).hex().encode() * 80_000
    return header(rng) + b"\r\n" + lines + (b"" if rng.random() < 0.1 else b"\r\n")


class Sender(threading.Thread):
    """A share of the messages over one connection at a time, with BDAT: octets as they are."""

    def __init__(self, bed, messages):
        super().__init__(daemon=True)
        self.bed, self.messages, self.problem = bed, messages, None

    def run(self):
        try:
            for at in range(0, len(self.messages), 50):
                self.some(self.messages[at:at + 50])
        except (OSError, AssertionError) as e:
            self.problem = e

    def some(self, messages):
        s = self.bed.connect(self.bed.relay, 25, timeout=60)
        replies = s.makefile("rb")

        def reply(code):
            while (text := replies.readline())[3:4] == b"-":
                pass
            expect(text.startswith(code), f"{code}: {text}")
        reply(b"220")
        s.sendall(b"EHLO client.example.org\r\n")
        reply(b"250")
        for ident, text in messages:
            s.sendall(f"MAIL FROM:<{self.bed.user1}> BODY=8BITMIME\r\n"
                      f"RCPT TO:<m{ident}@{self.bed.remote_domain}>\r\n"
                      f"RCPT TO:<{self.bed.user2}>\r\nBDAT {len(text)} LAST\r\n".encode() + text)
            for _ in range(4):
                reply(b"250")
        s.sendall(b"QUIT\r\n")
        reply(b"221")
        s.close()


def below_ours(data):
    return data[OURS.match(data).end():]


def check_relayed(sent, received):
    """Each once; a last line end may be added where the protocol wants one (RFC 5321 4.1.1.4)."""
    seen = set()
    for facts, data in received:
        ident = int(re.search(r"<m(\d+)@", facts["rcpt"][0]).group(1))
        expect(ident not in seen, f"message {ident} twice")
        seen.add(ident)
        text, got = sent[ident], below_ours(data)
        if got != text:
            expect(not text.endswith(b"\r\n") and got == text + b"\r\n",
                   f"message {ident}: {len(text)} octets became {len(got)}")
    equal(len(seen), len(sent), "messages at the next hop")


@test("round trip: random messages to a next hop and into a mailbox, octet for octet", seconds=600)
def round_trip(work):
    rng = random.Random(20260302)
    sent = [make(rng) for _ in range(COUNT)]
    with Outbound(work, limits={"received": 500}, log={"level": "warn"}) as bed:
        mx = bed.mx(cert="", extensions=["PIPELINING", "SIZE", "8BITMIME", "CHUNKING"])
        began = time.monotonic()
        senders = [Sender(bed, list(enumerate(sent))[i::CONNECTIONS]) for i in range(CONNECTIONS)]
        for s in senders:
            s.start()
        for s in senders:
            s.join()
            expect(s.problem is None, f"sending: {s.problem!r}\n{log_text(bed)[-2000:]}")
        proc.wait_for("an empty queue", lambda: not bed.queue(), 300)
        print(f"{COUNT} messages in {time.monotonic() - began:.0f} s")
        check_relayed(sent, mx.messages())
        want = collections.Counter(hashlib.sha256(text).digest() for text in sent)
        got = collections.Counter(hashlib.sha256(below_ours(data)).digest()
                                  for data in mailbox.wait_messages(bed, COUNT, user=2))
        equal(sum((want - got).values()), 0, "messages that are not in the mailbox as they were")
        equal(sum((got - want).values()), 0, "messages in the mailbox that were not sent so")
