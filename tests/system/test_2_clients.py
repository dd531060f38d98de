# SPDX-License-Identifier: BSD-3-Clause
"""Other people's mail programs against the relay; each compares octets."""

import contextlib
import email
import imaplib
import json
import os
import pty
import select
import smtplib
import subprocess
import termios
import time

from bed import mail, mailbox, proc
from bed.bed import Bed
from bed.harness import equal, expect, test


def run_inside(bed, *args, **kwargs):
    return proc.run(["ip", "netns", "exec", bed.ns, *args], **kwargs)


def wait_sink(bed, subject):
    def find():
        for path in bed.sink_files():
            dump = mail.Dump(path)
            if dump.subject() == subject:
                return dump
    return proc.wait_for(f"\"{subject}\" at the receiving server", find, 30)


def python_send(bed, rcpts, data):
    with proc.inside(bed.ns):
        s = smtplib.SMTP(bed.relay, timeout=30, local_hostname="client.example.org")
    refused = s.sendmail(bed.user1, rcpts, data)
    s.quit()
    equal(refused, {}, "refused recipients")


def fill(bed, n, size=3000):
    """n messages to the second user; returns them in order."""
    sent = [mail.make(bed.user1, bed.user2, f"message {i}", size) for i in range(n)]
    for data in sent:
        python_send(bed, [bed.user2], data)
    mailbox.wait_messages(bed, n, user=2)
    return sent


@test("client curl: SMTP, POP3 and IMAP")
def client_curl(work):
    with Bed(work + "/bed") as bed:
        data = mail.make(bed.user1, bed.user2, "from curl", 200_000)
        path = bed.path("m.eml")
        with open(path, "wb") as f:
            f.write(data)
        run_inside(bed, "curl", "-sS", f"smtp://{bed.relay}", "--mail-from", bed.user1,
                   "--mail-rcpt", bed.user2, "--mail-rcpt", "x@" + bed.remote_domain, "-T", path)
        equal(mail.same(data, wait_sink(bed, "from curl").data), None, "relayed")
        login = ["-u", f"{bed.user2}:{bed.pass2}"]
        got = run_inside(bed, "curl", "-sS", *login, f"pop3://{bed.relay}/1", text=False).stdout
        equal(mail.same(data, got), None, "POP3")
        listing = run_inside(bed, "curl", "-sS", *login, f"pop3://{bed.relay}/").stdout
        expect(listing.startswith("1 "), f"LIST: {listing!r}")
        got = run_inside(bed, "curl", "-sS", *login, f"imap://{bed.relay}/INBOX;UID=1",
                         text=False).stdout
        equal(mail.same(data, got), None, "IMAP by UID")
        found = run_inside(bed, "curl", "-sS", *login,
                           f"imap://{bed.relay}/INBOX?SUBJECT%20curl").stdout
        expect("* SEARCH 1" in found, f"SEARCH: {found!r}")
        run_inside(bed, "curl", "-sS", *login, f"imap://{bed.relay}/", "-X", "CREATE Archive")
        run_inside(bed, "curl", "-sS", *login, f"imap://{bed.relay}/Archive", "-T", path)
        got = run_inside(bed, "curl", "-sS", *login, f"imap://{bed.relay}/Archive;MAILINDEX=1",
                         text=False).stdout
        equal(got, data, "appended by IMAP")


