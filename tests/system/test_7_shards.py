# SPDX-License-Identifier: BSD-3-Clause
"""A store of two shards: mail between them, what operators see, kill -9, and one shard whose disk fails
while the other goes on."""

import contextlib
import imaplib
import json
import os
import smtplib
import time

from bed import mail, mailbox, net, proc
from bed.bed import Bed
from bed.harness import equal, expect, test

USERS = [f"user{i}@example.org" for i in range(6)]
PASSWORD = "shards-3Qz"
CHANGES = {"store": {"shards": 2}, "delivery": {"retry": ["1h"]}}
# A message's shard is a hash of its id, and that of the time: with this many, no shard without one is seen.
ENOUGH = 40


def send(bed, rcpts, data, sender=None):
    """The reply's code."""
    with proc.inside(bed.ns):
        s = smtplib.SMTP(bed.relay, timeout=30, local_hostname="client.example.org")
    with contextlib.closing(s):
        s.ehlo()
        s.mail(sender or USERS[0])
        for r in rcpts:
            s.rcpt(r)
        return s.data(data)[0]


def add_users(bed):
    for address in USERS:
        bed.add_user(address, PASSWORD)


def shard_rows(bed, table):
    """Rows of a table in each shard."""
    return [o["rows"] for o in bed.ctl_json("store", "stat") if o.get("table") == table]


def inbox(bed, user):
    with proc.inside(bed.ns):
        box = imaplib.IMAP4(bed.relay, 143, timeout=30)
    with contextlib.closing(box.socket()):
        box.login(user, PASSWORD)
        n = mailbox.count(box)
        return [box.fetch(str(i), "(BODY.PEEK[])")[1][0][1] for i in range(1, n + 1)]


def wait_inboxes(bed, n, users=USERS):
    proc.wait_for(f"{n} messages for everybody",
                  lambda: all(len(inbox(bed, u)) == n for u in users), 30)


def moved(bed):
    return all(rows == 0 for table in ("move", "dedup") for rows in shard_rows(bed, table))


@test("store.shards: 2: mail crosses, operators see both, a wrong number is refused", seconds=120)
def crossing(work):
    with Bed(work + "/bed", changes=CHANGES, users=False) as bed:
        add_users(bed)
        accounts = shard_rows(bed, "acct")
        expect(len(accounts) == 2 and min(accounts) > 0, f"users in each shard: {accounts}")
        sent = [mail.make(USERS[0], "all", f"message {i}", size)
                for i, size in enumerate([500, 20_000, 600_000, 500, 500, 500, 500, 500])]
        for data in sent:
            equal(send(bed, USERS, data), 250, "DATA")
        wait_inboxes(bed, len(sent))
        for user in USERS:
            got = inbox(bed, user)
            expect(all(any(mail.same(s, g) is None for g in got) for s in sent), f"{user}: altered")
        proc.wait_for("nothing to be moved", lambda: moved(bed), 10)
        # The queue of both, its commands by id and by filter.
        for i in range(ENOUGH):
            equal(send(bed, [f"x{i}@{bed.dead_domain}"], sent[0]), 250, "DATA")
        proc.wait_for("the queue", lambda: len(bed.queue()) == ENOUGH, 10)
        queued = shard_rows(bed, "q")
        expect(min(queued) > 0, f"queued in each shard: {queued}")
        for entry in bed.queue():
            equal(bed.ctl("queue", "show", entry["id"]).returncode, 0, "queue show")
        first = bed.ctl_json("queue", "list", "--limit", "3")
        equal(len([o for o in first if "recipients" in o and "id" in o]), 3, "a limit")
        bed.ctl("queue", "hold", "--all")
        equal({r["state"] for e in bed.queue() for r in e["recipients"]}, {"held"}, "held")
        bed.ctl("queue", "delete", "--domain", bed.dead_domain)
        equal(bed.queue(), [], "deleted")
        equal(len([o for o in bed.ctl_json("user", "list") if "address" in o]), len(USERS), "users")
        text = bed.ctl("status").stdout
        expect("shard 0" in text and "shard 1" in text, text)
        expect("0 problems" in bed.ctl("store", "check").stdout, "store check")
        backup = bed.path("backup")
        os.mkdir(backup)
        os.chmod(backup, 0o777)  # for the user that bypostd is
        bed.ctl("store", "backup", backup)
        bed.stop_daemon()
        expect("0 problems" in bed.ctl("store", "check", "--config", bed.config).stdout, "offline")
        bed.ctl("store", "restore", backup, "--yes", "--config", bed.config)
        bed.ctl("store", "compact", "--config", bed.config)
        bed.start_daemon()
        wait_inboxes(bed, len(sent))
        bed.stop_daemon()
        bed.changes = {**CHANGES, "store": {"shards": 3}}
        bed.write_config()
        with contextlib.suppress(proc.Failure):
            bed.start_daemon()
        log = proc.tail(bed.path("bypostd.log"))
        expect("made with 2 shards" in log and "says 3: set it to 2" in log, log)
        bed.forget_daemon()


