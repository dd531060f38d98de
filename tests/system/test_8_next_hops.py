# SPDX-License-Identifier: BSD-3-Clause
"""The relay as a client of other people's servers: Postfix, Exim, OpenSMTPD, Dovecot's LMTP; with
STARTTLS, and the server's certificate checked where the server manages TLS."""

import contextlib
import glob
import os
import random
import shutil
import smtplib
import socket
import threading
import time

from bed import mail, mailservers, proc
from bed.harness import equal, expect, test
from bed.nexthop import log_text, submit
from system.test_7_outbound import MX, Outbound, eight_bit_message


def facts_of(bed):
    """What a server's configuration needs.  Servers read keys as users of their own."""
    folder = bed.path("tls")
    os.makedirs(folder, exist_ok=True)
    cert, key = shutil.copy(bed.chain, folder), shutil.copy(bed.private, folder)
    os.chmod(key, 0o644)
    return {"name": MX, "ip": bed.sink_ip, "onward": bed.reject_ip, "domain": bed.remote_domain,
            "cert": cert, "key": key, "level": "may"}


def sent_to(bed):
    """Messages of each kind, as they were submitted."""
    rng = random.Random(11)
    far = [bed.far("a"), bed.far("b")]
    yield submit(bed, far[0], mail.make(bed.user1, far[0], "small", 1000))
    yield submit(bed, far, mail.make(bed.user1, far[0], "large", 400_000))
    yield submit(bed, far[0], b"Subject: no body\r\n\r\n")
    yield submit(bed, far[0], eight_bit_message(rng), options=["BODY=8BITMIME"])


def through(work, server, level="verify", seen="/verified"):
    with Outbound(work, delivery={"tls": level}) as bed:
        end = bed.mx(ip=bed.reject_ip, cert="")
        server(bed, facts_of(bed))
        for i, text in enumerate(sent_to(bed)):
            facts, got = end.wait(i + 1)[i]
            equal(mail.same(text, got), None, f"message {i}")
            equal(len(facts["rcpt"]), 2 if i == 1 else 1, "recipients")
        proc.wait_for("5 deliveries in the log",
                      lambda: log_text(bed).count("status=delivered") >= 5)
        log = log_text(bed)
        equal(log.count("status=delivered"), 5, "recipients delivered")
        equal(log.count(seen + " status=delivered"), 5, "recipients delivered " + seen)


@test("next hop Postfix: STARTTLS verified, small, large, empty, 8-bit")
def postfix(work):
    through(work, mailservers.postfix)


@test("next hop Exim: STARTTLS verified, small, large, empty, 8-bit")
def exim(work):
    through(work, mailservers.exim)


@test("next hop OpenSMTPD: STARTTLS that fails, then in clear, small, large, empty, 8-bit")
def opensmtpd(work):
    # Its 6.8 with OpenSSL 3 offers STARTTLS and fails in every handshake: what `may` is for.
    through(work, mailservers.opensmtpd, level="may", seen="tls=-")


@test("next hop Dovecot: LMTP with STARTTLS, a reply for each recipient")
def dovecot(work):
    route = {"domain": "remote.example.net", "host": MX, "transport": "lmtp", "tls": "verify"}
    with Outbound(work, relay={"routes": [route]}) as bed:
        boxes = mailservers.dovecot(bed, facts_of(bed))
        sent = list(sent_to(bed))

        def arrived(user):
            return sorted(glob.glob(f"{boxes}/{user}@{bed.remote_domain}/new/*"))
        proc.wait_for("mail in Dovecot's mailboxes",
                      lambda: len(arrived("a")) == 4 and len(arrived("b")) == 1, 20)
        found = []
        for path in arrived("a"):
            with open(path, "rb") as f:
                found.append(f.read())
        for text in sent:
            expect(any(mail.same(text, got) is None for got in found),
                   f"{mail.same(text, found[0])}")
        proc.wait_for("verified TLS in the log",
                      lambda: "tls=TLSv1.3/verified status=delivered" in log_text(bed))
        # LMTP is a final delivery: success is told as such.
        with proc.inside(bed.ns):
            s = smtplib.SMTP(bed.relay, 25, timeout=30)
        s.sendmail(bed.user1, [bed.far("c")], b"Subject: x\r\n\r\nx\r\n",
                   rcpt_options=["NOTIFY=SUCCESS"])
        s.quit()
        proc.wait_for("the report", lambda: "bounce=" in log_text(bed), 20)


SINK = "198.18.0.10"  # of a bed


class Hanging:
    """Servers that greet, and that is all: one for each port."""

    def __init__(self, bed, ports):
        with proc.inside(bed.ns):
            self.listeners = [socket.create_server((bed.sink_ip, port), backlog=32)
                              for port in ports]
        self.taken = []
        for listener in self.listeners:
            threading.Thread(target=self.serve, args=(listener,), daemon=True).start()

    def serve(self, listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.taken.append(client)
                client.sendall(b"220 hanging.example.net ESMTP\r\n")

    def close(self):
        for s in self.listeners + self.taken:
            s.close()


@test("next hops that greet and hang: they hold all connections for seconds, not minutes", seconds=90)
def hanging(work):
    sites, ports = range(6), range(3000, 3006)
    routes = [{"domain": f"hang{i}.example.net", "host": f"{SINK}:{ports[i]}"} for i in sites]
    limits = {"connections": 8, "site_connections": 4}
    with Outbound(work, delivery=limits, relay={"routes": routes}) as bed:
        equal(bed.sink_ip, SINK, "the sink's address")
        with contextlib.closing(Hanging(bed, ports)) as hang:
            end = bed.mx(cert="")
            for _ in range(5):
                for i in sites:
                    submit(bed, f"x@hang{i}.example.net")
            proc.wait_for("all connections to be taken", lambda: len(hang.taken) >= 8, 10)
            text = submit(bed, bed.far("a"))
            waits = {m["recipients"][0]["address"]: m["id"] for m in bed.queue()}
            proc.wait_for("the cause to be told", lambda: [
                row["cause"] for row in bed.ctl_json("queue", "why", waits[bed.far("a")])]
                == ["worker-full"], 5)
            began = time.monotonic()
            equal(mail.same(text, end.wait(1, 40)[0][1]), None, "content")
            print(f"{time.monotonic() - began:.1f} s")
            equal(len(bed.queue()), 30, "what waits for those that hang")
