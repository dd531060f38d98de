# SPDX-License-Identifier: BSD-3-Clause
"""The relay as a client, over its own TCP, against a server whose answers the test decides: TLS by
policy."""

import email
import email.policy
import os
import random
import re
import time

from bed import certs, dns, mail, mailbox, mailservers, peers, proc
from bed.bed import Bed
from bed.proc import Failure
from bed.harness import equal, expect, test
from bed.nexthop import Mx, log_text, sign_zone, submit, wait_reason

MX = "mx.sink.example.net"


class Outbound(Bed):
    """A bed without a sink: the test starts its own at the sink's address."""

    def __init__(self, work, folder="/bed", layout="one", **changes):
        self.issuer = certs.Issuer(work + folder + "-certs")
        self.chain, self.private = self.issuer.issue(MX)
        os.chmod(self.private, 0o644)
        changes.setdefault("delivery", {}).setdefault("retry", ["2s"])
        changes["delivery"].setdefault("connect_timeout", "5s")
        super().__init__(work + folder, sink=False, layout=layout, changes={
            "tls": {"ca_file": self.issuer.chain}, **changes})

    def far(self, name="x"):
        return f"{name}@{self.remote_domain}"

    def mx(self, **settings):
        return Mx(self, **{"cert": self.chain, "key": self.private, **settings})


@test("outbound TLS: may encrypts, resumes, and goes without when it has to")
def tls_may(work):
    with Outbound(work, delivery={"idle_timeout": "100ms"}) as bed:
        mx = bed.mx()
        for i in range(3):
            time.sleep(0.5)  # for the connection before to go
            text = submit(bed, bed.far(), mail.make(bed.user1, bed.far(), "x", 200_000))
            facts, got = mx.wait(i + 1)[i]
            equal(mail.same(text, got), None, "content")
            equal(facts["tls"]["version"], "TLSv1.3", "version")
            equal(facts["tls"]["sni"], MX, "SNI")
            equal(facts["tls"]["resumed"], i > 0, f"resumed, message {i}")
        mx.restart(starttls=False)
        submit(bed, bed.far())
        equal(mx.wait(4)[3][0]["tls"], {}, "not offered: in clear")
        mx.restart(starttls=True, break_tls=True)
        submit(bed, bed.far())
        equal(mx.wait(5)[4][0]["tls"], {}, "handshake failed: in clear")
        proc.wait_for("the reason in the log", lambda: "error=" in log_text(bed) and
                      "next=clear" in log_text(bed))


@test("outbound TLS: two cores that deliver, many destinations, every connection verified")
def tls_cores(work):
    layout = [{"roles": ["dataplane", "control", "delivery"]}, {"roles": ["delivery"]}]
    with Outbound(work, delivery={"tls": "verify"}, cores={"layout": layout}) as bed:
        mx = bed.mx()
        for i in range(40):
            submit(bed, f"x{i}@d{i}." + bed.remote_domain)
        found = mx.wait(40)
        equal(len({facts["rcpt"][0] for facts, _ in found}), 40, "each once")
        expect(all(facts["tls"] for facts, _ in found), "over TLS")
        proc.wait_for("40 verified deliveries in the log",
                      lambda: log_text(bed).count("/verified status=delivered") == 40)


@test("outbound TLS: encrypt and verify never send in clear or to the wrong host", seconds=120)
def tls_must(work):
    for level in ("encrypt", "verify"):
        with Outbound(work, "/" + level, delivery={"tls": level}) as bed:
            mx = bed.mx(starttls=False)
            submit(bed, bed.far())
            wait_reason(bed, "4.7.4 TLS is required here and not offered")
            mx.restart(starttls=True, inject="250-evil\r\n250 AUTH PLAIN\r\n")
            wait_reason(bed, "plaintext behind")
            mx.restart(inject="", break_tls=True)
            wait_reason(bed, "TLS handshake failed")
            other, key = bed.issuer.issue("other.example.net")
            os.chmod(key, 0o644)
            mx.restart(break_tls=False, cert=other, key=key)
            if level == "verify":
                wait_reason(bed, "mismatch")
                stranger = certs.Issuer(work + "/stranger")
                chain, key = stranger.issue(MX)
                mx.restart(cert=chain, key=key)
                wait_reason(bed, "self-signed certificate in certificate chain")
                expect(not mx.messages(), "nothing was sent")
                mx.restart(cert=bed.chain, key=bed.private)
            facts, _ = mx.wait(1)[0]
            expect(facts["tls"], "over TLS")
            line = f"tls=TLSv1.3{'/verified' if level == 'verify' else ''} status=delivered"
            proc.wait_for(f"{line} in the log", lambda: line in log_text(bed))