@test("client smtplib")
def client_smtplib(work):
    with Bed(work + "/bed") as bed:
        with proc.inside(bed.ns):
            s = smtplib.SMTP(bed.relay, timeout=30)
        s.ehlo()
        for keyword in ("pipelining", "size", "8bitmime", "enhancedstatuscodes"):
            expect(s.has_extn(keyword), f"EHLO lacks {keyword}: {s.esmtp_features}")
        equal(s.noop()[0], 250, "NOOP")
        equal(s.docmd("HELP")[0], 214, "HELP")
        expect(s.verify(bed.user1)[0] in (250, 252), "VRFY")
        equal(s.rset()[0], 250, "RSET")
        first = mail.make(bed.user1, bed.user1, "first", 10_000)
        second = b"Subject: 8bit\r\n\r\n\xc3\xa4\xc3\xb6\r\n.\xff\r\n"
        s.sendmail(bed.user1, [bed.user1, bed.user2, "far@b.c." + bed.remote_domain], first)
        s.sendmail("", [bed.user1], second, mail_options=["BODY=8BITMIME"])
        equal(s.quit()[0], 221, "QUIT")
        got = mailbox.wait_messages(bed, 2, user=1)
        equal([mail.same(a, b) for a, b in zip((first, second), got)], [None, None], "mailbox")
        equal(mail.same(first, mailbox.wait_messages(bed, 1, user=2)[0]), None, "second user")
        dump = wait_sink(bed, "first")
        equal(mail.same(first, dump.data), None, "relayed")
        equal((dump.sender, dump.rcpts), (bed.user1, ["far@b.c." + bed.remote_domain]), "envelope")


@test("client poplib")
def client_poplib(work):
    with Bed(work + "/bed") as bed:
        sent = fill(bed, 3)
        with mailbox.pop3(bed, 2) as box:
            expect("TOP" in box.capa() and "UIDL" in box.capa(), f"CAPA: {box.capa()}")
            n, octets = box.stat()
            sizes = [int(line.split()[1]) for line in box.list()[1]]
            equal((n, octets), (3, sum(sizes)), "STAT against LIST")
            uids = [line.split()[1] for line in box.uidl()[1]]
            equal(len(set(uids)), 3, "different UIDs")
            for i, data in enumerate(sent, 1):
                got = b"\r\n".join(box.retr(i)[1]) + b"\r\n"
                equal(mail.same(data, got), None, f"RETR {i}")
                equal(len(got), sizes[i - 1], f"size of {i}")
            top = box.top(1, 2)[1]
            body = top[top.index(b"") + 1:]
            equal(body, mail.unix(sent[0]).split(b"\n\n", 1)[1].split(b"\n")[:2], "TOP 1 2")
            box.dele(1)
            box.rset()
            equal(box.stat()[0], 3, "after RSET")
            box.dele(2)
            box.noop()
        with mailbox.pop3(bed, 2) as box:
            equal(box.stat()[0], 2, "after DELE and QUIT")
            equal([line.split()[1] for line in box.uidl()[1]], [uids[0], uids[2]], "UIDs stay")


@test("client imaplib")
def client_imaplib(work):
    with Bed(work + "/bed") as bed:
        sent = fill(bed, 5)
        with mailbox.imap(bed, 2) as box:
            imap_folders(box)
            imap_reading(box, sent)
            imap_changing(box, sent)


def ok(result, what):
    equal(result[0], "OK", f"{what}: {result[1]}")
    return result[1]


