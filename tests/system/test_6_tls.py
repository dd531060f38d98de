# SPDX-License-Identifier: BSD-3-Clause
"""TLS and AUTH over the user-space TCP: other people's clients, and what they must not get."""

import base64
import contextlib
import imaplib
import os
import poplib
import re
import smtplib
import socket
import ssl
import subprocess
import time

from bed import mail, mailbox, proc
from bed.bed import Bed
from bed.harness import equal, expect, test

SUBMISSION, SUBMISSIONS = 587, 465
POP3, POP3S, IMAP, IMAPS = 110, 995, 143, 993
FLOODS, FLOOD_SECONDS, FLOOD_MAILS = 3, 20, 20  # clients that do nothing but handshakes; mails


def make_certificate(folder, name, key):
    """A certificate that signs itself; returns the paths of chain and key."""
    os.makedirs(folder, exist_ok=True)
    chain, private = os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key")
    kind = ["-newkey", "rsa:2048"] if key == "rsa" else \
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    proc.run(["openssl", "req", "-x509", *kind, "-nodes", "-days", "2", "-subj", "/CN=" + name,
              "-addext", "subjectAltName=DNS:" + name, "-keyout", private, "-out", chain])
    return chain, private


class TlsBed(Bed):
    """A bed with two certificates and all SMTP listeners; nobody is listed as a relay client."""

    def __init__(self, work, **changes):
        self.name_1, self.name_2 = "mx.local.example.org", "other.example.org"
        pairs = [make_certificate(work + "/tls", self.name_1, "ec"),
                 make_certificate(work + "/tls", self.name_2, "rsa")]
        self.certificates = dict(zip((self.name_1, self.name_2), (p[0] for p in pairs)))
        super().__init__(work + "/bed", changes={
            "listen": {"submission": SUBMISSION, "submissions": SUBMISSIONS, "pop3s": POP3S,
                       "imaps": IMAPS, "plaintext_login": False},
            "relay": {"from": []},
            "tls": {"certificates": [{"chain": c, "key": k} for c, k in pairs]}, **changes})

    def trust(self, name=None):
        """A client's context that trusts one of the certificates."""
        context = ssl.create_default_context(cafile=self.certificates[name or self.name_1])
        context.check_hostname = False
        return context

    def secure(self, port):
        """A session that is encrypted, after EHLO."""
        with proc.inside(self.ns):
            if port == SUBMISSIONS:
                s = smtplib.SMTP_SSL(self.relay, port, timeout=30, context=self.trust())
            else:
                s = smtplib.SMTP(self.relay, port, timeout=30)
                s.starttls(context=self.trust())
        s.ehlo()
        return s

    def s_client(self, port, *args, text="QUIT\r\n"):
        start = [] if port == SUBMISSIONS else ["-starttls", "smtp"]
        done = proc.run(["ip", "netns", "exec", self.ns, "timeout", "20", "openssl", "s_client",
                         "-connect", f"{self.relay}:{port}", *start, *args, "-ign_eof"],
                        input=text, check=False)
        return done.stdout


@test("TLS: mail by STARTTLS and on the port that begins with TLS, octet by octet")
def mail_over_tls(work):
    with TlsBed(work) as bed:
        for i, port in enumerate((25, SUBMISSION, SUBMISSIONS)):
            sent = mail.make(bed.user1, bed.user2, f"by {port}", 300_000)
            s = bed.secure(port)
            if port != 25:
                s.login(bed.user1, bed.pass1)
            equal(s.sendmail(bed.user1, [bed.user2], sent), {}, "refused recipients")
            s.quit()
            got = mailbox.wait_messages(bed, i + 1, user=2)[i]
            equal(mail.same(sent, got), None, f"over port {port}")
            how = "ESMTPS" if port == 25 else "ESMTPSA"
            expect(f"with {how} (TLSv1.3 TLS_".encode() in got, f"Received says {how}: {got[:400]}")


def fetch_pop3(bed, box):
    box.user(bed.user2)
    box.pass_(bed.pass2)
    got = b"\r\n".join(box.retr(1)[1]) + b"\r\n"
    box.quit()
    return got


def fetch_imap(bed, box):
    box.login(bed.user2, bed.pass2)
    box.select("INBOX", readonly=True)
    got = box.fetch("1", "(BODY.PEEK[])")[1][0][1]
    box.logout()
    return got


