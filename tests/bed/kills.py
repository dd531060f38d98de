# SPDX-License-Identifier: BSD-3-Clause
"""kill -9 at random moments under load of real clients: SMTP senders, an IMAP client that files, flags and
expunges, a POP3 client that takes its mail away.  What was acknowledged is there, once and unaltered; what
was acknowledged as gone stays gone; the store's check finds nothing.

    sudo PYTHONPATH=tests python3 -m bed.kills --rounds 100

Once means: a local mailbox has exactly one copy of a message that got its 250, at most one of a message
whose sender never heard.  A server that mail is relayed to may get a message twice (killed between
its 250 and our commit), which is counted; never altered, never not at all."""

import argparse
import imaplib
import os
import poplib
import random
import re
import sys
import tempfile
import threading
import time

from bed import build, load, mail, mailbox, proc
from bed.bed import Bed
from bed.harness import equal, expect

SEED = 20260302
# Short waits, so that what a killed server left half-sent is tried again within the test.
CHANGES = {"delivery": {"retry": ["1s"], "idle_timeout": "1s"}, "limits": {"data_timeout": "20s"}}
CHECK_EVERY = 10  # rounds; the check reads every octet
GONE = (OSError, imaplib.IMAP4.error, poplib.error_proto, EOFError)


def recipients(bed):
    def choose(rng, ident):
        remote = f"{ident}@{bed.remote_domain}"
        return rng.choice([[bed.user1], [remote], [bed.user2, remote], [bed.user1, bed.user2], [bed.user3]])
    return choose


def sizes(rng):
    return rng.choice([300, 2_000, 10_000, 10_000, 40_000, 350_000])


class Client(threading.Thread):
    """A client that is cut off by each kill and comes back.  What it does not know the outcome of is `open`."""

    def __init__(self, bed, seed):
        super().__init__(daemon=True)
        self.bed, self.rng = bed, random.Random(seed)
        self.stopping = threading.Event()
        self.wrong = []

    def run(self):
        while not self.stopping.is_set():
            try:
                self.session()
            except GONE:
                time.sleep(0.05)
            except Exception as e:  # noqa: BLE001: the campaign must hear of it
                self.wrong.append(f"{type(self).__name__}: {type(e).__name__}: {e}")
                return

    def finish(self):
        self.stopping.set()
        self.join(30)
        expect(not self.is_alive(), "a client did not end")


class Imap(Client):
    """id -> what is known, of messages in a folder of its own."""

    FOLDER = "Kills"

    def __init__(self, bed, seed):
        super().__init__(bed, seed)
        self.present, self.flagged, self.gone, self.open = {}, set(), set(), set()

    def session(self):
        with mailbox.imap(self.bed, 1, timeout=4) as box:
            box.create(self.FOLDER)
            box.select(self.FOLDER)
            for _ in range(50):
                if self.stopping.is_set():
                    return
                self.rng.choice((self.append, self.append, self.append, self.flag, self.expunge))(box)

    def append(self, box):
        ident = os.urandom(8).hex()
        size = self.rng.choice([300, 3_000, 3_000, 20_000, 300_000])
        data = mail.make(self.bed.user1, "x", f"load {ident}", size, ident)
        self.open.add(ident)
        kind, answer = box.append(self.FOLDER, None, None, data)
        if kind == "OK":
            uid = re.search(rb"APPENDUID \d+ (\d+)", answer[0]).group(1).decode()
            self.present[ident] = (uid, load.digest(data))
        self.open.discard(ident)

    def choose(self):
        known = sorted(set(self.present) - self.gone - self.open)
        return self.rng.choice(known) if known else None

    def flag(self, box):
        ident = self.choose()
        if ident and box.uid("STORE", self.present[ident][0], "+FLAGS", r"(\Flagged)")[0] == "OK":
            self.flagged.add(ident)

    def expunge(self, box):
        ident = self.choose()
        if not ident:
            return
        self.open.add(ident)
        uid = self.present[ident][0]
        if box.uid("STORE", uid, "+FLAGS", r"(\Deleted)")[0] != "OK":
            return
        if box.uid("EXPUNGE", uid)[0] == "OK":
            self.gone.add(ident)
            self.open.discard(ident)

    def verify(self):
        seen = {}
        with mailbox.imap(self.bed, 1) as box:
            n = mailbox.count(box, self.FOLDER)
            for i in range(1, n + 1):
                data = box.fetch(str(i), "(UID FLAGS BODY.PEEK[])")[1]
                head, body = data[0]
                ident = load.ID.search(body).group(1).decode()
                uid = re.search(rb"UID (\d+)", head + data[1] if isinstance(data[1], bytes) else head)
                seen.setdefault(ident, []).append((uid.group(1).decode(), load.digest(body),
                                                   b"\\Flagged" in head + bytes(data[1])))
        for ident, copies in seen.items():
            if len(copies) != 1:
                self.wrong.append(f"{ident} is there {len(copies)} times")
            if ident in self.gone:
                self.wrong.append(f"{ident} was expunged and is there")
            if ident in self.present and copies[0][:2] != self.present[ident]:
                self.wrong.append(f"{ident} is another: {copies[0]}")
            if ident in self.flagged and not copies[0][2]:
                self.wrong.append(f"{ident} has lost its flag")
        for ident in set(self.present) - self.gone - self.open - set(seen):
            self.wrong.append(f"{ident} was appended and is nowhere")
        return self.wrong


