# SPDX-License-Identifier: BSD-3-Clause
"""The operators' store commands, with the relay running and without."""

import imaplib
import os
import re
import smtplib

from bed import load, mail, mailbox, proc
from bed.bed import Bed
from bed.harness import equal, expect, test


def send(bed, rcpts, data):
    with proc.inside(bed.ns):
        s = smtplib.SMTP(bed.relay, timeout=30, local_hostname="client.example.org")
    s.sendmail(bed.user1, rcpts, data)
    s.quit()


def fill(bed, n):
    sent = [mail.make(bed.user1, bed.user2, f"message {i}", 20_000) for i in range(n)]
    for data in sent:
        send(bed, [bed.user2, "x@" + bed.remote_domain], data)
    mailbox.wait_messages(bed, n, user=2)
    return sent


def offline(bed, *args, check=True):
    """bypostctl store ... without a daemon."""
    return bed.ctl("store", *args, "--config", bed.config, check=check)


def damage(path):
    """One octet of a body, where the journal says "Subject: message 3"."""
    with open(path, "r+b") as f:
        data = f.read()
        at = data.rindex(b"Subject: message 3\r\n")
        f.seek(at)
        f.write(b"s")


@test("store check, stat: online under load and offline; damage is found, repaired where it can be",
      seconds=120)
def check(work):
    with Bed(work + "/bed", sink=False, changes={"delivery": {"retry": ["1h"]}}) as bed:
        sent = fill(bed, 6)
        run = load.Load(bed, 4, lambda rng, ident: [rng.choice([bed.user1, bed.user2])],
                        lambda rng: rng.choice([2_000, 30_000]), seed=3).start()
        for _ in range(5):
            lines = bed.ctl_json("store", "check")
            equal([o for o in lines if "problem" in o], [], "problems of a running store")
        run.stop()
        text = bed.ctl("store", "check").stdout
        expect("0 problems" in text, text)
        tables = {o["table"]: o for o in bed.ctl_json("store", "stat") if "table" in o}
        equal(tables["q"]["rows"], len(bed.queue()), "queued messages")
        refused = bed.ctl("store", "check", "--repair", "--config", bed.config, check=False)
        expect(refused.returncode == 1 and "in use" in refused.stdout, refused.stdout)
        bed.stop_daemon()
        expect("0 problems" in offline(bed, "check").stdout, "offline")
        damage(bed.path("store", "journal"))
        found = offline(bed, "check", check=False)
        expect(found.returncode == 1 and "body-damaged" in found.stdout, found.stdout)
        found = offline(bed, "check", "--repair", check=False)
        expect("1 problems, 0 repaired, 1 cannot" in found.stdout, found.stdout)
        bed.start_daemon()
        # The damaged one ends the session in the middle of its literal; all others are read.
        got = [fetch(bed, i) for i in range(1, 7)]
        damaged = [i for i in range(6) if got[i] is None]
        equal(len(damaged), 1, "messages that cannot be read")
        equal([mail.same(s, g) for s, g in zip(sent, got) if g], [None] * 5, "the others")


def fetch(bed, number):
    try:
        with mailbox.imap(bed, 2) as box:
            box.select("INBOX")
            kind, data = box.fetch(str(number), "(BODY.PEEK[])")
            return data[0][1] if kind == "OK" else None
    except (OSError, imaplib.IMAP4.abort):
        return None


