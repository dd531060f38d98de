# SPDX-License-Identifier: BSD-3-Clause
"""Bad cases: a clear message that names the key or the path, a non-zero exit, and nothing lost."""

import contextlib
import os
import random
import select
import socket
import subprocess
import threading
import time

from bed import build, config, load, mail, mailbox, net, proc, smtp
from bed.bed import Bed
from bed.harness import equal, expect, test


def prepared(work, changes=None, port="tap"):
    """A bed's namespaces and configuration, without a daemon."""
    bed = Bed(work + "/bed", port=port, changes=changes, users=False)
    os.makedirs(bed.dir)
    os.chmod(bed.dir, 0o755)
    bed.namespaces = [bed.ns] if port == "tap" else [bed.ns, bed.relay_ns]
    bed.save()
    net.build(bed)
    bed.write_config()
    return bed


def daemon_fails(bed, *words, prefix=()):
    """bypostd ends by itself, non-zero but not by a signal, and its last words hold words."""
    done = proc.run(["ip", "netns", "exec", bed.relay_ns, *prefix, *bed.daemon_command()],
                    check=False, timeout=30)
    expect(done.returncode > 0, f"status {done.returncode}: {done.stdout}")
    last = done.stdout.rstrip().splitlines()[-1] if done.stdout.strip() else ""
    for word in words:
        expect(word in last, f"{word!r} is not in the last line: {done.stdout[-1500:]}")
    print(last)
    expect(not os.path.exists(f"/var/run/dpdk/{bed.name}"), "DPDK's run directory was left behind")


def config_fails(work, *words, changes=None, edit=None):
    bed = prepared(work, changes)
    if edit:
        with open(bed.config) as f:
            text = edit(f.read())
        with open(bed.config, "w") as f:
            f.write(text)
    try:
        daemon_fails(bed, *words)
        checked = proc.run([build.program(bed.binaries, build.DAEMON), "--check-config", bed.config],
                           check=False)
        expect(checked.returncode == 1, f"--check-config: {checked.returncode} {checked.stdout}")
        for word in words:
            expect(word in checked.stdout, f"--check-config does not say {word}: {checked.stdout}")
    finally:
        bed.stop()


@test("bad case: unknown key in the configuration")
def unknown_key(work):
    config_fails(work + "/a", "relay.form", "bypost.yaml:", changes={"relay": {"form": ["x"]}})
    config_fails(work + "/b", "colour", changes={"colour": {"red": 1}})


@test("bad case: bad address in the configuration")
def bad_address(work):
    config_fails(work + "/a", "addresses", "198.18.0.300/24", edit=lambda text: text.replace(
        "198.18.0.2/24", "198.18.0.300/24"))
    config_fails(work + "/b", "relay.from", "198.18.0.1/33", edit=lambda text: text.replace(
        "198.18.0.1/32", "198.18.0.1/33"))


@test("bad case: not YAML, no file, wrong type, out of range")
def bad_file(work):
    config_fails(work + "/a", "bypost.yaml:", edit=lambda text: text + "\nx: [1, 2\n")
    config_fails(work + "/b", "listen.smtp", changes={"listen": {"smtp": 70000}})
    config_fails(work + "/c", "limits.errors", changes={"limits": {"errors": "many"}})
    missing = proc.run([build.program(os.environ["BYPOST_BUILD"], build.DAEMON), "--config",
                        work + "/absent.yaml"], check=False)
    expect(missing.returncode == 1 and "absent.yaml" in missing.stdout, missing.stdout)


@test("bad case: a port that does not exist")
def missing_port(work):
    for kind in ("af_packet", "af_xdp"):
        bed = prepared(work + "/" + kind, {"ports": [
            {"name": "p0", "kind": kind, "device": "nosuch0", "addresses": ["198.18.0.2/24"]}]})
        try:
            daemon_fails(bed, "p0", "nosuch0")
        finally:
            bed.stop()


@test("bad case: an interface without permission")
def no_permission(work):
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for kind in ("tap", "af_packet"):
        bed = prepared(work + "/" + kind, {"store": {"path": work + "/" + kind + "/store"},
                                           "admin": {"socket": work + "/" + kind + "/admin.sock"}},
                       port=kind)
        os.chmod(work + "/" + kind, 0o777)
        try:
            daemon_fails(bed, "p0", prefix=nobody)
        finally:
            bed.stop()