@test("outbound TLS: by routing table, from the first octet, with a certificate of our own")
def tls_routes(work):
    work_certs = certs.Issuer(work + "/own")
    chain, key = work_certs.issue("mail.example.org")
    routes = [{"domain": "smart.example.net", "host": MX + ":465", "transport": "smtps",
               "tls": "verify"},
              {"domain": ".remote.example.net", "names": ["other.example.net"], "tls": "verify"},
              {"domain": "*", "tls": "none"}]
    with Outbound(work, relay={"routes": routes},
                  tls={"ca_file": work + "/bed-certs/ca.crt", "client_chain": chain,
                       "client_key": key}) as bed:
        mx = bed.mx(port=465, implicit=True, client_ca=work_certs.chain)
        plain = bed.mx(name="plain")
        submit(bed, "x@smart.example.net")
        facts, _ = mx.wait(1)[0]
        expect("mail.example.org" in facts["tls"]["subject"], f"our certificate: {facts}")
        submit(bed, bed.far())
        equal(plain.wait(1)[0][0]["tls"], {}, "level none")
        submit(bed, "x@sub.remote.example.net")
        wait_reason(bed, "no mail server is among the names allowed")


@test("outbound AUTH: SCRAM-SHA-256, PLAIN and LOGIN at a smarthost, never in clear, never logged")
def auth(work):
    secret = "s3cret-of-the-relay"
    password = work + "/password"
    with open(password, "w") as f:
        f.write(secret + "\n")
    os.chmod(password, 0o600)
    route = {"domain": "*", "host": MX + ":587", "tls": "encrypt", "user": "relay,1",
             "password_file": password}
    with Outbound(work, relay={"routes": [route]}, log={"level": "debug"}) as bed:
        mx = bed.mx(port=587, user="relay=2C1", password=secret)
        for i, mechanism in enumerate(("SCRAM-SHA-256", "SCRAM-SHA-256", "PLAIN", "LOGIN")):
            mx.restart(mechanisms=[mechanism],
                       user="relay=2C1" if mechanism.startswith("SCRAM") else "relay,1")
            text = submit(bed, bed.far())
            facts, got = mx.wait(i + 1)[i]
            equal(facts["auth"], mechanism, "mechanism")
            equal(mail.same(text, got), None, "content")
        mx.restart(password="another")
        submit(bed, bed.far())
        wait_reason(bed, "535 5.7.8 no")
        mx.restart(mechanisms=["NTLM"])
        wait_reason(bed, "no mechanism of ours is offered")
        mx.restart(password=secret, mechanisms=["PLAIN"])
        mx.wait(5)
        expect(secret not in log_text(bed), "the password is in the log")
    os.chmod(password, 0o640)
    bed = Outbound(work, "/open", relay={"routes": [route]})
    try:
        bed.start()
    except Failure as e:
        expect("relay.routes[0].password_file" in str(e) and "chmod 600" in str(e), f"says why: {e}")
    else:
        bed.stop()
        expect(False, "a password that others can read was taken")


def parts_of(data):
    """Type and decoded content of each leaf, as another program reads them."""
    message = email.message_from_bytes(data)
    return [(p.get_content_type(), p.get_payload(decode=True))
            for p in message.walk() if not p.is_multipart()]


def eight_bit_message(rng):
    """A message with every kind of part that may need to be encoded."""
    text = "".join(rng.choice("aäöü=€. \tß") for _ in range(3000))
    lines = "\r\n".join(text[i:i + 60] for i in range(0, len(text), 60)) + "\r\n"
    inner = ("Subject: inside\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
             "Content-Transfer-Encoding: 8bit\r\n\r\n" + lines)
    noise = bytes(rng.randrange(1, 256) for _ in range(5000))
    noise = noise.replace(b"\r", b"x").replace(b"\n", b"\r\n")
    return b"".join([
        b"From: a@example.org\r\nSubject: parts\r\nMIME-Version: 1.0\r\n",
        b"Content-Type: multipart/mixed; boundary=\"=_outer\"\r\n",
        b"Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n",
        b"--=_outer\r\nContent-Type: text/plain; charset=utf-8\r\n",
        b"Content-Transfer-Encoding: 8bit\r\n\r\n", lines.encode(),
        b"\r\n--=_outer\r\nContent-Type: application/octet-stream\r\n",
        b"Content-Transfer-Encoding: 8bit\r\n\r\n", noise,
        b"\r\n--=_outer\r\nContent-Type: message/rfc822\r\n",
        b"Content-Transfer-Encoding: 8bit\r\n\r\n", inner.encode(),
        b"\r\n--=_outer\r\nContent-Type: text/plain\r\n\r\nseven bits = 7\r\n",
        b"--=_outer--\r\n"])