@test("store backup, restore, compact: what was there comes back", seconds=120)
def copies(work):
    with Bed(work + "/bed", sink=False, changes={"delivery": {"retry": ["1h"]}}) as bed:
        sent = fill(bed, 5)
        # The relay's own user writes it.
        folder = bed.path("backups")
        os.mkdir(folder)
        os.chmod(folder, 0o777)
        copy = os.path.join(folder, "one")
        run = load.Load(bed, 4, lambda rng, ident: [bed.user1], lambda rng: 10_000, seed=5).start()
        expect("copied" in bed.ctl("store", "backup", copy).stdout, "backup")
        run.stop()
        again = bed.ctl("store", "backup", copy, check=False)
        expect(again.returncode == 1 and "backup is there" in again.stdout, again.stdout)
        queued = len(bed.queue())
        # What clients see of the time behind the copy, and must not meet again with another meaning.
        known = newest(bed)
        # Everything goes; then the copy comes back.
        bed.ctl("queue", "delete", "--all", "--yes")
        with mailbox.imap(bed, 2) as box:
            box.select("INBOX")
            box.store("1:*", "+FLAGS", r"(\Deleted)")
            box.expunge()
        bed.stop_daemon()
        refused = offline(bed, "restore", copy, check=False)
        expect(refused.returncode == 1 and "--yes" in refused.stdout, refused.stdout)
        # The files of a store are no backup.
        refused = offline(bed, "restore", bed.path("store"), "--yes", check=False)
        expect(refused.returncode == 1 and "not a backup" in refused.stdout, refused.stdout)
        offline(bed, "restore", copy, "--yes")
        for name in "data.mdb.replaced", "journal.replaced":
            expect(os.path.exists(bed.path("store", name)), f"the old store's {name} is kept")
        before = os.path.getsize(bed.path("store", "data.mdb"))
        expect("compacted" in offline(bed, "compact").stdout, "compact")
        expect(os.path.getsize(bed.path("store", "data.mdb")) <= before, "compact makes it larger")
        expect("0 problems" in offline(bed, "check").stdout, "check of the restored store")
        bed.start_daemon()
        equal(len(bed.queue()), queued, "queued messages after restore")
        got = mailbox.messages(bed, 2)
        equal([mail.same(s, g) for s, g in zip(sent, got)], [None] * 5, "restored messages")
        again = newest(bed)
        equal(again["INBOX"][0], known["INBOX"][0], "UIDVALIDITY of what was there")
        expect(again["INBOX"][1] > known["INBOX"][1], f"a UID once more: {known} {again}")
        expect(again["made"][0] > known["made"][0], f"a UIDVALIDITY once more: {known} {again}")


def newest(bed):
    """A message is delivered and a mailbox made: UIDVALIDITY and UIDNEXT of INBOX and of that."""
    send(bed, [bed.user2], mail.make(bed.user1, bed.user2, "the newest", 1000))
    found = {}
    with mailbox.imap(bed, 2) as box:
        box.create("made")
        for name in "INBOX", "made":
            kind, data = box.status(name, "(UIDVALIDITY UIDNEXT)")
            found[name] = [int(re.search(rf"{item} (\d+)", data[0].decode())[1])
                           for item in ("UIDVALIDITY", "UIDNEXT")]
    return found


def recipients(bed):
    """address -> state, of the whole queue."""
    return {r["address"]: r["state"] for m in bed.queue() for r in m["recipients"]}