@test("TLS: mailboxes by STLS, STARTTLS and on the ports that begin with TLS, octet by octet")
def mailboxes_over_tls(work):
    with TlsBed(work) as bed:
        sent = mail.make(bed.user1, bed.user2, "to be fetched", 2_000_000)
        s = bed.secure(25)
        equal(s.sendmail(bed.user1, [bed.user2], sent), {}, "refused recipients")
        s.quit()
        proc.wait_for("the message", lambda: bed.ctl_json("user", "list")[1]["messages"] == 1, 20)
        with proc.inside(bed.ns):
            pop3 = poplib.POP3(bed.relay, POP3, timeout=30)
            imap = imaplib.IMAP4(bed.relay, IMAP, timeout=30)
        expect("USER" not in pop3.capa() and "STLS" in pop3.capa(), f"in clear: {pop3.capa()}")
        expect("LOGINDISABLED" in imap.capabilities, f"in clear: {imap.capabilities}")
        pop3.stls(context=bed.trust())
        imap.starttls(ssl_context=bed.trust())
        expect("STLS" not in pop3.capa(), f"encrypted: {pop3.capa()}")
        expect("AUTH=PLAIN" in imap.capabilities, f"encrypted: {imap.capabilities}")
        with proc.inside(bed.ns):
            pop3s = poplib.POP3_SSL(bed.relay, POP3S, timeout=30, context=bed.trust())
            imaps = imaplib.IMAP4_SSL(bed.relay, IMAPS, timeout=30, ssl_context=bed.trust())
        for how, got in (("STLS", fetch_pop3(bed, pop3)), ("POP3S", fetch_pop3(bed, pop3s)),
                         ("STARTTLS", fetch_imap(bed, imap)), ("IMAPS", fetch_imap(bed, imaps))):
            equal(mail.same(sent, got), None, how)


@test("TLS: nothing that came in clear behind STLS or STARTTLS is a command; no TLS is no session")
def mailbox_injection(work):
    with TlsBed(work) as bed:
        for port, command, behind in ((POP3, b"STLS", b"CAPA"),
                                      (IMAP, b"a STARTTLS", b"b CAPABILITY")):
            with proc.inside(bed.ns):
                s = socket.create_connection((bed.relay, port), timeout=30)
            with s:
                s.recv(1000)
                s.sendall(command + b"\r\n" + behind + b"\r\n")
                said = b""
                with contextlib.suppress(ConnectionError):
                    while more := s.recv(1000):
                        said += more
                expect(b"OK begin TLS" in said, f"{command}: {said}")
                expect(said.count(b"OK") == 1 and b"CAPA" not in said, f"{behind}: {said}")
        for port in (POP3S, IMAPS):
            with proc.inside(bed.ns):
                s = socket.create_connection((bed.relay, port), timeout=30)
            with s:
                s.sendall(b"a LOGIN x y\r\n")
                said = b""
                with contextlib.suppress(ConnectionError):
                    while more := s.recv(1000):
                        said += more
                expect(b"OK" not in said and b"LOGIN" not in said, f"{port} in clear: {said}")
        with proc.inside(bed.ns):
            box = imaplib.IMAP4_SSL(bed.relay, IMAPS, timeout=30, ssl_context=bed.trust())
        equal(box.login(bed.user2, bed.pass2)[0], "OK", "a session after those")
        box.logout()


