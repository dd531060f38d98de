# SPDX-License-Identifier: BSD-3-Clause
"""Mail servers for the relay to send to: started in a bed, and what they took."""

import contextlib
import glob
import json
import os
import smtplib
import sys

from bed import mail, peers, proc


class Mx:
    """bed.mx on an address of the clients' namespace."""

    def __init__(self, bed, name="mx", ip=None, **settings):
        self.bed, self.name = bed, name
        self.folder = bed.path(name)
        os.makedirs(self.folder, exist_ok=True)
        self.settings = {"ip": ip or bed.sink_ip, "folder": self.folder, **settings}
        self.start()

    def start(self, **changes):
        self.settings.update(changes)
        path = self.folder + ".conf"
        with open(path, "w") as f:
            json.dump(self.settings, f)
        env = {**os.environ, "PYTHONPATH": os.path.join(proc.ROOT, "tests")}
        self.bed.start_process(self.name, [sys.executable, "-m", "bed.mx", path], env=env)
        self.bed.wait_listening(self.name, self.settings["ip"], self.settings.get("port", 25),
                                self.name)

    def restart(self, **changes):
        """Another behaviour from now on; what waits is tried at once."""
        self.stop()
        self.start(**changes)
        self.bed.ctl("queue", "retry", "--all", check=False)

    def stop(self):
        self.bed.stop_process(self.name, 1)

    def messages(self):
        """(facts, octets) of what was taken, in order."""
        found = []
        for path in sorted(glob.glob(self.folder + "/*.json")):
            with open(path) as f, open(path[:-5] + ".eml", "rb") as content:
                found.append((json.load(f), content.read()))
        return found

    def wait(self, count, seconds=20):
        proc.wait_for(f"{count} messages at {self.name}",
                      lambda: len(self.messages()) >= count, seconds)
        return self.messages()


def submit(bed, recipients, text=None, sender=None, options=(), rcpt_options=()):
    """Send to the relay from a client that may relay; returns the octets sent."""
    recipients = [recipients] if isinstance(recipients, str) else recipients
    sender = bed.user1 if sender is None else sender
    text = mail.make(sender, recipients[0], "to the next hop", 3000) if text is None else text
    with proc.inside(bed.ns):
        s = smtplib.SMTP(bed.relay, 25, timeout=30)
    s.sendmail(sender, recipients, text, mail_options=options, rcpt_options=rcpt_options)
    s.quit()
    return text


def wait_reason(bed, part, seconds=20):
    """The queue's entry whose reason has this part."""
    def found():
        for entry in bed.queue():
            if part in json.dumps(entry):
                return entry
    proc.wait_for(f"a queue entry with '{part}'", found, seconds)
    return found()


def log_text(bed):
    with contextlib.suppress(OSError):
        with open(bed.path("bypostd.log"), encoding="utf-8", errors="replace") as f:
            return f.read()
    return ""


def sign_zone(bed, records, zone="example.net"):
    """Add records to a zone of the bed, sign it, and serve it so; returns the trust anchor's file."""
    folder = bed.path("dns")
    tool = os.path.join(peers.TREE, "usr/bin")
    with open(f"{folder}/{zone}.zone", "a") as f:
        f.write(records)

    def ldns(*args):
        return proc.run([os.path.join(tool, args[0]), *args[1:]], cwd=folder,
                        env=peers.environment())
    key = ldns("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", zone).stdout.strip()
    ldns("ldns-signzone", f"{zone}.zone", key)
    with open(f"{folder}/nsd.conf") as f:
        conf = f.read()
    with open(f"{folder}/nsd.conf", "w") as f:
        f.write(conf.replace(f"zonefile: {zone}.zone", f"zonefile: {zone}.zone.signed"))
    return os.path.join(folder, key + ".key")
