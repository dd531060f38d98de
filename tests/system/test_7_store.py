# SPDX-License-Identifier: BSD-3-Clause
"""The operators' store commands, with the relay running and without."""

import imaplib
import os
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
    """One octet of a body's page, where the file says "Subject: message 3"."""
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
        damage(bed.path("store", "data.mdb"))
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
        # Everything goes; then the copy comes back.
        bed.ctl("queue", "delete", "--all", "--yes")
        with mailbox.imap(bed, 2) as box:
            box.select("INBOX")
            box.store("1:*", "+FLAGS", r"(\Deleted)")
            box.expunge()
        bed.stop_daemon()
        refused = offline(bed, "restore", copy, check=False)
        expect(refused.returncode == 1 and "--yes" in refused.stdout, refused.stdout)
        offline(bed, "restore", copy, "--yes")
        expect(os.path.exists(bed.path("store", "data.mdb.replaced")), "the old store is kept")
        before = os.path.getsize(bed.path("store", "data.mdb"))
        expect("compacted" in offline(bed, "compact").stdout, "compact")
        expect(os.path.getsize(bed.path("store", "data.mdb")) <= before, "compact makes it larger")
        expect("0 problems" in offline(bed, "check").stdout, "check of the restored store")
        bed.start_daemon()
        equal(len(bed.queue()), queued, "queued messages after restore")
        got = mailbox.messages(bed, 2)
        equal([mail.same(s, g) for s, g in zip(sent, got)], [None] * 5, "restored messages")
