# SPDX-License-Identifier: BSD-3-Clause
"""What is accepted and refused, and what becomes of mail that cannot be delivered at once."""

import email
import time

from bed import mail, mailbox, net, proc, smtp
from bed.bed import Bed
from bed.harness import equal, expect, test


def session(bed, source=None):
    client = smtp.connect(bed, source)
    client.hello()
    return client


def refused(reply, code, status, what):
    expect(reply[0] == code and reply[1].startswith(status),
           f"{what}: wanted {code} {status}, got {reply}")


def send(bed, rcpts, data=None, sender=None):
    client = session(bed)
    data = data or mail.make(bed.user1, rcpts[0], "test", 2000)
    reply = client.message(bed.user1 if sender is None else sender, rcpts, data)
    equal(reply[0], 250, f"end of data: {reply}")
    client.quit()
    return data


@test("unknown local user: 550 5.1.1 at RCPT")
def unknown_user(work):
    with Bed(work + "/bed") as bed:
        c = session(bed)
        c.cmd(f"MAIL FROM:<{bed.user1}>")
        refused(c.cmd("RCPT TO:<nobody@example.org>"), 550, "5.1.1", "unknown user")
        equal(c.cmd(f"RCPT TO:<{bed.user2}>")[0], 250, "known user")
        equal(c.cmd(f"RCPT TO:<{bed.user2.upper()}>")[0], 250, "known user in capitals")
        bed.ctl("user", "add", "carol@example.org", input="secret\n")
        equal(c.cmd("RCPT TO:<carol@example.org>")[0], 250, "a user just added")