class Pop(Client):
    """Takes the third user's mail away."""

    def __init__(self, bed, seed):
        super().__init__(bed, seed)
        self.taken, self.open, self.last = set(), set(), {}

    def session(self):
        with mailbox.pop3(self.bed, 3, timeout=4) as box:
            ids = []
            for i in range(1, min(box.stat()[0], 3) + 1):
                data = b"\r\n".join(box.retr(i)[1])
                ident = load.ID.search(data).group(1).decode()
                if ident in self.taken:
                    self.wrong.append(f"{ident} was taken and is there again")
                box.dele(i)
                ids.append(ident)
                self.last[ident] = load.digest(data)
            self.open |= set(ids)
            if box.quit().startswith(b"+OK"):
                self.taken |= set(ids)
                self.open -= set(ids)
        time.sleep(0.05)


def all_once(bed, run, places):
    """Local mailboxes: one copy of what was acknowledged."""
    local = (bed.user1, bed.user2, bed.user3)
    return [(i, r, n) for i, r, n in load.doubled(places) if r in local]


def rounds(bed, run, kills, rng):
    for i in range(kills):
        before = len(run.acked)
        proc.wait_for("acknowledged messages after a restart",
                      lambda n=before: len(run.acked) > n + 2, 20)
        time.sleep(rng.uniform(0, 0.6))
        bed.kill_daemon()
        bed.start_daemon()
        if (i + 1) % CHECK_EVERY == 0:
            check = bed.ctl("store", "check", check=False, timeout=600)
            equal(check.returncode, 0, f"store check after {i + 1} kills: {check.stdout[:2000]}")


def taken_are_found(bed, pop, places):
    """What POP3 took away counts as found; what it may have taken as well."""
    for ident in pop.taken | pop.open:
        here = places.found.setdefault(bed.user3, {})
        if ident in pop.taken and ident in here:
            pop.wrong.append(f"{ident} was taken and is there")
        here.setdefault(ident, [pop.last[ident]])


def campaign(work, kills, layout, seconds, seed=SEED, shards=1):
    rng = random.Random(seed)
    with Bed(work + "/bed", layout=layout, changes={**CHANGES, "store": {"shards": shards}}) as bed:
        bed.user3, bed.pass3 = "carol@example.org", "carol-2Kd8"
        bed.add_user(bed.user3, bed.pass3)
        run = load.Load(bed, 6, recipients(bed), sizes, timeout=4, seed=seed).start()
        imap, pop = Imap(bed, seed + 1), Pop(bed, seed + 2)
        imap.start()
        pop.start()
        rounds(bed, run, kills, rng)
        time.sleep(1)
        imap.finish()
        pop.finish()
        run.stop()
        bed.ctl("queue", "retry", "--all", check=False)
        queued = load.drain(bed, seconds)
        places = load.look(bed, users=(1, 2, 3))
        taken_are_found(bed, pop, places)
        print(f"{kills} kills, {len(run.acked)} messages acknowledged, {len(run.offered)} offered, "
              f"{len(queued)} recipients still queued, {len(load.doubled(places))} relayed twice; "
              f"IMAP: {len(imap.present)} appended, {len(imap.flagged)} flagged, {len(imap.gone)} expunged; "
              f"POP3: {len(pop.taken)} taken; refusals {run.refused}")
        expect(len(run.acked) >= 5 * kills, f"only {len(run.acked)} messages were acknowledged")
        expect(imap.present and imap.gone and imap.flagged and pop.taken, "a client did nothing")
        equal(load.lost(run, places, queued), [], "lost or altered")
        equal(all_once(bed, run, places), [], "doubled in a mailbox")
        equal(imap.verify(), [], "IMAP")
        equal(pop.wrong, [], "POP3")
        bed.stop_daemon()
        check = bed.ctl("--config", bed.config, "store", "check", check=False, timeout=600)
        equal(check.returncode, 0, f"store check: {check.stdout[:2000]}")


def main():
    p = argparse.ArgumentParser(prog="bed.kills")
    p.add_argument("--rounds", type=int, default=100)
    p.add_argument("--seed", type=int, default=SEED)
    p.add_argument("--shards", type=int, default=1)
    p.add_argument("--layout", choices=["one", "split"], default="one")
    p.add_argument("--build", default=os.path.join(build.BUILD, "check", "gcc"))
    args = p.parse_args()
    os.environ["BYPOST_BUILD"] = args.build
    proc.interruptible()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bypost-kills-", dir="/var/tmp") as work:
        os.chmod(work, 0o755)
        campaign(work, args.rounds, args.layout, 60, args.seed, args.shards)
    print(f"all right, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (proc.Failure, AssertionError) as e:
        sys.exit(f"bed.kills: {e}")