class FailingDisk(Bed):
    """One shard's directory stops taking writes while the file `fail` is there."""

    def start_daemon(self, wait=True):
        layer = os.path.join(self.binaries, "tests", "crash", "diskfail.so")
        env = {**os.environ, "LD_PRELOAD": layer, "BYPOST_DISKFAIL": self.path("store", "shard1"),
               "BYPOST_DISKFAIL_WHEN": self.path("fail")}
        self.start_process("bypostd", self.daemon_command(), namespace=self.relay_ns, env=env)
        if self.port == "tap":
            net.attach(self)
        if wait:
            self.wait_ready()


def queue_of_good(bed):
    """The list says at its end that a shard could not be read, after what the others have."""
    done = bed.ctl("queue", "list", "--limit", "1000", "--json", check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [o for o in lines if "recipients" in o and "id" in o]


def healths(bed):
    status = bed.ctl_json("status")[0]
    return [s["health"] for s in status["store"]["shards"]]


@test("store.shards: 2: one shard's disk fails, the other goes on, and all is there after a restart",
      seconds=120)
def one_fails(work):
    with FailingDisk(work + "/bed", changes=CHANGES, users=False) as bed:
        add_users(bed)
        data = mail.make(USERS[0], "all", "before", 2_000)
        equal(send(bed, USERS, data), 250, "DATA")
        wait_inboxes(bed, 1)
        open(bed.path("fail"), "w").close()
        codes = [send(bed, USERS, mail.make(USERS[0], "all", f"while {i}", 2_000)) for i in range(12)]
        expect(set(codes) <= {250, 451} and codes.count(250) >= 10, f"replies {codes}")
        taken = codes.count(250)
        equal(healths(bed), ["ok", "failed"], "health")
        why = bed.ctl("why").stdout
        expect("Shard 1" in why and "has failed" in why, why)
        # Mailboxes of the one that goes on have all that was taken; the rest waits for the other.
        with_all = [u for u in USERS if len(inbox(bed, u)) == 1 + taken]
        expect(0 < len(with_all) < len(USERS), f"{with_all} have all")
        waiting = queue_of_good(bed)
        expect(waiting and all(r["state"] == "moving" for e in waiting for r in e["recipients"]),
               f"waiting: {waiting[:1]}")
        text = bed.ctl("queue", "why", waiting[0]["id"]).stdout
        expect("shard 1" in text and "failed" in text, text)
        bed.kill_daemon()
        os.unlink(bed.path("fail"))
        bed.start_daemon()
        wait_inboxes(bed, 1 + taken)
        proc.wait_for("nothing to be moved", lambda: moved(bed), 10)
        time.sleep(0.5)
        wait_inboxes(bed, 1 + taken)
        equal(healths(bed), ["ok", "ok"], "health")
        expect("0 problems" in bed.ctl("store", "check").stdout, "store check")