@test("relay denied for strangers, local mail accepted from them")
def stranger(work):
    with Bed(work + "/bed") as bed:
        c = session(bed, bed.stranger)
        c.cmd("MAIL FROM:<x@y.example.net>")
        reply = c.cmd(f"RCPT TO:<a@{bed.remote_domain}>")
        expect(reply[0] // 100 == 5 and "5.7.1" in reply[1], f"relaying: {reply}")
        for trick in (f"a%{bed.remote_domain}@example.org", f"\"a@{bed.remote_domain}\"@example.org",
                      f"@example.org:a@{bed.remote_domain}"):
            reply = c.cmd(f"RCPT TO:<{trick}>")
            expect(reply[0] // 100 == 5, f"RCPT TO:<{trick}>: {reply}")
        equal(c.cmd(f"RCPT TO:<{bed.user1}>")[0], 250, "local mail")
        equal(c.cmd("RSET")[0], 250, "RSET")
        data = mail.make("x@y.example.net", bed.user1, "from a stranger", 500)
        equal(c.message("x@y.example.net", [bed.user1], data)[0], 250, "local message")
        equal(mail.same(data, mailbox.wait_messages(bed, 1)[0]), None, "mailbox")
        equal(bed.sink_files(), [], "mail at the sink")


@test("smuggling: bare CR and LF are refused, only CRLF.CRLF ends data")
def smuggling(work):
    with Bed(work + "/bed") as bed:
        for bad in (b"a\nb\r\n", b"a\rb\r\n", b"x\r\n.\n", b"x\n.\r\n", b"x\n.\n", b"x\r.\r"):
            c = session(bed)
            c.cmd(f"MAIL FROM:<{bed.user1}>")
            c.cmd(f"RCPT TO:<{bed.user1}>")
            equal(c.cmd("DATA")[0], 354, "DATA")
            c.send(b"Subject: s\r\n\r\n" + bad + b"\r\nMAIL FROM:<evil@example.org>\r\n.\r\n")
            reply = c.reply()
            expect(reply[0] // 100 == 5, f"{bad!r}: {reply}")
            c.close()
        send(bed, [bed.user1], b"Subject: good\r\n\r\n..\r\n.\r\r\n"[:-3] + b"\r\n")
        got = mailbox.wait_messages(bed, 1)
        equal(len(got), 1, "messages in the mailbox")


@test("size limit: at MAIL, while data comes, and the session goes on")
def size_limit(work):
    with Bed(work + "/bed", changes={"limits": {"message_size": "100K"}}) as bed:
        c = session(bed)
        refused(c.cmd(f"MAIL FROM:<{bed.user1}> SIZE=1000000"), 552, "5.3.4", "SIZE")
        big = mail.make(bed.user1, bed.user1, "big", 300_000)
        refused(c.message(bed.user1, [bed.user1], big), 552, "5.3.4", "too much data")
        small = mail.make(bed.user1, bed.user1, "small", 50_000)
        equal(c.message(bed.user1, [bed.user1], small)[0], 250, "the next message")
        got = mailbox.wait_messages(bed, 1)
        equal((len(got), mail.same(small, got[0])), (1, None), "mailbox")


@test("loops end: too many Received fields")
def loops(work):
    with Bed(work + "/bed") as bed:
        c = session(bed)
        data = b"Received: from a by b; Mon, 02 Mar 2026 10:00:00 +0000\r\n" * 80 + b"\r\nx\r\n"
        refused(c.message(bed.user1, [bed.user1], data), 554, "5.4.6", "loop")


@test("retry: the schedule delivers by itself once the server is up", seconds=60)
def retry(work):
    with Bed(work + "/bed", changes={"delivery": {"retry": ["2s"]}}) as bed:
        data = send(bed, ["x@" + bed.dead_domain])
        proc.wait_for("a failed attempt", lambda: "refused" in bed.ctl("queue", "list").stdout, 20)
        bed.start_sink("dead", bed.dead_ip)
        proc.wait_for("delivery", lambda: bed.sink_files("dead"), 20)
        proc.wait_for("an empty queue", lambda: not bed.queue(), 10)
        equal(mail.same(data, mail.Dump(bed.sink_files("dead")[0]).data), None, "relayed")


@test("queue: survives a restart, is listed, shown and deleted")
def queue(work):
    with Bed(work + "/bed") as bed:
        send(bed, ["x@" + bed.dead_domain])
        send(bed, ["y@" + bed.dead_domain])
        proc.wait_for("failed attempts",
                      lambda: bed.ctl("queue", "list").stdout.count("refused") >= 2, 20)
        bed.restart()
        entries = bed.queue()
        equal(len(entries), 2, f"entries after a restart: {entries}")
        first = str(entries[0]["id"])
        shown = bed.ctl("queue", "show", first).stdout
        expect(bed.dead_domain in shown and bed.user1 in shown, f"queue show: {shown}")
        bed.ctl("queue", "delete", first)
        equal([str(e["id"]) for e in bed.queue()], [str(entries[1]["id"])], "after delete")
        equal(bed.ctl("queue", "delete", first, check=False).returncode, 3, "nothing matched")


def bounce_of(bed, recipient, status, text):
    """The sender gets an RFC 3464 report about the recipient."""
    data = send(bed, [recipient])
    got = mailbox.wait_messages(bed, 1)[0]
    m = email.message_from_bytes(got)
    equal(m.get_content_type(), "multipart/report", "type of the bounce")
    equal(m.get_param("report-type"), "delivery-status", "report-type")
    parts = m.get_payload()
    equal(parts[1].get_content_type(), "message/delivery-status", "second part")
    fields = "\n".join(str(p) for p in parts[1].get_payload())
    for wanted in (f"Final-Recipient: rfc822; {recipient}", "Action: failed", f"Status: {status}",
                   "Reporting-MTA: dns; mail.example.org"):
        expect(wanted.lower().replace(" ", "") in fields.lower().replace(" ", ""),
               f"{wanted} is not in the report:\n{fields}")
    expect(text.lower() in got.decode("latin-1").lower(), f"{text!r} is not in the bounce: {got}")
    original = mail.unix(parts[2].get_payload(0).as_bytes()
                         if parts[2].is_multipart() else parts[2].get_payload(decode=True))
    subject = mail.unix(data).split(b"Subject: ")[1].split(b"\n")[0]
    expect(b"Subject: " + subject in original, "the original's head is not in the bounce")
    proc.wait_for("an empty queue", lambda: not bed.queue(), 10)


@test("bounce: 5xx of the receiving server goes to the sender's mailbox")
def bounce(work):
    with Bed(work + "/bed") as bed:
        bed.start_sink("reject", bed.reject_ip, ["-f", "RCPT"])
        bounce_of(bed, "x@reject.example.net", "5.", "mx.reject.example.net")


@test("bounce: null MX and unknown domain")
def null_mx(work):
    with Bed(work + "/bed") as bed:
        bounce_of(bed, "x@null.example.net", "5.1.10", "null")
    with Bed(work + "/bed2") as bed:
        bounce_of(bed, "x@absent.example.net", "5.", "absent.example.net")


@test("bounce: mail without a sender is not bounced")
def no_bounce(work):
    with Bed(work + "/bed") as bed:
        send(bed, ["x@null.example.net"], sender="")
        time.sleep(1)
        proc.wait_for("an empty queue", lambda: not bed.queue(), 15)
        equal(mailbox.messages(bed, 1), [], "bounces")


@test("MX preference, A fallback, and soft refusals wait")
def routes(work):
    with Bed(work + "/bed") as bed:
        preferred = send(bed, ["x@preferred.example.net"])
        proc.wait_for("delivery to the second MX", lambda: len(bed.sink_files()) == 1, 20)
        address = send(bed, ["x@address.example.net"])
        proc.wait_for("delivery without MX", lambda: len(bed.sink_files()) == 2, 20)
        dumps = {d.rcpts[0]: d.data for d in map(mail.Dump, bed.sink_files())}
        equal(mail.same(preferred, dumps["x@preferred.example.net"]), None, "preferred")
        equal(mail.same(address, dumps["x@address.example.net"]), None, "address")
        bed.start_sink("reject", bed.reject_ip, ["-r", "RCPT"])
        send(bed, ["x@reject.example.net"])
        proc.wait_for("a reason with 4xx", lambda: " 4" in bed.ctl("queue", "list").stdout
                      and "mx.reject" in bed.ctl("queue", "list").stdout, 20)
        equal(mailbox.messages(bed, 1), [], "bounces")


@test("connection reuse: waiting mail for one host goes over few connections")
def reuse(work):
    with Bed(work + "/bed", changes={"delivery": {"site_connections": 2}}) as bed:
        rules = f"""table ip count {{
            counter opened {{ }}
            chain in {{
                type filter hook input priority 0; policy accept;
                ip daddr {bed.sink_ip} tcp dport 25 tcp flags & (syn | ack) == syn counter name opened
            }}
        }}"""
        proc.run(["ip", "netns", "exec", bed.ns, "nft", "-f", "-"], input=rules)
        c = session(bed)
        for i in range(40):
            data = mail.make(bed.user1, "x", f"reuse {i}", 500)
            equal(c.message(bed.user1, [f"u{i}@{bed.remote_domain}"], data)[0], 250, "250")
        proc.wait_for("all at the sink", lambda: len(bed.sink_files()) == 40, 30)
        opened = net.router_counters(bed)["opened"]
        print(f"{opened} connections for 40 messages")
        expect(1 <= opened <= 10, f"{opened} connections for 40 messages")