@test("outbound: 8-bit content for a next hop with 7 bits, UTF-8 addresses, DSN handed on")
def extensions(work):
    rng = random.Random(7)
    seven = ["PIPELINING", "SIZE 100000000"]
    with Outbound(work) as bed:
        mx = bed.mx(extensions=seven)
        for i in range(5):
            text = eight_bit_message(rng)
            submit(bed, bed.far(), text, options=["BODY=8BITMIME"])
            facts, got = mx.wait(i + 1)[i]
            expect(max(got) < 128, "seven bits")
            expect("BODY" not in facts["mail"], facts["mail"])
            equal(parts_of(got), parts_of(text), "parts after decoding")
        mx.restart(extensions=seven + ["8BITMIME"])
        submit(bed, bed.far(), text, options=["BODY=8BITMIME"])
        facts, got = mx.wait(6)[5]
        equal(mail.same(text, got), None, "8BITMIME is offered: as it is")
        submit(bed, "köln@" + bed.remote_domain, options=["SMTPUTF8"])
        bounce = mailbox.wait_messages(bed, 1)[0]
        expect(b"5.6.7" in bounce, f"SMTPUTF8 is not offered: {bounce}")
        mx.restart(extensions=seven + ["8BITMIME", "SMTPUTF8", "DSN"])
        submit(bed, "köln@" + bed.remote_domain, options=["SMTPUTF8"])
        facts, _ = mx.wait(7)[6]
        expect("SMTPUTF8" in facts["mail"] and "köln@" in facts["rcpt"][0], str(facts))
        submit(bed, bed.far(), options=["RET=HDRS", "ENVID=a+2Bb"],
               rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;y+2Bz@example.net"])
        facts, _ = mx.wait(8)[7]
        expect("RET=HDRS ENVID=a+2Bb" in facts["mail"], facts["mail"])
        expect("NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;y+2Bz@example.net" in facts["rcpt"][0],
               str(facts["rcpt"]))


@test("outbound DSN: failed with all of the message, relayed, delayed, and none when none is wanted")
def notifications(work):
    with Outbound(work, delivery={"delay_warning": "2s", "retry": ["1s"]}) as bed:
        mx = bed.mx(replies={"RCPT TO:<NO@": "550 5.1.1 no such user",
                             "RCPT TO:<LATER@": "450 4.2.1 later"})
        text = submit(bed, bed.far("no"), options=["RET=FULL", "ENVID=the+2Bone"],
                      rcpt_options=["ORCPT=rfc822;old@example.net"])
        report = email.message_from_bytes(mailbox.wait_messages(bed, 1)[0])
        equal(report.get_content_type(), "multipart/report", "type")
        equal(report.get_param("report-type"), "delivery-status", "report-type")
        human, status, original = report.get_payload()
        equal(status.get_content_type(), "message/delivery-status", "second part")
        message, recipient = status.get_payload()
        equal(message["Original-Envelope-Id"], "the+one", "ENVID")
        equal(recipient["Action"], "failed", "action")
        equal(recipient["Original-Recipient"], "rfc822; old@example.net", "ORCPT")
        equal(recipient["Remote-MTA"], "dns; " + MX, "Remote-MTA")
        expect("550 5.1.1" in recipient["Diagnostic-Code"], str(recipient))
        equal(mail.same(text, original.get_payload(0).as_bytes(policy=email.policy.SMTP)), None,
              "the message")
        submit(bed, bed.far("no"), rcpt_options=["NOTIFY=NEVER"])
        submit(bed, bed.far("ok"), rcpt_options=["NOTIFY=SUCCESS"])
        got = mailbox.wait_messages(bed, 2)
        expect(b"Action: relayed" in got[1], f"relayed: {got[1]}")
        submit(bed, bed.far("later"))
        got = mailbox.wait_messages(bed, 3)
        expect(b"Action: delayed" in got[2] and b"Will-Retry-Until:" in got[2], f"delayed: {got[2]}")
        mx.restart(replies={})
        mx.wait(2)
        time.sleep(2)
        equal(len(mailbox.wait_messages(bed, 3)), 3, "no more than that")


@test("outbound DSN: an alias of many is expanded, one of one and NOTIFY=NEVER go on with it")
def expanded(work):
    with Outbound(work) as bed:
        mx = bed.mx(replies={"RCPT TO:<NO@": "550 5.1.1 no such user"})
        bed.ctl("alias", "set", "all@example.org", bed.far("a"), bed.far("b"))
        bed.ctl("alias", "set", "one@example.org", bed.far("c"))
        bed.ctl("alias", "set", "bad@example.org", bed.far("no"), bed.far("d"))
        submit(bed, "all@example.org", rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;All@x"])
        mx.wait(1)
        report = email.message_from_bytes(mailbox.wait_messages(bed, 1)[0])
        recipient = report.get_payload()[1].get_payload()[1]
        equal(recipient["Action"], "expanded", "action")
        equal(recipient["Final-Recipient"], "rfc822; all@example.org", "of the alias")
        equal(recipient["Original-Recipient"], "rfc822; All@x", "ORCPT")
        # Behind one that stands for one address whoever relays it says so: this peer knows no DSN.
        submit(bed, "one@example.org", rcpt_options=["NOTIFY=SUCCESS"])
        mx.wait(2)
        got = mailbox.wait_messages(bed, 2)
        expect(b"Action: relayed" in got[1] and b"c@" in got[1], f"relayed: {got[1]}")
        submit(bed, "bad@example.org", rcpt_options=["NOTIFY=NEVER"])
        mx.wait(3)
        submit(bed, "bad@example.org", rcpt_options=["NOTIFY=FAILURE"])
        mx.wait(4)
        got = mailbox.wait_messages(bed, 3)
        expect(b"Action: failed" in got[2] and b"no@" in got[2], f"failed: {got[2]}")
        time.sleep(1)
        equal(len(mailbox.wait_messages(bed, 3)), 3, "and none for NEVER")


class Signed(Outbound):
    """Its zone example.net is signed, and the relay validates; records are added to it."""

    def __init__(self, work, records):
        self.records, self.anchor = records, work + "/anchor"
        super().__init__(work, delivery={"tls": "dane"}, dns={"trust_anchor": self.anchor})

    def start_dns(self):
        command = dns.write(self)
        with open(sign_zone(self, self.records(self))) as f, open(self.anchor, "w") as anchor:
            anchor.write(f.read())
        self.start_process("nsd", command, env=peers.environment())
        self.wait_listening("the DNS server", self.dns_ip, 53, "nsd")


@test("outbound DANE: by a key, by an issuer, wrong, unusable, none, and not to be had", seconds=120)
def dane(work):
    def records(bed):
        """A host for each case, all of them at the sink's address."""
        right = certs.tlsa(bed.chain)
        cases = {
            "key": [right], "long": [certs.tlsa(bed.chain, matching=2)],
            "issuer": [certs.tlsa(bed.issuer.chain, usage=2, selector=0)],
            "two": ["3 1 1 " + "00" * 32, right], "wrong": ["3 1 1 " + "00" * 32],
            "pkix": [certs.tlsa(bed.chain, usage=1)], "none": []}
        # Mail servers whose names are aliases (RFC 7672 2.2.2): the records are below what the name
        # stands for, or else below the alias.
        wrong = "3 1 1 " + "00" * 32
        aliases = (f"alias MX 10 a.alias\na.alias CNAME b.alias\nb.alias CNAME mx.key\n"
                   f"_25._tcp.a.alias TLSA {wrong}\n"
                   f"alias2 MX 10 a.alias2\na.alias2 CNAME mx.none\n_25._tcp.a.alias2 TLSA {right}\n"
                   f"alias3 MX 10 a.alias3\na.alias3 CNAME mx.wrong\n_25._tcp.a.alias3 TLSA {right}\n")
        aliases += "issuer2 MX 10 mx.issuer\n"
        return aliases + "".join(f"{name} MX 10 mx.{name}\nmx.{name} A {bed.sink_ip}\n"
                       + "".join(f"_25._tcp.mx.{name} TLSA {r}\n" for r in tlsa)
                       for name, tlsa in cases.items())
    with Signed(work, records) as bed:
        mx = bed.mx()
        # An issuer's record is good for the host's own name only (RFC 7672 3.1.2).
        chain, key = bed.issuer.issue("mx.issuer.example.net")
        os.chmod(key, 0o644)
        good = {"key": "mx.key", "long": "mx.long", "two": "mx.two", "pkix": "mx.pkix",
                "none": "mx.none", "alias": "mx.key", "alias2": "a.alias2"}
        for i, (name, base) in enumerate(good.items()):
            submit(bed, f"x@{name}.example.net")
            facts, _ = mx.wait(i + 1)[i]
            expect(facts["tls"], f"{name} goes over TLS")
            equal(facts["tls"]["sni"], f"{base}.example.net", "SNI")
        for name in good:
            verified = "" if name in ("pkix", "none") else "/dane"
            line = re.compile(rf"to=x@{name}\S* host=\S+ tls=TLSv1.3{verified} ")
            proc.wait_for(f"{line.pattern} in the log", lambda: line.search(log_text(bed)))
        submit(bed, "x@wrong.example.net")
        wait_reason(bed, "no matching DANE TLSA records")
        submit(bed, "x@alias3.example.net")
        proc.wait_for("alias3 is told the same", lambda: re.search(
            r"to=x@alias3\S* .*no matching DANE TLSA records", log_text(bed)))
        submit(bed, "x@issuer.example.net")
        wait_reason(bed, "ostname mismatch")
        mx.restart(cert=chain, key=key)
        mx.wait(8)
        # ... or for the domain's own (3.2.2): not for another domain that has the same servers.
        chain, key = bed.issuer.issue("issuer.example.net")
        os.chmod(key, 0o644)
        mx.restart(cert=chain, key=key)
        submit(bed, "y@issuer.example.net")
        mx.wait(9)
        submit(bed, "y@issuer2.example.net")
        entry = wait_reason(bed, "ostname mismatch")
        expect("issuer2" in str(entry), f"it is that one: {entry}")
        # Where there are records, never in clear; where there are none, in clear when it has to be.
        mx.restart(starttls=False)
        submit(bed, "x@pkix.example.net")
        submit(bed, "x@key.example.net")
        submit(bed, "x@none.example.net")
        equal(mx.wait(10)[9][0]["tls"], {}, "none: in clear")
        wait_reason(bed, "4.7.4 TLS is required here")
        time.sleep(1)
        equal(len(mx.messages()), 10, "nothing else in clear")


# Case 34: what a server may say instead of a reply; the words of a reason that tells.
HOSTILE = (
    ("endless lines", {"raw": {"greeting": "220-x\r\n" * 20000}}, "no SMTP reply"),
    ("an endless line", {"raw": {"greeting": "220 " + "x" * 2_000_000}}, "no SMTP reply"),
    ("mixed codes", {"raw": {"EHLO": "250-far\r\n251 SIZE\r\n"}}, "no SMTP reply"),
    ("a line feed alone", {"raw": {"EHLO": "250 far\n"}}, "no SMTP reply"),
    ("keywords without end", {"raw": {"EHLO": "250-X" + "Y" * 300 + "\r\n" * 1
                                      + "250-Z\r\n" * 5000}}, "no SMTP reply"),
    ("replies before commands", {"raw": {"EHLO": "250 far\r\n" + "250 ok\r\n" * 5}},
     "without being asked"),
    ("success before the content", {"raw": {"DATA": "354 go\r\n250 2.0.0 taken\r\n"}},
     "answered before"),
    ("content wanted twice", {"raw": {"DATA": "354 go\r\n354 go\r\n"}}, "answered before"),
    ("octets that are no text", {"raw": {"greeting": "\x16\x03\x01\x00\x80\x01\x00\r\n"}},
     "no SMTP reply"),
    ("a success that is none", {"replies": {"DATA": "250 ok"}}, "success that is none"),
    ("no way in", {"replies": {"EHLO": "500 no", "HELO": "421 4.3.2 go away"}}, "421 4.3.2"),
)


@test("outbound: hostile servers are bounded and temporary, and mail goes when they behave",
      seconds=150)
def hostile(work):
    with Outbound(work, delivery={"idle_timeout": "0"}) as bed:
        mx = bed.mx(cert="")
        for i, (name, settings, reason) in enumerate(HOSTILE):
            mx.restart(**{"raw": {}, "replies": {}, **settings})
            text = submit(bed, bed.far())
            try:
                wait_reason(bed, reason)
            except Failure:
                raise Failure(f"{name}: no reason with '{reason}':\n{log_text(bed)[-1500:]}")
            equal(len(mx.messages()), i, f"{name}: nothing is delivered")
            mx.restart(raw={}, replies={})
            facts, got = mx.wait(i + 1)[i]
            equal(mail.same(text, got), None, f"after {name}")
            proc.wait_for("an empty queue", lambda: not bed.queue(), 20)
