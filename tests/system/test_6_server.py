# SPDX-License-Identifier: BSD-3-Clause
"""The SMTP server's listeners and extensions, through the real stack and store."""

import base64
import email
import hashlib
import hmac
import os
import poplib
import re
import smtplib
import socket
import ssl
import struct
import unicodedata

from bed import mail, mailbox, proc, smtp
from bed.bed import Bed
from bed.harness import equal, expect, test
from system.test_6_tls import SUBMISSION, SUBMISSIONS, TlsBed, make_certificate

LMTP = 24


def raw(bed, port, first=b"", source=None):
    """A connection on which something is said before the greeting."""
    with proc.inside(bed.ns):
        s = socket.create_connection((bed.relay, port), timeout=30,
                                     source_address=(source, 0) if source else None)
    s.sendall(first)
    return s


@test("LMTP: an answer for each recipient, and mail in the mailboxes")
def lmtp(work):
    with Bed(work + "/bed", changes={"listen": {"lmtp": LMTP}}) as bed:
        with proc.inside(bed.ns):
            s = smtplib.LMTP(bed.relay, LMTP, local_hostname="client.example.org")
        sent = mail.make("a@y.example.net", bed.user1, "by LMTP", 50_000)
        equal(s.docmd("EHLO", "x")[0], 500, "EHLO")
        equal(s.docmd("LHLO", "client.example.org")[0], 250, "LHLO")
        equal(s.docmd("MAIL", "FROM:<a@y.example.net>")[0], 250, "MAIL")
        for rcpt, code in ((bed.user1, 250), ("nobody@example.org", 550), (bed.user2, 250)):
            equal(s.docmd("RCPT", f"TO:<{rcpt}>")[0], code, rcpt)
        # The second mailbox goes between RCPT and the end of data: only its owner is refused.
        bed.ctl("user", "delete", bed.user2, "--yes")
        equal(s.docmd("DATA")[0], 354, "DATA")
        s.send(re.sub(rb"(?m)^\.", b"..", sent) + b".\r\n")
        equal([s.getreply()[0] for _ in range(2)], [250, 550], "one answer each")
        equal(s.docmd("QUIT")[0], 221, "QUIT")
        got = mailbox.wait_messages(bed, 1)[0]
        equal(mail.same(sent, got), None, "content")
        expect(b" with LMTP " in got, f"Received: {got[:300]}")


def proxy_v2(source, target):
    body = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!HH", 4000, 25)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(body)) + body