@test("TLS: protocols, certificates by name, tickets, and what is no TLS")
def tls_by_hand(work):
    with TlsBed(work) as bed:
        for port in (25, SUBMISSIONS):
            for version in ("-tls1_2", "-tls1_3"):
                said = bed.s_client(port, version)
                expect("Cipher is (NONE)" not in said, f"{version} on {port}: {said}")
            said = bed.s_client(port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
            expect("Cipher is (NONE)" in said, f"TLS 1.1 on {port}: {said}")
            for name in bed.certificates:
                said = bed.s_client(port, "-servername", name)
                expect(f"subject=CN = {name}" in said, f"certificate for {name}: {said}")
            said = bed.s_client(port, "-servername", "unknown.example.org")
            expect(f"subject=CN = {bed.name_1}" in said, f"first certificate: {said}")
        ticket = bed.path("ticket")
        bed.s_client(25, "-tls1_2", "-sess_out", ticket)
        said = bed.s_client(25, "-tls1_2", "-sess_in", ticket)
        expect("Reused, TLSv1.2" in said, f"resumption: {said}")
        with proc.inside(bed.ns):
            s = smtplib.SMTP(bed.relay, 25, timeout=30)
        s.ehlo()
        equal(s.docmd("STARTTLS")[0], 220, "STARTTLS")
        s.sock.sendall(b"\x16\x03\x01\x00\x05hello")
        expect(not s.sock.recv(100).startswith(b"250"), "a bad ClientHello")
        with proc.inside(bed.ns):
            s = smtplib.SMTP(bed.relay, 25, timeout=30)
        s.ehlo()
        s.sock.sendall(b"STARTTLS\r\nRSET\r\n")
        said = s.sock.recv(1000)
        while chunk := s.sock.recv(1000):
            said += chunk
        equal([line[:3] for line in said.split(b"\r\n") if line], [b"220", b"554"], "injection")


def hello_in_pieces(bed, size):
    """A handshake whose octets go out size at a time, each in a segment of its own."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = bed.trust().wrap_bio(incoming, outgoing, server_hostname=bed.name_1)
    with bed.connect(bed.relay, SUBMISSIONS, timeout=30) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            said = outgoing.read()
            for at in range(0, len(said), size):
                s.sendall(said[at:at + size])
            if done:
                return tls.version()
            got = s.recv(65536)
            expect(got, f"pieces of {size}: closed")
            incoming.write(got)


@test("TLS: no renegotiation, no compression, no early data, no weak ciphers, hellos in pieces and broken")
def tls_refused(work):
    with TlsBed(work) as bed:
        def interactive(script, *args):
            """s_client with somebody at its keyboard."""
            command = " ".join(["openssl s_client -connect", f"{bed.relay}:{SUBMISSIONS}", *args])
            return proc.run(["ip", "netns", "exec", bed.ns, "bash", "-c", f"({script}) | timeout 20 {command}"],
                            check=False).stdout
        said = interactive("sleep 1; echo R; sleep 2; echo NOOP; sleep 1", "-tls1_2")
        expect("RENEGOTIATING" in said, f"it was tried: {said}")
        expect("no renegotiation" in said, f"renegotiation: {said}")
        expect("Secure Renegotiation IS supported" in said, f"RFC 5746: {said}")
        said = bed.s_client(SUBMISSIONS, "-tls1_2", "-comp")
        expect("Compression: NONE" in said and "Cipher is (NONE)" not in said, f"compression: {said}")
        ticket, early = bed.path("ticket"), bed.path("early")
        with open(early, "w") as f:
            f.write("EHLO x\r\n")
        said = interactive("sleep 2; printf 'QUIT\\r\\n'; sleep 1", "-tls1_3", "-sess_out", ticket)
        expect("Max Early Data: 0" in said, f"early data in a ticket: {said}")
        said = interactive("sleep 2", "-tls1_3", "-sess_in", ticket, "-early_data", early)
        expect("Early data was not sent" in said or "Early data was rejected" in said, f"early data: {said}")
        for weak in ("aNULL", "eNULL"):
            said = bed.s_client(SUBMISSIONS, "-tls1_2", "-cipher", f"{weak}:@SECLEVEL=0")
            expect("Cipher is (NONE)" in said, f"{weak}: {said}")
        for size in (1, 7, 100):
            equal(hello_in_pieces(bed, size), "TLSv1.3", f"pieces of {size}")
        said = bed.s_client(SUBMISSIONS, "-servername", "x" * 250 + ".org")
        expect(f"subject=CN = {bed.name_1}" in said, f"a name that is nobody's: {said}")
        # A hello that announces more than any has, one of another protocol, one of zeros.
        for broken in (b"\x16\x03\x01\xff\xff\x01\xff\xff\xff" + b"x" * 65536,
                       b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", b"GET / HTTP/1.0\r\n\r\n", b"\0" * 4096):
            with bed.connect(bed.relay, SUBMISSIONS, timeout=30) as s:
                with contextlib.suppress(OSError):
                    s.sendall(broken)
                said = b""
                with contextlib.suppress(OSError):
                    while chunk := s.recv(4096):
                        said += chunk
                expect(b"220" not in said, f"{broken[:12]!r}: {said!r}")
        s = bed.secure(SUBMISSIONS)
        equal(s.noop()[0], 250, "others are served all the while")
        s.quit()


class RsaBed(Bed):
    """A bed whose one key is a slow one; its peers' handshakes are not limited."""

    def __init__(self, work):
        chain, key = make_certificate(work + "/tls", "mx.local.example.org", "rsa")
        super().__init__(work + "/bed", changes={
            "listen": {"submissions": SUBMISSIONS},
            "tls": {"certificates": [{"chain": chain, "key": key}]}})


@test("TLS: a flood of handshakes with an RSA key, and mail flows")
def flood(work):
    with RsaBed(work) as bed:
        floods = [subprocess.Popen(
            ["ip", "netns", "exec", bed.ns, "openssl", "s_time", "-connect",
             f"{bed.relay}:{SUBMISSIONS}", "-new", "-time", str(FLOOD_SECONDS)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(FLOODS)]
        with proc.inside(bed.ns):
            s = smtplib.SMTP(bed.relay, 25, timeout=30)
        for i in range(FLOOD_MAILS):
            equal(s.sendmail(bed.user1, [bed.user2], mail.make(bed.user1, bed.user2, str(i), 5000)),
                  {}, "refused recipients")
        s.quit()
        expect(any(f.poll() is None for f in floods), "the flood was over before the mail")
        said = [f.communicate()[0] for f in floods]
        made = [re.search(r"(\d+) connections in", text) for text in said]
        expect(all(m and int(m.group(1)) > 0 for m in made), f"somebody made no connection: {said}")
        mailbox.wait_messages(bed, FLOOD_MAILS, user=2)


@test("guessing: what is wrong by POP3 and IMAP makes all protocols slower, and only so many go at once", seconds=120)
def guessing(work):
    def began(port, command):
        """A connection that has just said its login."""
        with proc.inside(bed.ns):
            plain = socket.create_connection((bed.relay, port), timeout=60)
        sock = bed.trust().wrap_socket(plain)
        expect(sock.recv(1000), "a greeting")
        for line in command:
            sock.sendall(line.encode() + b"\r\n")
            if line.startswith("USER"):
                expect(sock.recv(1000).startswith(b"+OK"), line)
        return sock

    def answer(sock):
        with contextlib.closing(sock):
            return sock.recv(1000).decode()

    def pop3(user, password):
        return began(POP3S, [f"USER {user}", f"PASS {password}"])

    def imap(user, password):
        return began(IMAPS, [f'a LOGIN "{user}" "{password}"'])

    def seconds(ask):
        start = time.monotonic()
        said = ask()
        return said, time.monotonic() - start
    with TlsBed(work) as bed:
        right = base64.b64encode(f"\0{bed.user2}\0{bed.pass2}".encode()).decode()
        for ask in (pop3, imap):
            said = answer(ask(bed.user1, "guess " + ask.__name__))
            expect("-ERR" in said or "a NO" in said, said)
        # Two wrong ones by two protocols: the right password of another account waits, by each.
        said, took = seconds(lambda: answer(pop3(bed.user2, bed.pass2)))
        expect(said.startswith("+OK") and took >= 2, f"POP3: {said} {took}")
        said, took = seconds(lambda: answer(imap(bed.user2, bed.pass2)))
        expect("a OK" in said and took >= 2, f"IMAP: {said} {took}")
        s = bed.secure(SUBMISSIONS)
        said, took = seconds(lambda: s.docmd("AUTH", "PLAIN " + right)[0])
        expect(said == 235 and took >= 2, f"SMTP: {said} {took}")
        s.close()
        # None of these is known to be wrong when the next one comes.
        many = [(pop3 if i % 2 else imap)(f"nobody{i}@example.org", f"guess {i}") for i in range(20)]
        said = [answer(sock) for sock in many]
        equal(sum("[SYS/TEMP]" in x or "[UNAVAILABLE]" in x for x in said), 4, f"busy: {said}")
        equal(sum("[AUTH" in x for x in said), 16, f"wrong: {said}")


@test("AUTH: right, wrong, slower when wrong, only over TLS, only as oneself")
def auth(work):
    with TlsBed(work) as bed:
        far = "x@" + bed.remote_domain
        with proc.inside(bed.ns):
            s = smtplib.SMTP(bed.relay, SUBMISSION, timeout=30)
        s.ehlo()
        expect(not s.has_extn("auth"), "AUTH announced in clear")
        plain = base64.b64encode(f"\0{bed.user1}\0{bed.pass1}".encode()).decode()
        equal(s.docmd("AUTH", "PLAIN " + plain)[0], 538, "AUTH in clear")
        equal(s.docmd("MAIL", f"FROM:<{bed.user1}>")[0], 530, "MAIL in clear")
        s.close()
        s = bed.secure(25)
        equal(s.docmd("AUTH", "PLAIN " + plain)[0], 502, "AUTH on port 25")
        equal(s.docmd("MAIL", f"FROM:<{bed.user1}>")[0], 250, "MAIL")
        equal(s.docmd("RCPT", f"TO:<{far}>")[0], 554, "relaying without AUTH")
        s.close()
        for mechanism in ("auth_plain", "auth_login"):
            s = bed.secure(SUBMISSIONS)
            equal(s.docmd("MAIL", f"FROM:<{bed.user1}>")[0], 530, "MAIL before AUTH")
            s.user, s.password = bed.user1, bed.pass1
            name = mechanism[5:].upper()
            equal(s.auth(name, getattr(s, mechanism))[0], 235, name)
            equal(s.docmd("MAIL", f"FROM:<{bed.user2}>")[0], 553, "another's address")
            s.sendmail(bed.user1, [far], mail.make(bed.user1, far, name, 1000))
            s.quit()
        s = bed.secure(SUBMISSIONS)
        for password in ("guess", "guess again", "and again"):
            wrong = base64.b64encode(f"\0{bed.user1}\0{password}".encode()).decode()
            code, text = s.docmd("AUTH", "PLAIN " + wrong)
            equal(code, 535, "wrong password: " + text.decode())
        with open(bed.path("bypostd.log"), encoding="utf-8") as log:
            text = log.read()
        expect("guess" not in text and bed.pass1 not in text, "a password in the log")
        equal(text.count("authentication failed"), 3, "log lines")
