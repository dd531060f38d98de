# SPDX-License-Identifier: BSD-3-Clause
"""The relay as a server of other people's programs: Postfix, Exim and OpenSMTPD send to it, and the
clients that users have; and what comes cut into the smallest segments."""

import email
import os
import smtplib
import socket
import time

from bed import mail, mailbox, mailservers, proc, smtp
from bed.harness import equal, expect, test
from system.test_6_tls import SUBMISSION, SUBMISSIONS, TlsBed, make_certificate

NAME = "sender.example.net"


def through(work, server, onward_tls="none"):
    """Mail goes to another's server, and from there to us."""
    chain, key = make_certificate(work + "/far", NAME, "ec")
    os.chmod(key, 0o644)
    bed = TlsBed(work)
    bed.sink = False
    with bed:
        server(bed, {"name": NAME, "ip": bed.sink_ip, "onward": bed.relay, "level": "may",
                     "domain": bed.local_domain, "cert": chain, "key": key,
                     "onward_tls": onward_tls})
        sent = [mail.make("a@y.example.net", bed.user1, "small", 1000),
                mail.make("a@y.example.net", bed.user1, "large", 400_000),
                b"Subject: eight\r\n\r\n" + b"\xc3\xa4" * 30 + b"\r\n"]
        with proc.inside(bed.ns):
            s = smtplib.SMTP(bed.sink_ip, 25, timeout=30, local_hostname="client.example.org")
        for text in sent:
            s.sendmail("a@y.example.net", [bed.user1], text, ["BODY=8BITMIME"])
        s.quit()
        got = mailbox.wait_messages(bed, len(sent), seconds=60)
        for text in sent:
            subject = email.message_from_bytes(text)["Subject"]
            mine = [g for g in got if email.message_from_bytes(g)["Subject"] == subject]
            equal(len(mine), 1, f"copies of {subject}")
            expect(text.split(b"\r\n\r\n", 1)[1] in mine[0], f"body of {subject}")
            how = b" with ESMTPS " if onward_tls == "encrypt" else b" with ESMTP "
            expect(how in mine[0].split(b"Received:")[1], f"{how} in {mine[0][:300]}")


@test("sender Postfix: in clear", seconds=120)
def postfix(work):
    through(work, mailservers.postfix)


@test("sender Postfix: STARTTLS", seconds=120)
def postfix_tls(work):
    through(work, mailservers.postfix, "encrypt")


@test("sender Exim: in clear", seconds=120)
def exim(work):
    through(work, mailservers.exim)


@test("sender Exim: STARTTLS", seconds=120)
def exim_tls(work):
    through(work, mailservers.exim, "encrypt")


@test("sender OpenSMTPD", seconds=120)
def opensmtpd(work):
    # It takes TLS where it is offered.
    through(work, mailservers.opensmtpd, "encrypt")


@test("client curl and swaks: AUTH over STARTTLS and over TLS from the first octet")
def clients(work):
    with TlsBed(work) as bed:
        data = mail.make(bed.user1, bed.user2, "x", 100_000)
        path = bed.path("m.eml")
        with open(path, "wb") as f:
            f.write(data)
        inside = ["ip", "netns", "exec", bed.ns]
        for url in (f"smtp://{bed.relay}:{SUBMISSION}", f"smtps://{bed.relay}:{SUBMISSIONS}"):
            for options in ("", ";AUTH=PLAIN", ";AUTH=LOGIN"):
                user = f"{bed.user1.replace('@', '%40')}{options}"
                proc.run([*inside, "curl", "-sS", "--ssl-reqd", "-k",
                          url.replace("//", f"//{user}:{bed.pass1}@"), "--mail-from", bed.user1,
                          "--mail-rcpt", bed.user2, "-T", path])
        for i, got in enumerate(mailbox.wait_messages(bed, 6, user=2)):
            equal(mail.same(data, got), None, f"by curl, {i}")
            expect(b"with ESMTPSA" in got, "authenticated")
        swaks = [*inside, "swaks", "--server", bed.relay, "--from", bed.user1, "--to", bed.user2,
                 "--auth-user", bed.user1, "--auth-password", bed.pass1]
        for more in (["-p", str(SUBMISSION), "-tls"], ["-p", str(SUBMISSIONS), "-tlsc"]):
            for auth in ("PLAIN", "LOGIN"):
                proc.run([*swaks, *more, "--auth", auth])
        mailbox.wait_messages(bed, 10, user=2)