def imap_folders(box):
    ok(box.create("Archive"), "CREATE")
    expect(any(b"Archive" in line for line in ok(box.list(), "LIST")), "LIST lacks Archive")
    status = ok(box.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"), "STATUS")[0]
    expect(b"MESSAGES 5" in status and b"UNSEEN 5" in status, f"STATUS: {status}")


def imap_reading(box, sent):
    equal(ok(box.select("INBOX"), "SELECT"), [b"5"], "SELECT")
    for i, data in enumerate(sent, 1):
        got = ok(box.fetch(str(i), "(BODY.PEEK[])"), "FETCH")[0][1]
        equal(mail.same(data, got), None, f"BODY[] of {i}")
        size = ok(box.fetch(str(i), "(RFC822.SIZE)"), "FETCH")[0]
        expect(b"RFC822.SIZE %d" % len(got) in size, f"size: {size}, {len(got)} octets")
        part = ok(box.fetch(str(i), "(BODY.PEEK[]<100.50>)"), "FETCH")[0][1]
        equal(part, got[100:150], "partial")
    envelope = ok(box.fetch("2", "(ENVELOPE BODYSTRUCTURE)"), "FETCH")[0]
    expect(b'"message 1"' in envelope and b'"alice" "example.org"' in envelope
           and b'"TEXT" "PLAIN"' in envelope.upper(), f"ENVELOPE: {envelope}")
    head = ok(box.fetch("3", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"), "FETCH")[0][1]
    equal(email.message_from_bytes(head)["Subject"], "message 2", "header field")
    text = ok(box.fetch("1", "(BODY.PEEK[TEXT])"), "FETCH")[0][1]
    equal(mail.unix(text).rstrip(b"\n"), mail.unix(sent[0]).split(b"\n\n", 1)[1].rstrip(b"\n"),
          "BODY[TEXT]")
    equal(ok(box.search(None, "SUBJECT", '"message 3"'), "SEARCH"), [b"4"], "SEARCH")
    equal(ok(box.uid("SEARCH", "UNSEEN"), "UID SEARCH"), [b"1 2 3 4 5"], "UID SEARCH")


def imap_changing(box, sent):
    ok(box.store("1", "+FLAGS", r"(\Seen \Flagged)"), "STORE")
    equal(ok(box.search(None, "FLAGGED"), "SEARCH"), [b"1"], "flagged")
    ok(box.copy("1:2", "Archive"), "COPY")
    ok(box.append("Archive", r"(\Draft)", imaplib.Time2Internaldate(time.time()), sent[4]), "APPEND")
    ok(box.uid("STORE", "2", "+FLAGS.SILENT", r"(\Deleted)"), "UID STORE")
    equal(ok(box.expunge(), "EXPUNGE"), [b"2"], "EXPUNGE")
    ok(box.check(), "CHECK")
    equal(ok(box.uid("SEARCH", "ALL"), "UID SEARCH"), [b"1 3 4 5"], "UIDs after EXPUNGE")
    ok(box.close(), "CLOSE")
    equal(ok(box.select("Archive", readonly=True), "EXAMINE"), [b"3"], "Archive")
    equal(ok(box.search(None, "DRAFT"), "SEARCH"), [b"3"], "appended flag")
    equal(ok(box.fetch("3", "(BODY[])"), "FETCH")[0][1], sent[4], "appended octets")
    equal(mail.same(sent[1], ok(box.fetch("2", "(BODY[])"), "FETCH")[0][1]), None, "copied")
    equal(box.store("1", "+FLAGS", r"(\Seen)")[0], "NO", "STORE after EXAMINE")
    ok(box.close(), "CLOSE")
    ok(box.delete("Archive"), "DELETE")
    equal(box.select("Archive")[0], "NO", "SELECT of a deleted mailbox")


def on_terminal(bed, args, env, seconds):
    """Run a program that needs a terminal to its end."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (30, 100))
    p = subprocess.Popen(["ip", "netns", "exec", bed.ns, *args], stdin=slave, stdout=slave,
                         stderr=slave, env=env, start_new_session=True)
    os.close(slave)
    shown, deadline = b"", time.monotonic() + seconds
    try:
        while p.poll() is None and time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    shown += os.read(master, 65536)
        expect(p.poll() == 0, f"{args[0]} ended with {p.poll()} and showed {shown[-2000:]!r}")
    finally:
        if p.poll() is None:
            p.kill()
        p.wait()
        os.close(master)


MUTTRC = """set ssl_starttls=no
set ssl_force_tls=no
set imap_authenticators="login"
set imap_user="{user}"
set imap_pass="{password}"
set mail_check=0
set delete=yes
set quit=yes
set move=no
set sleep_time=0
set copy=no
set confirmappend=no
set confirmcreate=no
set header_cache=""
set smtp_url="smtp://{relay}/"
set from="{sender}"
set realname="Alice"
set hostname="client.example.org"
set sendmail_wait=0
"""


@test("client imaplib: quota, special uses, MOVE")
def client_imaplib_extensions(work):
    with Bed(work + "/bed") as bed:
        fill(bed, 3)
        with mailbox.imap(bed, 2) as box:
            expect("QUOTA" in box.capabilities and "SPECIAL-USE" in box.capabilities, "capabilities")
            equal(ok(box.getquota('""'), "GETQUOTA"), [b'"" ()'], "no quota")
            bed.ctl("user", "quota", bed.user2, "100k", "--messages", "4")
            used = ok(box.getquotaroot("INBOX"), "GETQUOTAROOT")[1][0]
            expect(used.startswith(b'"" (STORAGE ') and used.endswith(b" 100 MESSAGE 3 4)"), str(used))
            ok(box.append("INBOX", None, None, b"Subject: last\r\n\r\n"), "APPEND")
            for kind, data in (box.append("INBOX", None, None, b"Subject: full\r\n\r\n"), box.copy("1", "INBOX")) \
                    if box.select()[0] == "OK" else ():
                expect(kind == "NO" and b"[OVERQUOTA]" in data[0], f"{kind} {data}")
            ok(box._simple_command("CREATE", "Bin", r"(USE (\Trash))"), "CREATE")
            kind, data = box._simple_command("CREATE", "Bin2", r"(USE (\Trash))")
            expect(kind == "NO" and b"[USEATTR]" in data[0], f"{kind} {data}")
            equal(ok(box.list('(SPECIAL-USE) ""', "*"), "LIST"), [rb'(\Trash) "/" "Bin"'], "special uses")
            before = ok(box.uid("FETCH", "2", "(BODY.PEEK[])"), "FETCH")[0][1]
            ok(box.uid("MOVE", "2,3", "Bin"), "MOVE, though the account is full")
            equal(ok(box.uid("SEARCH", "ALL"), "SEARCH"), [b"1 4"], "what stayed")
            equal(ok(box.select("Bin"), "SELECT"), [b"2"], "what came")
            equal(ok(box.fetch("1", "(BODY.PEEK[])"), "FETCH")[0][1], before, "octets of what came")


@test("IDLE: delivered mail is announced within 10 ms of its commit", seconds=120)
def idle_announces(work):
    """The daemon's own measure, from commit to announcement.  Half of them on any machine, and nearly
    all of them in one try of three: the others that run here are not the daemon's fault."""
    os.makedirs(work, exist_ok=True)
    for _ in range(3):
        said = proc.run([os.path.join(proc.ROOT, "bench", "bench_idle"), "--build",
                         os.environ["BYPOST_BUILD"], "--sessions", "3", "--messages", "100", "--json"]).stdout
        found = json.loads(said.splitlines()[-1])
        expect(found["count"] >= 100 and found["told"] >= found["count"], f"not announced: {found}")
        if found["p50"] <= 10_000 and found["p99"] <= 50_000:
            print(found)
            return
    raise AssertionError(f"too late: {found}")


@test("client mutt: sends by SMTP, reads and saves by IMAP")
def client_mutt(work):
    with Bed(work + "/bed") as bed:
        home = bed.path("mutt")
        os.makedirs(home)
        rc = os.path.join(home, "muttrc")
        with open(rc, "w") as f:
            f.write(MUTTRC.format(user=bed.user2, password=bed.pass2, relay=bed.relay,
                                  sender=bed.user1))
        env = {**os.environ, "HOME": home, "TERM": "dumb"}
        body = "".join(f"line {i} of a message from mutt\n" for i in range(500))
        run_inside(bed, "mutt", "-F", rc, "-s", "from mutt", "--", bed.user2, input=body, env=env)
        got = mailbox.wait_messages(bed, 1, user=2)[0]
        equal(mail.unix(got).split(b"\n\n", 1)[1], body.encode(), "body as sent by mutt")
        saved = os.path.join(home, "saved")
        with open(rc, "a") as f:
            f.write(f"push '<tag-pattern>.<enter><tag-prefix><copy-message>{saved}<enter><exit>'\n")
        on_terminal(bed, ["mutt", "-F", rc, "-f", f"imap://{bed.relay}/INBOX"],
                    {**env, "TERM": "xterm"}, 40)
        with open(saved, "rb") as f:
            copy = f.read()
        expect(body.encode() in copy, f"mutt saved something else: {copy[:300]!r}")


MBSYNCRC = """IMAPAccount bed
Host {relay}
User {user}
Pass {password}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account bed

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""


def maildir(folder):
    """Content of a maildir without the field mbsync adds."""
    out = []
    for part in ("new", "cur"):
        for name in os.listdir(os.path.join(folder, part)):
            with open(os.path.join(folder, part, name), "rb") as f:
                out.append(b"".join(line for line in f if not line.startswith(b"X-TUID:")))
    return out


@test("client mbsync: down, up, and twice without changes")
def client_mbsync(work):
    with Bed(work + "/bed") as bed:
        sent = fill(bed, 4)
        home = bed.path("sync")
        os.makedirs(home + "/mail")
        rc = os.path.join(home, "mbsyncrc")
        with open(rc, "w") as f:
            f.write(MBSYNCRC.format(relay=bed.relay, user=bed.user2, password=bed.pass2, home=home))

        def sync():
            return run_inside(bed, "mbsync", "-c", rc, "-V", "all", env={**os.environ, "HOME": home})
        sync()
        inbox = home + "/mail/INBOX"
        got = {m for m in maildir(inbox)}
        for data in sent:
            expect(any(mail.same(data, m) is None for m in got), "a message did not come down")
        up = b"From: b@example.org\nSubject: up\n\nfrom below\n"
        with open(inbox + "/new/1.up.example", "wb") as f:
            f.write(up)
        os.makedirs(home + "/mail/Work/cur")
        for part in ("new", "tmp"):
            os.makedirs(home + "/mail/Work/" + part)
        with open(home + "/mail/Work/cur/2.work.example:2,S", "wb") as f:
            f.write(up.replace(b"up", b"work"))
        sync()
        far = [mail.unix(m) for m in mailbox.messages(bed, 2)]
        expect(any(b"from below" in m for m in far), "a message did not go up")
        equal(len(mailbox.messages(bed, 2, "Work")), 1, "a new mailbox went up")
        for _ in range(2):
            before = sorted(os.listdir(inbox + "/cur") + os.listdir(inbox + "/new"))
            text = sync().stdout
            equal(sorted(os.listdir(inbox + "/cur") + os.listdir(inbox + "/new")), before,
                  f"a sync without changes changed something: {text}")
            equal(len(mailbox.messages(bed, 2)), 5, "messages in INBOX")


@test("client swaks")
def client_swaks(work):
    with Bed(work + "/bed") as bed:
        body = "swaks says hello\n.\n..dots\n"
        done = run_inside(bed, "swaks", "--server", bed.relay, "--from", bed.user1, "--to",
                          f"{bed.user2},x@{bed.remote_domain}", "--header", "Subject: from swaks",
                          "--body", body, "--pipeline", "--timeout", "20")
        expect("250 2.0.0" in done.stdout or "<-  250" in done.stdout, done.stdout)
        wanted = body.rstrip("\n").encode()
        dump = wait_sink(bed, "from swaks")
        expect(dump.data.split(b"\n\n", 1)[1].rstrip(b"\n") == wanted, f"relayed: {dump.data!r}")
        got = mailbox.wait_messages(bed, 1, user=2)[0]
        equal(mail.unix(got).split(b"\n\n", 1)[1].rstrip(b"\n"), wanted, "mailbox")