@test("PROXY: the client is who the balancer says, before TLS too; without a header nobody gets in")
def proxy(work):
    bed = TlsBed(work)
    bed.changes["listen"]["proxies"] = [bed.stranger + "/32"]
    bed.changes["relay"] = {"from": ["198.18.77.0/24"]}

    def balanced(port, first=b""):
        return raw(bed, port, first, bed.stranger)
    with bed:
        v1 = f"PROXY TCP4 198.18.77.7 {bed.relay} 4000 25\r\n".encode()
        for header in (v1, proxy_v2("198.18.77.7", bed.relay)):
            c = smtp.Client(balanced(25, header))
            equal(c.hello()[0], 250, "EHLO")
            equal(c.cmd("MAIL FROM:<x@y.example.net>")[0], 250, "MAIL")
            equal(c.cmd(f"RCPT TO:<z@{bed.remote_domain}>")[0], 250, "relaying for whom it is")
            c.close()
        # Octet by octet.
        s = balanced(25)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in v1:
            s.sendall(bytes([octet]))
        equal(smtp.Client(s).hello()[0], 250, "EHLO behind a header in pieces")
        # A stranger behind the same balancer.
        c = smtp.Client(balanced(25, f"PROXY TCP4 198.19.1.1 {bed.relay} 4000 25\r\n".encode()))
        c.hello()
        c.cmd("MAIL FROM:<x@y.example.net>")
        equal(c.cmd(f"RCPT TO:<z@{bed.remote_domain}>")[0], 554, "relaying for a stranger")
        # Implicit TLS comes behind the header.
        s = bed.trust().wrap_socket(balanced(SUBMISSIONS, v1))
        equal(smtp.Client(s).hello()[0], 250, "EHLO over TLS")
        for bad in (b"EHLO x\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"\x16\x03\x01\0\0"):
            s = balanced(25, bad)
            try:
                got = s.recv(100)
            except ConnectionResetError:
                got = b""
            equal(got, b"", f"{bad!r} instead of a header")
        # From others the header is a command like any unknown one.
        c = smtp.connect(bed)
        equal(c.cmd(v1.decode().strip())[0], 500, "PROXY of who is not listed")


@test("XCLIENT: from listed peers only, and the session begins anew")
def xclient(work):
    with Bed(work + "/bed", changes={"listen": {"xclient": ["198.18.0.1/32"]},
                                     "relay": {"from": ["198.18.77.0/24"]}}) as bed:
        c = smtp.connect(bed)
        expect("XCLIENT NAME ADDR" in c.hello()[1], "announced")
        equal(c.cmd("XCLIENT ADDR=198.18.77.7 NAME=[UNAVAILABLE]")[0], 220, "XCLIENT")
        equal(c.hello()[0], 250, "EHLO")
        equal(c.message("x@y.example.net", [bed.user1], mail.make("x@y.example.net", bed.user1,
                                                                  "xclient", 100))[0], 250, "mail")
        got = mailbox.wait_messages(bed, 1)[0]
        expect(b"([198.18.77.7])" in got, f"Received: {got[:300]}")
        c = smtp.connect(bed, bed.stranger)
        expect("XCLIENT" not in c.hello()[1], "announced to a stranger")
        equal(c.cmd("XCLIENT ADDR=198.18.77.7")[0], 502, "XCLIENT of a stranger")


class Scram:
    """A client of SCRAM-SHA-256 (RFC 5802); binding: of -PLUS, a name and its octets."""

    def __init__(self, user, password, binding=None):
        self.user, self.password, self.nonce = user, password, base64.b64encode(os.urandom(18)).decode()
        self.header = f"p={binding[0]},," if binding else "n,,"
        self.channel = self.header.encode() + (binding[1] if binding else b"")

    def bare(self):
        return f"n={self.user},r={self.nonce}"

    def final(self, first):
        fields = dict(part.split("=", 1) for part in first.split(","))
        expect(fields["r"].startswith(self.nonce), "the nonce is ours")
        expect(int(fields["i"]) >= 4096, "rounds")
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(),
                                     base64.b64decode(fields["s"]), int(fields["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c={base64.b64encode(self.channel).decode()},r={fields['r']}"
        message = f"{self.bare()},{first},{without}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature))
        server = hmac.digest(salted, b"Server Key", "sha256")
        self.verifier = base64.b64encode(hmac.digest(server, message, "sha256")).decode()
        return f"{without},p={base64.b64encode(proof).decode()}"


def scram_login(s, user, password, binding=None):
    """(code, the server's first message) of a login."""
    scram = Scram(user, password, binding)
    first = base64.b64encode((scram.header + scram.bare()).encode()).decode()
    code, text = s.docmd("AUTH", f"SCRAM-SHA-256{'-PLUS' if binding else ''} {first}")
    if code != 334:
        return code, text.decode()
    challenge = base64.b64decode(text).decode()
    code, text = s.docmd(base64.b64encode(scram.final(challenge).encode()).decode())
    if code == 334:
        equal(base64.b64decode(text).decode(), "v=" + scram.verifier, "the server knows it too")
        code, text = s.docmd("")
    return code, challenge


@test("SCRAM: right, wrong, unknown users look like known ones, also after a restart")
def scram(work):
    with TlsBed(work) as bed:
        s = bed.secure(SUBMISSION)
        expect("SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN" in s.esmtp_features["auth"],
               f"announced: {s.esmtp_features['auth']}")
        equal(scram_login(s, bed.user1, bed.pass1)[0], 235, "right")
        equal(s.docmd("MAIL", f"FROM:<{bed.user1}>")[0], 250, "MAIL")
        s.quit()
        s = bed.secure(SUBMISSIONS)
        equal(scram_login(s, bed.user1, "guess")[0], 535, "wrong")
        known = scram_login(s, bed.user1.upper(), bed.pass1)
        equal(known[0], 235, "name in capitals")
        s.quit()

        def salt(user):
            t = bed.secure(SUBMISSIONS)
            code, challenge = scram_login(t, user, "guess")
            equal(code, 535, user)
            t.close()
            return challenge.split(",")[1:]
        before = salt("nobody@example.org")
        equal(len(before[0]), len(known[1].split(",")[1]), "a salt as long as others")
        equal(salt("nobody@example.org"), before, "the same salt again")
        expect(salt("nobodx@example.org") != before, "another name, another salt")
        bed.stop_daemon()
        bed.start_daemon()
        equal(salt("nobody@example.org"), before, "the same salt after a restart")
        bed.ctl("user", "passwd", bed.user1, input="another one\n")
        s = bed.secure(SUBMISSION)
        equal(scram_login(s, bed.user1, "another one")[0], 235, "a new password")


@test("SCRAM: bound to the server's certificate, to another one, and to what is not known")
def scram_end_point(work):
    with TlsBed(work) as bed:
        for port, others in ((SUBMISSION, []), (SUBMISSIONS, [("tls-server-end-point", 535),
                                                              ("tls-unique", 501)])):
            s = bed.secure(port)
            for name, code in others:
                binding = (name, hashlib.sha256(b"another").digest())
                equal(scram_login(s, bed.user1, bed.pass1, binding)[0], code, name)
            binding = ("tls-server-end-point", hashlib.sha256(s.sock.getpeercert(True)).digest())
            equal(scram_login(s, bed.user1, bed.pass1, binding)[0], 235, f"port {port}")
            s.quit()


@test("EAI: mailboxes and passwords beyond ASCII, in U-labels and A-labels, SCRAM, PLAIN, POP3")
def eai(work):
    domain, ascii_domain = "b\u00fccher.example.org", "xn--bcher-kva.example.org"
    user, password = f"j\u00f6rg@{domain}", "gr\u00fc\u00df Gott"
    typed = unicodedata.normalize("NFD", password)
    expect(typed != password, "there are two ways to type it")
    with TlsBed(work, domains={"local": ["example.org", "B\u00dcCHER.example.org"]}) as bed:
        bed.ctl("user", "add", user, input=password + "\n")
        listed = [row.get("domain") for row in bed.ctl_json("domain", "list")]
        expect(ascii_domain in listed, f"the domain in A-labels: {listed}")
        # A name that looks like another is none.
        failed = bed.ctl("user", "add", unicodedata.normalize("NFD", "j\u00f6rg") + "@" + domain, input="x\n", check=False).stdout
        expect("RFC 4013" in failed, f"a local part with a combining mark: {failed}")
        c = smtp.connect(bed)
        c.hello()
        for i, rcpt in enumerate((user, "j\u00f6rg@B\u00dcCHER.example.org", f"j\u00f6rg@{ascii_domain}")):
            equal(c.cmd(f"MAIL FROM:<{bed.user1}> SMTPUTF8")[0], 250, "MAIL")
            equal(c.cmd(f"RCPT TO:<{rcpt}>")[0], 250, rcpt)
            equal(c.cmd("DATA")[0], 354, "DATA")
            c.send(f"Subject: {i}\r\n\r\nbody\r\n.\r\n".encode())
            equal(c.reply()[0], 250, "end of data")
        equal(c.cmd(f"MAIL FROM:<{bed.user1}> SMTPUTF8")[0], 250, "MAIL")
        equal(c.cmd(f"RCPT TO:<jorg@{domain}>")[0], 550, "another name")
        for name in (user, unicodedata.normalize("NFD", user), f"j\u00f6rg@{ascii_domain}"):
            for secret in (password, typed):
                s = bed.secure(SUBMISSION)
                plain = base64.b64encode(f"\0{name}\0{secret}".encode()).decode()
                equal(s.docmd("AUTH", "PLAIN " + plain)[0], 235, f"PLAIN {name!a} {secret!a}")
                s.close()
        # The client prepares what it hashes (RFC 5802 5.1).
        s = bed.secure(SUBMISSION)
        equal(scram_login(s, user, password)[0], 235, "SCRAM")
        s.close()
        with proc.inside(bed.ns):
            box = poplib.POP3(bed.relay, 110, timeout=30)
        box.stls(context=bed.trust())
        box.encoding = "UTF-8"
        box.user(user)
        box.pass_(typed)
        equal(box.stat()[0], 3, "messages of the mailbox")
        box.quit()


@test("submission: Bcc goes, Message-ID, Date and From come where missing; port 25 changes nothing")
def fixups(work):
    with TlsBed(work) as bed:
        text = (b"To: b\r\nBcc: hidden@example.org,\r\n more@example.org\r\nSubject: s\r\n\r\n"
                b"Bcc: stays\r\n")
        s = bed.secure(SUBMISSION)
        s.login(bed.user1, bed.pass1)
        s.sendmail(bed.user1, [bed.user2], text)
        whole = b"From: x\r\nDate: y\r\nMessage-ID: <z@y>\r\n" + text
        s.sendmail(bed.user1, [bed.user2], whole)
        t = bed.secure(25)
        t.sendmail(bed.user1, [bed.user2], text)
        got = mailbox.wait_messages(bed, 3, user=2)
        first = email.message_from_bytes(got[0])
        equal(first["From"], f"<{bed.user1}>", "From")
        expect(first["Message-ID"].endswith("@mail.example.org>") and first["Date"], str(first))
        for message in got[:2]:
            expect(b"hidden" not in message and b"more@" not in message, f"Bcc: {message}")
            expect(message.endswith(b"Subject: s\r\n\r\nBcc: stays\r\n"), f"the rest: {message}")
        for name in ("From", "Date", "Message-ID"):
            equal(len(email.message_from_bytes(got[1]).get_all(name)), 1, name)
        equal(mail.same(text, got[2]), None, "by port 25")


def shown_certificate(bed):
    with proc.inside(bed.ns):
        s = smtplib.SMTP(bed.relay, 25, timeout=30)
    context = ssl._create_unverified_context()
    s.starttls(context=context)
    return s, hashlib.sha256(s.sock.getpeercert(True)).hexdigest()


@test("TLS: new certificates by SIGHUP and by bypostctl reload; sessions go on")
def reload(work):
    with TlsBed(work) as bed:
        s, before = shown_certificate(bed)
        for how in ("signal", "reload"):
            chain, key = make_certificate(work + "/new", bed.name_1, "ec")
            for new, old in ((chain, bed.certificates[bed.name_1]),
                             (key, bed.certificates[bed.name_1][:-3] + "key")):
                with open(new, "rb") as f, open(old, "wb") as g:
                    g.write(f.read())
                os.chmod(old, 0o644)
            os.chmod(bed.certificates[bed.name_2][:-3] + "key", 0o644)
            if how == "signal":
                proc.send(bed.processes["bypostd"], 1)
            else:
                bed.ctl("reload")

            def changed():
                t, now = shown_certificate(bed)
                t.close()
                return now if now != before else None
            before = proc.wait_for("the new certificate", changed)
        s.ehlo()
        equal(s.docmd("MAIL", "FROM:<x@y.example.net>")[0], 250, "a session from before")
        # What cannot be read changes nothing.
        with open(bed.certificates[bed.name_1], "w", encoding="ascii") as f:
            f.write("nonsense")
        done = bed.ctl("reload", check=False)
        expect(done.returncode == 1 and "nothing has changed" in done.stdout, f"{done}")
        t, now = shown_certificate(bed)
        equal(now, before, "the certificate")


@test("TLS: who shows a listed certificate may relay, another may not")
def client_certificate(work):
    chain, key = make_certificate(work + "/client", "client.example.org", "ec")
    other, other_key = make_certificate(work + "/client", "other.example.org", "ec")
    der = ssl.PEM_cert_to_DER_cert(open(chain, encoding="ascii").read())
    bed = TlsBed(work)
    bed.changes["relay"]["certificates"] = [hashlib.sha256(der).hexdigest()]
    with bed:
        for pair, code in (((chain, key), 250), ((other, other_key), 554), (None, 554)):
            with proc.inside(bed.ns):
                s = smtplib.SMTP(bed.relay, 25, timeout=30)
            context = bed.trust()
            if pair:
                context.load_cert_chain(*pair)
            s.starttls(context=context)
            s.ehlo()
            s.docmd("MAIL", f"FROM:<{bed.user1}>")
            equal(s.docmd("RCPT", f"TO:<x@{bed.remote_domain}>")[0], code, f"with {pair}")
            s.close()


@test("DSN, SMTPUTF8, BINARYMIME, LIMITS: what is announced is taken")
def extensions(work):
    with Bed(work + "/bed", changes={"limits": {"session_messages": 4}}) as bed:
        c = smtp.connect(bed)
        said = c.hello()[1].split("\n")
        for word in ("DSN", "SMTPUTF8", "BINARYMIME", "CHUNKING", "LIMITS RCPTMAX=1000 MAILMAX=4"):
            expect(word in said, f"{word} in {said}")
        equal(c.cmd(f"MAIL FROM:<{bed.user1}> RET=HDRS ENVID=QQ+2B1 SMTPUTF8")[0], 250, "MAIL")
        c.send(f"RCPT TO:<{bed.user2}> NOTIFY=FAILURE ORCPT=rfc822;b+2Bx@y\r\n".encode())
        equal(c.reply()[0], 250, "RCPT")
        equal(c.cmd("DATA")[0], 354, "DATA")
        text = "Subject: \u00e4\u00f6\r\n\r\n\u00fc\r\n".encode()
        c.send(text + b".\r\n")
        equal(c.reply()[0], 250, "end of data")
        got = mailbox.wait_messages(bed, 1, user=2)[0]
        equal(mail.same(text, got), None, "content")
        expect(b"with UTF8SMTP" in got, f"Received: {got[:300]}")
        # The sender hears that it is in the mailbox.
        equal(c.cmd(f"MAIL FROM:<{bed.user1}> RET=HDRS ENVID=QQ+2B1")[0], 250, "MAIL")
        c.send(f"RCPT TO:<{bed.user2}> NOTIFY=SUCCESS ORCPT=rfc822;b+2Bx@y\r\n".encode())
        equal(c.reply()[0], 250, "RCPT")
        equal(c.cmd("DATA")[0], 354, "DATA")
        c.send(b"Subject: told\r\n\r\nbody\r\n.\r\n")
        equal(c.reply()[0], 250, "end of data")
        report = mailbox.wait_messages(bed, 1, user=1)[0]
        for line in (b"Action: delivered", b"Original-Envelope-Id: QQ+1",
                     b"Original-Recipient: rfc822; b+x@y"):
            expect(line in report, f"{line} in {report}")
        # Binary content for a mailbox: refused where it is not marked, else made fit for one.
        octets = bytes(range(256)) * 40 + b"\r\n.\r\n\n.\r\0"
        marked = (b"Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
                  b"Content-Transfer-Encoding: binary\r\n\r\n")
        for body, code in ((b"Subject: x\r\n\r\n\0\r\n", 554), (marked + octets, 250)):
            equal(c.cmd(f"MAIL FROM:<{bed.user1}> BODY=BINARYMIME")[0], 250, "MAIL")
            equal(c.cmd(f"RCPT TO:<{bed.user2}>")[0], 250, "RCPT")
            c.send(b"BDAT %d LAST\r\n" % len(body) + body)
            equal(c.reply()[0], code, f"{body!r}")
        equal(c.cmd(f"MAIL FROM:<{bed.user1}>")[0], 452, "the fifth message")
        by_imap = mailbox.wait_messages(bed, 3, user=2)[2]
        with mailbox.pop3(bed, 2) as box:
            by_pop3 = b"\r\n".join(box.retr(3)[1]) + b"\r\n"
        for how, got in (("IMAP", by_imap), ("POP3", by_pop3)):
            equal(email.message_from_bytes(got).get_payload(decode=True), octets, f"octets by {how}")
            expect(all(b"\r" not in line and b"\0" not in line for line in got.split(b"\r\n")), f"lines by {how}")
