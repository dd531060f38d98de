# SPDX-License-Identifier: BSD-3-Clause
"""A load of messages over parallel connections, which remembers what was acknowledged.

Each message carries an id in its subject; its content is known by hash.  accounted() then says which
acknowledged message is neither in a mailbox, nor in the queue, nor at the receiving server."""

import hashlib
import os
import random
import re
import threading
import time

from bed import mail, mailbox, proc, smtp

ID = re.compile(rb"^Subject: load ([0-9a-f]{16})\r?$", re.M)


def digest(data):
    """Hash of a message as it was sent, whatever the line ends and our trace fields."""
    data = mail.strip_trace(mail.unix(data))[0]
    return hashlib.sha256(data.rstrip(b"\n")).hexdigest()


class Load:
    """recipients: choice(rng, id) -> list of addresses; size: choice(rng) -> octets.  A remote
    address should contain the id: that is how a queued message is told apart."""

    def __init__(self, bed, connections, recipients, size, per_connection=20, timeout=5,
                 namespace=None, seed=1, offered=None):
        self.bed, self.connections, self.timeout = bed, connections, timeout
        self.recipients, self.size, self.per_connection = recipients, size, per_connection
        self.namespace, self.seed = namespace, seed
        self.acked = {}    # id -> (recipients, hash, time)
        # id -> hash: acknowledged or not; shared by loads that fill the same mailboxes.
        self.offered = {} if offered is None else offered
        self.begun = 0
        self.refused = {}  # reply -> count
        self.lock, self.stopping, self.limit = threading.Lock(), threading.Event(), None
        self.threads = []

    def start(self, limit=None):
        """Begin; with a limit the load ends by itself after so many acknowledged messages."""
        self.limit = limit
        for i in range(self.connections):
            t = threading.Thread(target=self.worker, args=(random.Random(self.seed * 1000 + i),),
                                 daemon=True)
            t.start()
            self.threads.append(t)
        return self

    def stop(self):
        self.stopping.set()
        self.join(60)

    def join(self, seconds):
        deadline = time.monotonic() + seconds
        for t in self.threads:
            t.join(max(0, deadline - time.monotonic()))
        running = sum(t.is_alive() for t in self.threads)
        self.stopping.set()
        if running:
            raise proc.Failure(f"the load did not end in {seconds} s: {len(self.acked)} "
                               f"acknowledged, refusals {self.refused}")

    def done(self):
        return self.stopping.is_set() or (self.limit and self.begun >= self.limit)

    def worker(self, rng):
        while not self.done():
            client = None
            try:
                client = smtp.connect(self.bed, timeout=self.timeout, namespace=self.namespace)
                client.hello()
                for _ in range(self.per_connection):
                    if self.done():
                        break
                    self.one(client, rng)
                client.quit()
            except (smtp.Closed, OSError):
                time.sleep(0.02)
            finally:
                if client:
                    client.close()

    def one(self, client, rng):
        ident = os.urandom(8).hex()
        rcpts = self.recipients(rng, ident)
        data = mail.make(self.bed.user1, rcpts[0], f"load {ident}", self.size(rng), ident)
        with self.lock:
            self.offered[ident] = digest(data)
            self.begun += 1
        code, text = client.message(self.bed.user1, rcpts, data)
        with self.lock:
            if code == 250:
                self.acked[ident] = (rcpts, self.offered[ident], time.monotonic())
            else:
                # Refused is not lost; with a limit it is offered again under a new id.
                del self.offered[ident]
                self.begun -= 1
                key = f"{code} {text.splitlines()[0] if text else ''}"
                self.refused[key] = self.refused.get(key, 0) + 1
        if code != 250:
            time.sleep(0.05)


class Places:
    """Where messages of a load are: {recipient: {id: set of hashes}}."""

    def __init__(self):
        self.found = {}
        self.foreign = 0

    def add(self, recipient, data):
        m = ID.search(data)
        if not m:
            self.foreign += 1
            return
        self.found.setdefault(recipient, {}).setdefault(m.group(1).decode(), []).append(digest(data))


def look(bed, users=(1, 2), sinks=("sink",)):
    places = Places()
    for user in users:
        for data in mailbox.messages(bed, user):
            places.add(getattr(bed, f"user{user}"), data)
    for sink in sinks:
        for path in bed.sink_files(sink):
            dump = mail.Dump(path)
            for rcpt in dump.rcpts:
                places.add(rcpt, dump.data)
    return places


def lost(load, places, queued=()):
    """[(id, recipient, what is wrong)] of acknowledged messages that are nowhere, or altered.
    queued: the recipients that are still in the queue."""
    queued = set(queued)
    missing = [(ident, rcpt, "nowhere") for ident, (rcpts, _, _) in load.acked.items()
               for rcpt in rcpts
               if ident not in places.found.get(rcpt, {}) and not (ident in rcpt and rcpt in queued)]
    return missing + altered(load, places)


def altered(load, places):
    """Whatever arrived, acknowledged or not, must be what was offered."""
    return [(ident, rcpt, "altered")
            for rcpt, messages in places.found.items()
            for ident, hashes in messages.items()
            for h in hashes if load.offered.get(ident) != h]


def doubled(places):
    return [(ident, rcpt, len(hashes)) for rcpt, messages in places.found.items()
            for ident, hashes in messages.items() if len(hashes) > 1]


def drain(bed, seconds):
    """Wait until the queue is empty; returns the recipients that are still in it."""
    deadline = time.monotonic() + seconds
    while True:
        rcpts = queued_recipients(bed)
        if not rcpts or time.monotonic() > deadline:
            return rcpts
        time.sleep(0.3)


def queued_recipients(bed):
    return [rcpt["address"] for message in bed.queue() for rcpt in message["recipients"]]