@test("bad case: a store directory that is not writable")
def store_not_writable(work):
    os.makedirs(work + "/closed", mode=0o755)
    with open(work + "/closed/in-use", "w"):
        pass
    bed = prepared(work, {"store": {"path": work + "/closed"}})
    try:
        daemon_fails(bed, "store.path", work + "/closed")
    finally:
        bed.stop()
    with open(work + "/file", "w"):
        pass
    bed = prepared(work + "/b", {"store": {"path": work + "/file/store"}})
    try:
        daemon_fails(bed, "store.path", work + "/file/store")
    finally:
        bed.stop()


def fill_disk(bed, limit):
    """Send until a 452 comes; returns the load of what was acknowledged."""
    run = load.Load(bed, 1, lambda rng, ident: [bed.user1], lambda rng: 150_000, timeout=30)
    client = smtp.connect(bed)
    client.hello()
    rng = random.Random(1)
    for _ in range(limit):
        run.one(client, rng)
        if run.refused:
            break
    client.close()
    return run


@test("bad case: full disk answers 452, nothing is lost, deletes work, it recovers", seconds=120)
def full_disk(work):
    with Bed(work + "/bed", changes={"store": {"reserve": "4M"}}, store_megabytes=48) as bed:
        run = fill_disk(bed, 1000)
        code = next(iter(run.refused), "")
        expect(code.startswith("452 4.3.1"), f"refusals on a full disk: {run.refused}")
        expect(len(run.acked) >= 20, f"only {len(run.acked)} messages fitted")
        equal(load.lost(run, load.look(bed, users=(1,))), [], "lost or altered")
        bed.restart()
        equal(load.lost(run, load.look(bed, users=(1,))), [], "lost after a restart")
        with mailbox.imap(bed, 1) as box:
            mailbox.count(box)
            box.select("INBOX")
            equal(box.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")[0], "OK", "STORE on a full disk")
            equal(box.expunge()[0], "OK", "EXPUNGE on a full disk")
        proc.wait_for("room for mail again", lambda: again(bed), 30, 0.5)


def again(bed):
    client = smtp.connect(bed)
    client.hello()
    data = mail.make(bed.user1, bed.user1, "after", 100_000)
    reply = client.message(bed.user1, [bed.user1], data)
    client.close()
    return reply[0] == 250


@test("SIGTERM: drains, exits 0, and leaves nothing half done", seconds=90)
def drains(work):
    with Bed(work + "/bed") as bed:
        data = mail.make(bed.user1, bed.user1, "slow", 60_000)
        slow = smtp.connect(bed)
        slow.hello()
        slow.cmd(f"MAIL FROM:<{bed.user1}>")
        slow.cmd(f"RCPT TO:<{bed.user1}>")
        equal(slow.cmd("DATA")[0], 354, "DATA")
        body = smtp.stuff(data) + b".\r\n"
        slow.send(body[:30_000])
        run = load.Load(bed, 4, lambda rng, ident: [bed.user1], lambda rng: 3000).start()
        time.sleep(0.5)
        record = bed.daemon
        status = []
        ender = threading.Thread(target=lambda: status.append(bed.stop_daemon(30)))
        ender.start()
        time.sleep(0.5)
        slow.send(body[30_000:])
        equal(slow.reply()[0], 250, "a message that was on its way when SIGTERM came")
        ender.join(40)
        expect(not proc.alive(record), "bypostd still runs")
        equal(status, [0], "exit status")
        run.stop()
        bed.start_daemon()
        places = load.look(bed, users=(1,))
        equal(load.lost(run, places), [], "lost or altered")
        equal(places.foreign, 1, "the slow message is there once")


@test("bypostctl: exit codes, --json, users and passwords")
def ctl(work):
    with Bed(work + "/bed") as bed:
        equal(bed.ctl("nonsense", check=False).returncode, 2, "usage error")
        equal(bed.ctl("queue", "show", "999999999", check=False).returncode, 3, "nothing matched")
        equal(bed.ctl("user", "add", bed.user1, check=False, input="x\n").returncode, 1,
              "a user that exists")
        equal(bed.ctl("user", "passwd", "nobody@example.org", check=False,
                      input="x\n").returncode, 3, "passwd of nobody")
        absent = proc.run([bed.ctl_command[0], "--socket", work + "/absent", "status"], check=False)
        equal(absent.returncode, 1, "no daemon")
        expect("absent" in absent.stdout, f"names the socket: {absent.stdout}")
        users = bed.ctl("user", "list").stdout
        expect(bed.user1 in users and bed.user2 in users, users)
        equal(len(bed.ctl_json("user", "list")), 2, "users as JSON")
        equal(len(bed.ctl_json("status")), 1, "status as JSON")
        bed.ctl("user", "passwd", bed.user1, input="another one\n")
        old, bed.pass1 = bed.pass1, "another one"
        with mailbox.imap(bed, 1) as box:
            equal(mailbox.count(box), 0, "login with the new password")
        refused = proc.run(["ip", "netns", "exec", bed.ns, "curl", "-sS", "-u", f"{bed.user1}:{old}",
                            f"pop3://{bed.relay}/"], check=False)
        equal(refused.returncode, 67, "curl with the old password")


@test("privileges are dropped")
def privileges(work):
    with Bed(work + "/bed") as bed:
        with open(f"/proc/{bed.daemon['pid']}/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        expect(set(status["Uid"].split()) != {"0"}, f"uid {status['Uid']}")
        equal(int(status["CapEff"], 16), 0, "effective capabilities")
        equal(status["NoNewPrivs"], "1", "no_new_privs")


@test("bypostd prints a sample configuration that it accepts")
def sample(work):
    daemon = build.program(os.environ["BYPOST_BUILD"], build.DAEMON)
    path = work + "/sample.yaml"
    with open(path, "w") as f:
        f.write(proc.run([daemon, "--print-config"]).stdout)
    equal(subprocess.run([daemon, "--check-config", path], stdout=subprocess.DEVNULL).returncode, 0,
          "--check-config of the sample")
    expect(config.SERVICES["smtp"] == 25, "port of SMTP")


def greeting(bed, source):
    with bed.connect(bed.relay, config.SERVICES["smtp"], source=source, timeout=5) as s:
        return s.recv(100)


def speak_and_read_nothing(socks, data, seconds):
    """Each sends as much of data, again and again, as is taken; returns octets sent."""
    sent = dict.fromkeys(socks, 0)
    end = time.time() + seconds
    while time.time() < end:
        _, ready, _ = select.select([], list(sent), [], 0.5)
        if not ready:
            break
        for s in ready:
            try:
                sent[s] += s.send(data[sent[s] % len(data):][:65536])
            except BlockingIOError:
                pass
            except OSError:
                sent.pop(s)  # that is the relay's good right
    return sum(sent.values())


@test("bad case: peers that read no replies do not take the memory of frames")
def reads_nothing(work):
    group = b"MAIL FROM:<a@client.example.net>\r\n" + b"RCPT TO:<alice@example.org>\r\n" * 990 + b"RSET\r\n"
    with Bed(work, sink=False) as bed, contextlib.ExitStack() as stack:
        socks = []
        for _ in range(50):  # as many as one address may have
            with proc.inside(bed.ns):
                s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.bind((bed.stranger, 0))
            s.settimeout(10)
            s.connect((bed.relay, config.SERVICES["smtp"]))
            socks.append(s)
        for s in socks:
            expect(s.recv(100).startswith(b"220 "), "greeting")
            s.sendall(b"EHLO client.example.net\r\n")
            expect(s.recv(1000).startswith(b"250-"), "EHLO")
            s.setblocking(False)
        sent = speak_and_read_nothing(socks, group, 8)
        expect(sent > 5_000_000, f"only {sent} octets were sent")
        for _ in range(3):
            expect(greeting(bed, bed.client).startswith(b"220 "), "nobody else is greeted")
        client = smtp.connect(bed)
        client.hello()
        text = mail.make("a@client.example.net", bed.user1, "all the same", 2000)
        equal(client.message("a@client.example.net", [bed.user1], text)[0], 250, "a message")
        mailbox.wait_messages(bed, 1)
