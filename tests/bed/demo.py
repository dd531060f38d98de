# SPDX-License-Identifier: BSD-3-Clause
"""What quickstart shows: mail going all the way, compared byte by byte."""

import os
import time

from bed import mail
from bed.proc import Failure, run, say, wait_for


class Demo:
    def __init__(self, bed):
        self.bed = bed
        self.shown = []

    def curl(self, *args, **kwargs):
        return run(["ip", "netns", "exec", self.bed.ns, "curl", "-sS", "--max-time", "60", *args],
                   **kwargs)

    def send(self, name, recipient, data, relay=None):
        """Send with curl over SMTP; the file stays in the bed's folder."""
        path = self.bed.path(name + ".eml")
        with open(path, "wb") as f:
            f.write(data)
        began = time.monotonic()
        self.curl(f"smtp://{relay or self.bed.relay}/client.example.org", "--mail-from", self.bed.user1,
                  "--mail-rcpt", recipient, "--upload-file", path)
        return time.monotonic() - began

    def expect_same(self, what, sent, received):
        problem = mail.same(sent, received)
        if problem:
            raise Failure(f"{what} is not what was sent: {problem}")

    def sink_message(self, subject, folder="sink"):
        def find():
            for path in self.bed.sink_files(folder):
                dump = mail.Dump(path)
                if dump.subject() == subject:
                    return dump
        return wait_for("the message at the receiving server", find, 30)

    def remote(self):
        bed, recipient = self.bed, "someone@" + self.bed.remote_domain
        say(f"1. A message of 300 kB to {recipient}, by curl over SMTP.")
        data = mail.make(bed.user1, recipient, "to a remote domain", 300_000)
        seconds = self.send("remote", recipient, data)
        say(f"   250: accepted over the user-space TCP stack and durable in LMDB ({seconds:.2f} s).")
        dump = self.sink_message("to a remote domain")
        self.expect_same("the relayed message", data, dump.data)
        say(f"   MX looked up, relayed; smtp-sink received the same {len(data)} octets for "
            f"{dump.rcpts[0]}.")
        self.shown.append("relayed to a remote domain, same bytes")

    def local(self):
        bed = self.bed
        say(f"2. A message to {bed.user2}, fetched back over POP3 and IMAP.")
        data = mail.make(bed.user1, bed.user2, "to a local user", 40_000)
        self.send("local", bed.user2, data)
        login = f"{bed.user2}:{bed.pass2}"
        pop3 = self.curl("-u", login, f"pop3://{bed.relay}/1", text=False).stdout
        self.expect_same("the message over POP3", data, pop3)
        say(f"   POP3: the same {len(data)} octets below our trace fields.")
        imap = self.curl("-u", login, f"imap://{bed.relay}/INBOX;MAILINDEX=1", text=False).stdout
        self.expect_same("the message over IMAP", data, imap)
        if mail.unix(imap) != mail.unix(pop3):
            raise Failure("POP3 and IMAP differ")
        say("   IMAP: the same, byte for byte.")
        self.shown.append("delivered locally, read over POP3 and IMAP, same bytes")

    def six(self):
        bed, recipient = self.bed, "someone@" + self.bed.remote6_domain
        say(f"3. The same over IPv6: to {recipient}, whose server has no other address.")
        data = mail.make(bed.user1, recipient, "over IPv6", 100_000)
        self.send("six", recipient, data, f"[{bed.relay6}]")
        self.expect_same("the message over IPv6", data, self.sink_message("over IPv6", "sink6").data)
        say("   Accepted and relayed over IPv6, byte for byte.")
        self.shown.append("accepted and relayed over IPv6, same bytes")

    def waiting(self):
        bed, recipient = self.bed, "someone@" + self.bed.dead_domain
        say(f"4. A message to {recipient}, whose server is down.")
        data = mail.make(bed.user1, recipient, "to a dead domain", 5_000)
        self.send("dead", recipient, data)

        def listed():
            text = bed.ctl("queue", "list", check=False).stdout
            return text if "refused" in text.lower() else None
        text = wait_for("the reason of the failed attempt in the queue", listed, 30)
        say("   It waits. bypostctl queue list:")
        for line in text.splitlines():
            say("     " + line)
        say("   The server comes up; bypostctl queue retry --all:")
        bed.start_sink("dead", bed.dead_ip)
        say("     " + bed.ctl("queue", "retry", "--all").stdout.strip())
        dump = self.sink_message("to a dead domain", "dead")
        self.expect_same("the retried message", data, dump.data)
        wait_for("an empty queue", lambda: not bed.queue(), 15)
        say("   It arrived, byte for byte, and the queue is empty.")
        self.shown.append("waited for a dead server, then retried")

    def status(self):
        say("5. bypostctl status:")
        for line in self.bed.ctl("status").stdout.splitlines():
            say("     " + line)
        self.shown.append("status")

    def run(self):
        for step in (self.remote, self.local, self.six, self.waiting, self.status):
            step()
            say()


def commands(bed, folder):
    """What to type against a bed that stays."""
    ns = f"ip netns exec {bed.ns}"
    say(f"bypostd is running in {bed.dir} (port {bed.port}, layout {bed.layout}). To talk to it:")
    say(f"  {ns} swaks --server {bed.relay} --from {bed.user1} --to someone@{bed.remote_domain}")
    say(f"  {ns} curl -u {bed.user2}:{bed.pass2} pop3://{bed.relay}/")
    say(f"  {ns} curl -u {bed.user2}:{bed.pass2} 'imap://{bed.relay}/INBOX;MAILINDEX=1'")
    say("  " + " ".join(bed.ctl_command) + " status")
    if bed.sink:
        say(f"  ls {bed.path('sink')}          mail for {bed.remote_domain} and below it")
    say(f"  {os.path.join(bed.dir, 'bed.env')} has all of this for scripts.")
    say(f"Restart the relay: ./quickstart --restart --bed {folder}")
    say(f"End everything:    ./quickstart --stop --bed {folder}")