MSMTP = """account default
host %(host)s
port %(port)d
auth %(auth)s
user %(user)s
passwordeval "echo %(password)s"
from %(user)s
tls on
tls_starttls %(starttls)s
tls_certcheck off
"""


@test("client msmtp: SCRAM, PLAIN, LOGIN")
def msmtp(work):
    with TlsBed(work) as bed:
        n = 0
        for port, starttls in ((SUBMISSION, "on"), (SUBMISSIONS, "off")):
            for auth in ("scram-sha-256", "plain", "login"):
                conf = bed.path(f"msmtp-{n}")
                with open(conf, "w", encoding="ascii") as f:
                    f.write(MSMTP % {"host": bed.relay, "port": port, "auth": auth,
                                     "starttls": starttls, "user": bed.user1,
                                     "password": bed.pass1})
                os.chmod(conf, 0o600)
                text = mail.make(bed.user1, bed.user2, f"by {auth} {port}", 5000)
                proc.run(["ip", "netns", "exec", bed.ns, "msmtp", "-C", conf, bed.user2],
                         input=text.replace(b"\r\n", b"\n"), text=False)
                n += 1
                got = mailbox.wait_messages(bed, n, user=2)[-1]
                expect(b"with ESMTPSA" in got, f"{auth} on {port}")
        # A wrong password, by each.
        with open(conf, "a", encoding="ascii") as f:
            f.write('passwordeval "echo guess"\nauth scram-sha-256\n')
        done = proc.run(["ip", "netns", "exec", bed.ns, "msmtp", "-C", conf, bed.user2],
                        input="x\n", check=False)
        expect(done.returncode != 0, "a wrong password")


@test("client gsasl: SCRAM-SHA-256-PLUS is bound to the channel of TLS")
def gsasl(work):
    with TlsBed(work) as bed:
        for password, code in ((bed.pass1, "235 2.7.0"), ("guess", "535 5.7.8")):
            done = proc.run(["ip", "netns", "exec", bed.ns, "timeout", "20", "gsasl", "--smtp",
                             "--verbose", "--x509-ca-file", "", "-m", "SCRAM-SHA-256-PLUS", "-a",
                             bed.user1, "-p", password, bed.relay, str(SUBMISSION)],
                            input="QUIT\n", check=False)
            expect(code in done.stdout, f"{password}: {done.stdout}")
            equal(done.returncode, 0 if password == bed.pass1 else 1, "exit status")


def cut(sock, data, at):
    """Two segments of their own."""
    for part in (data[:at], data[at:]):
        if part:
            sock.sendall(part)
            time.sleep(0.01)


@test("case 3: the end of data, commands, chunks and STARTTLS at every cut between segments")
def segments(work):
    with TlsBed(work) as bed:
        c = smtp.connect(bed)
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.hello()
        end, n = b"body\r\n..\r\n.x\r\n\r\n.\r\n", 0
        for at in range(len(end) + 1):
            c.cmd("MAIL FROM:<a@y.example.net>")
            c.cmd(f"RCPT TO:<{bed.user1}>")
            equal(c.cmd("DATA")[0], 354, "DATA")
            cut(c.sock, b"Subject: s\r\n\r\n" + end, len(b"Subject: s\r\n\r\n") + at)
            equal(c.reply()[0], 250, f"end of data, cut at {at}")
            n += 1
        group = (f"MAIL FROM:<a@y.example.net>\r\nRCPT TO:<{bed.user1}>\r\n"
                 "BDAT 3\r\nabcBDAT 5 LAST\r\nd\r\n\r\nNOOP\r\n").encode()
        for at in range(len(group) + 1):
            cut(c.sock, group, at)
            equal([c.reply()[0] for _ in range(5)], [250] * 5, f"BDAT, cut at {at}")
            n += 1
        for got in mailbox.wait_messages(bed, n):
            expect(got.endswith((b"\r\n\r\nbody\r\n.\r\nx\r\n\r\n", b"\r\nabcd\r\n\r\n")), repr(got[-60:]))
        # What comes with STARTTLS is never run, wherever the segments part.
        bad = b"STARTTLS\r\nRSET\r\n"
        for at in range(len(b"STARTTLS\r\n") - 1):
            c = smtp.connect(bed)
            c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c.hello()
            cut(c.sock, bad, at)
            said = b""
            while more := c.sock.recv(1000):
                said += more
            equal([line[:3] for line in said.split(b"\r\n") if line], [b"220", b"554"], f"cut at {at}")