@test("queue by sender, recipient, domain, age: list, hold, release, bounce, delete", seconds=120)
def by_filter(work):
    with Bed(work + "/bed", sink=False, changes={"delivery": {"retry": ["1h"]}}) as bed:
        here = bed.remote_domain
        for i in range(3):
            send(bed, [f"a{i}@{here}", f"b{i}@{here}"], mail.make(bed.user1, "x", f"m{i}", 2000))
        proc.wait_for("the first attempts", lambda: all(
            r["attempts"] for m in bed.queue() for r in m["recipients"]), 20)
        equal(len(bed.ctl_json("queue", "list", "--recipient", f"A1@{here}")), 1, "one recipient")
        equal(len(bed.ctl_json("queue", "list", "--domain", here)), 3, "the domain")
        old = bed.ctl("queue", "list", "--sender", bed.user1, "--older", "1h", check=False)
        equal(old.returncode, 3, "nothing is that old")
        bed.ctl("queue", "hold", "--recipient", f"a1@{here}")
        equal([a for a, s in recipients(bed).items() if s == "held"], [f"a1@{here}"], "held")
        nothing = bed.ctl("queue", "release", "--sender", "nobody@example.net", check=False)
        equal(nothing.returncode, 3, "nothing matches")
        bed.ctl("queue", "release", "--domain", here)
        expect("held" not in recipients(bed).values(), "released")
        bed.ctl("queue", "priority", "bulk", "--recipient", f"b0@{here}")
        bed.ctl("queue", "priority", "--recipient", f"a0@{here}", "--", "7")
        levels = {r["address"].partition("@")[0]: r["priority"]
                  for m in bed.queue() for r in m["recipients"] if r["priority"]}
        equal(levels, {"b0": -4, "a0": 7}, "priorities")
        # Given up, and reported to the sender; the others stay.
        bed.ctl("queue", "bounce", "--recipient", f"b2@{here}")
        mailbox.wait_messages(bed, 1, user=1)
        report = mailbox.messages(bed, 1)[0]
        expect(b"returned by the operator" in report and f"b2@{here}".encode() in report,
               report.decode())
        equal(sorted(recipients(bed)), sorted(
            [f"{n}{i}@{here}" for n in "ab" for i in range(3) if n + str(i) != "b2"]), "the others")
        bed.ctl("queue", "delete", "--domain", here, "--yes")
        equal(bed.queue(), [], "deleted")
        equal(bed.ctl("store", "check").returncode, 0, "check")


@test("users: quota, disabled; aliases, catch-all, extension, domains", seconds=120)
def accounts(work):
    with Bed(work + "/bed", sink=False) as bed:
        domain = bed.user1.partition("@")[2]
        bed.ctl("alias", "set", "team@" + domain, bed.user1, bed.user2)
        loop = bed.ctl("alias", "set", "loop@" + domain, "loop@" + domain, check=False)
        expect(loop.returncode == 1 and "come back to itself" in loop.stdout, loop.stdout)
        send(bed, ["team@" + domain], mail.make(bed.user1, "x", "to the team", 1000))
        mailbox.wait_messages(bed, 1, user=1)
        mailbox.wait_messages(bed, 1, user=2)
        local, at, _ = bed.user1.partition("@")
        send(bed, [local + "+ext" + at + domain], mail.make(bed.user1, "x", "extension", 1000))
        mailbox.wait_messages(bed, 2, user=1)
        bed.ctl("alias", "set", "@" + domain, bed.user2)
        send(bed, ["anything@" + domain], mail.make(bed.user1, "x", "catch all", 1000))
        mailbox.wait_messages(bed, 2, user=2)
        bed.ctl("alias", "delete", "@" + domain)
        refused = []
        bed.ctl("user", "quota", bed.user2, "1k")
        bed.ctl("user", "disable", bed.user1)
        bed.ctl("domain", "add", "new.example.net")
        for to in (bed.user1, bed.user2, "anything@" + domain, "eve@new.example.net"):
            try:
                send(bed, [to], mail.make(bed.user1, "x", "refused", 1000))
                refused.append(None)
            except smtplib.SMTPRecipientsRefused as e:
                refused.append(e.recipients[to][0])
        equal(refused, [550, 452, 550, 550], "answers to RCPT")
        bed.ctl("user", "enable", bed.user1)
        bed.ctl("user", "quota", bed.user2, "none")
        bed.ctl("user", "add", "eve@new.example.net", input="secret\n")
        send(bed, [bed.user1, bed.user2, "eve@new.example.net"],
             mail.make(bed.user1, "x", "taken", 1000))
        mailbox.wait_messages(bed, 3, user=1)
        mailbox.wait_messages(bed, 3, user=2)
        names = [o["domain"] for o in bed.ctl_json("domain", "list")]
        expect("new.example.net" in names and domain in names, str(names))
        equal([o["targets"] for o in bed.ctl_json("alias", "list")],
              [f"{bed.user1} {bed.user2}"], "aliases")
        expect("0 problems" in bed.ctl("store", "check").stdout, "check")
