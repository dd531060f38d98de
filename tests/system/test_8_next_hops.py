# SPDX-License-Identifier: BSD-3-Clause
"""The relay as a client of other people's servers: Postfix, Exim, OpenSMTPD, Dovecot's LMTP; with
STARTTLS, and the server's certificate checked where the server manages TLS."""

import glob
import os
import random
import shutil
import smtplib

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
