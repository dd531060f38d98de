# SPDX-License-Identifier: BSD-3-Clause
"""Mailbox clients that take what they can get and give nothing back: the others are served."""

import contextlib
import imaplib
import smtplib
import socket
import time

from bed import mail, mailbox, proc
from bed.bed import Bed
from bed.harness import equal, expect, test


class Raw:
    """A client that reads only when told to, and has little room for what it does not read."""

    def __init__(self, bed, port=143, user=None):
        with proc.inside(bed.ns):
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(20)
        self.sock.connect((bed.relay, port))
        self.file = self.sock.makefile("rb")
        self.greeting = self.file.readline()
        if user:
            self.user, self.password = getattr(bed, f"user{user}"), getattr(bed, f"pass{user}")
            self.answer = self.ask(f"LOGIN {self.user} {self.password}")

    def send(self, text):
        self.sock.sendall(text.encode())

    def ask(self, command):
        """The tagged answer."""
        self.send(f"t {command}\r\n")
        while True:
            line = self.file.readline()
            if not line or line.startswith(b"t "):
                return line.decode()

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
            self.sock.close()


@contextlib.contextmanager
def raws(bed, n, **kwargs):
    clients = []
    try:
        for _ in range(n):
            clients.append(Raw(bed, **kwargs))
        yield clients
    finally:
        for c in clients:
            c.close()


def fill(bed, user, count, size=300):
    """count messages in the INBOX of a user: one, and its copies."""
    with mailbox.imap(bed, user) as box:
        body = mail.make(bed.user1, bed.user2, "the message", size)
        for _ in range(min(count, 16)):
            box.append("INBOX", None, None, body)
        have = min(count, 16)
        while have < count:
            box.select("INBOX")
            n = min(have, count - have, 16000)
            kind, data = box.copy(f"1:{n}", "INBOX")
            expect(kind == "OK", f"COPY: {data}")
            have += n


def serves(bed, user, what, seconds=10):
    """A client that does what clients do, and is answered in time."""
    began = time.monotonic()
    with mailbox.imap(bed, user, timeout=seconds) as box:
        for do in what:
            kind, data = do(box)
            expect(kind == "OK", f"{kind} {data}")
    took = time.monotonic() - began
    expect(took < seconds, f"took {took:.1f} s")


USUAL = (
    lambda box: box.select("INBOX"),
    lambda box: box.store("1", "+FLAGS", "(\\Answered)"),
    lambda box: box.fetch("1", "(BODY[])"),
    lambda box: box.fetch("1", "(ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (Subject)])"),
    lambda box: box.search(None, "BODY", "message"),
    lambda box: box.copy("1", "INBOX"),
    lambda box: box.uid("FETCH", ",".join(str(i) for i in range(1, 1500)), "(FLAGS)"),
    lambda box: box.store("2", "+FLAGS", "(\\Deleted)"),
    lambda box: box.expunge(),
)


@test("spaces that all sessions share: nobody keeps them who does not read, or does not send", seconds=120)
def spaces(work):
    with Bed(work + "/bed", sink=False) as bed:
        fill(bed, 1, 60000)
        fill(bed, 2, 3)
        for command in ("STORE 1:30000 {}FLAGS (a{})\r\n", "UID SEARCH OR UID 2:* BODY message\r\n",
                        "UID FETCH " + "1," * 3000):
            with raws(bed, 20, user=1) as clients:
                for i, c in enumerate(clients):
                    c.ask("SELECT INBOX")
                    c.send("t " + command.format("+-"[i % 2], i))
                time.sleep(2)
                serves(bed, 2, USUAL)


@test("connections that never log in give way; an account has no more sessions than it may", seconds=120)
def anonymous(work):
    with Bed(work + "/bed", sink=False, changes={"limits": {"account_sessions": 5}}) as bed:
        fill(bed, 2, 3)
        for port in (143, 110):
            with raws(bed, 256, port=port):
                time.sleep(3)
                if port == 143:
                    serves(bed, 2, USUAL)
                else:
                    with mailbox.pop3(bed, 2, timeout=10) as box:
                        expect(box.stat()[0] > 0, "messages")
        with raws(bed, 6, user=1) as clients:
            equal([c.answer.startswith("t OK") for c in clients], [True] * 5 + [False], "logins")
            expect(clients[5].answer.startswith("t NO [LIMIT]"), clients[5].answer)
            serves(bed, 2, USUAL)
            clients[0].close()
            clients[1].ask("NOOP")
            with raws(bed, 1, user=1) as one:
                expect(one[0].answer.startswith("t OK"), one[0].answer)


@test("commands that look at many messages, many at once: a lap is short", seconds=120)
def laps(work):
    with Bed(work + "/bed", sink=False) as bed:
        fill(bed, 1, 200000)
        # 0.96 s when a search went through all messages without a pause, 5.7 s when all that came at once was done at once.
        for n, command in ((10, "SEARCH NOT UID " + ",".join(str(2**32 - 3 - 2 * i) for i in range(470)) + " SEEN"),
                           (1, "UID EXPUNGE 1:*")):
            with raws(bed, n, user=1) as clients:
                for c in clients:
                    c.ask("SELECT INBOX")
                for c in clients:
                    c.send(f"t {command}\r\n" * (60000 // len(command)))
                worst = slowest_greeting(bed)
                expect(worst < 0.3, f"a greeting took {worst:.2f} s")


def slowest_greeting(bed):
    worst = 0
    for _ in range(10):
        began = time.monotonic()
        with bed.connect(bed.relay, 25) as s:
            s.settimeout(30)
            s.recv(100)
        worst = max(worst, time.monotonic() - began)
    return worst


@test("large mailboxes in many sessions, large answers that nobody reads: mail goes on", seconds=120)
def memory(work):
    with Bed(work + "/bed", sink=False, changes={"limits": {"body_memory": "16M"}}) as bed:
        fill(bed, 1, 100000)
        fill(bed, 2, 3)
        with mailbox.imap(bed, 1) as box:
            box.create("large")
            box.append("large", None, None, mail.make(bed.user1, bed.user2, "large", 1_000_000))
        for begin in ("SELECT INBOX", "SELECT large"):
            with raws(bed, 40, user=1) as clients:
                for c in clients:
                    c.ask(begin)
                    c.send("t FETCH 1:* (BODY.PEEK[])\r\n")
                time.sleep(2)
                pool = [p for p in bed.ctl_json("status")[0]["pools"] if p["name"] == "chunks"][0]
                expect(pool["in_use"] < pool["size"] * 0.6, f"{begin}: {pool}")
                with proc.inside(bed.ns):
                    s = smtplib.SMTP(bed.relay, timeout=10, local_hostname="client.example.org")
                s.sendmail(bed.user1, [bed.user2], mail.make(bed.user1, bed.user2, "x", 300_000))
                s.quit()
                serves(bed, 2, USUAL)
