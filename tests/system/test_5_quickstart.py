# SPDX-License-Identifier: BSD-3-Clause
"""The entry scripts: what they leave behind, and the bed for other people's clients."""

import glob
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

from bed import bed as beds
from bed import build, mail, mailbox, proc, smtp
from bed.harness import equal, expect, test

QUICKSTART = os.path.join(proc.ROOT, "quickstart")


def traces():
    """Namespaces, DPDK run directories and processes of any bed on this machine."""
    names = set(os.listdir("/var/run/netns")) if os.path.isdir("/var/run/netns") else set()
    found = {f"namespace {n}" for n in names if n.startswith("bypost-")}
    found |= {f"run directory {d}" for d in glob.glob("/var/run/dpdk/bypost-*")}
    found |= {f"interface {n}" for n in os.listdir("/sys/class/net") if n in ("dtap", "relay0", "bed0")}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and proc.start_ticks(int(entry)):
            try:
                exe = os.readlink(f"/proc/{entry}/exe")
            except OSError:
                continue
            if os.path.basename(exe) in ("bypostd", "smtp-sink", "nsd") and proc.ROOT in exe:
                found.add(f"process {entry} {exe}")
    return found


def hugepages():
    with open("/proc/sys/vm/nr_hugepages") as f:
        return f.read()


def quickstart(*args, **kwargs):
    return proc.run([QUICKSTART, *args], timeout=100, **kwargs)


def read_env(folder):
    with open(os.path.join(folder, "bed.env")) as f:
        return dict((k, shlex.split(v)[0] if v.strip() else "") for k, _, v in
                    (line.rstrip("\n").partition("=") for line in f))


def build_default():
    """quickstart builds in build/; that is not what these tests are about."""
    build.configure(build.BUILD)
    build.ninja(build.BUILD, [build.DAEMON, build.CTL])


@test("quickstart: four parts, exit 0, nothing left", seconds=400)
def four_parts(work):
    before, pages = traces(), hugepages()
    build_default()
    began = time.monotonic()
    text = quickstart().stdout
    print(text)
    expect("All 5 parts worked" in text, text)
    equal(traces() - before, set(), "left behind")
    equal(hugepages(), pages, "hugepages")
    expect(time.monotonic() - began < 60, "a run of what is built takes seconds")


@test("quickstart on one CPU, layout split", seconds=400)
def one_cpu(work):
    before = traces()
    build_default()
    cpu = str(min(os.sched_getaffinity(0)))
    text = proc.run(["taskset", "-c", cpu, QUICKSTART, "--layout", "split"], timeout=120).stdout
    expect("All 5 parts worked" in text, text)
    equal(traces() - before, set(), "left behind")


@test("quickstart: Ctrl-C and SIGTERM at any moment leave nothing", seconds=400)
def interrupted(work):
    before = traces()
    build_default()
    for signo, delay in ((signal.SIGINT, 0.4), (signal.SIGINT, 1.5), (signal.SIGTERM, 2.5),
                         (signal.SIGINT, 3.5)):
        p = subprocess.Popen([QUICKSTART], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, start_new_session=True)
        time.sleep(delay)
        os.killpg(p.pid, signo)
        text, _ = p.communicate(timeout=60)
        expect(p.returncode != 0 or "All 5 parts" in text, f"status {p.returncode}: {text}")
        equal(traces() - before, set(), f"left behind after {signal.Signals(signo).name}: {text}")


def use(env, subject):
    """One message through a bed, by what bed.env says alone."""
    data = mail.make(env["BED_USER1"], env["BED_USER2"], subject, 5000)
    folder = os.path.dirname(env["BED_CONFIG"])
    with open(os.path.join(folder, "m.eml"), "wb") as f:
        f.write(data)
    inside = ["ip", "netns", "exec", env["BED_NS"], "curl", "-sS", "--max-time", "30"]
    proc.run([*inside, f"smtp://{env['BED_RELAY_IP4']}:{env['BED_SMTP_PORT']}", "--interface",
              env["BED_CLIENT_IP4"], "--mail-from", env["BED_USER1"], "--mail-rcpt",
              env["BED_USER2"], "--mail-rcpt", "x@sub." + env["BED_REMOTE_DOMAIN"], "-T",
              os.path.join(folder, "m.eml")])
    listing = proc.run([*inside, "-u", f"{env['BED_USER2']}:{env['BED_PASS2']}",
                        f"pop3://{env['BED_RELAY_IP4']}:{env['BED_POP3_PORT']}/"]).stdout
    return data, len(listing.split("\n")) - 1


KEYS = {"BED_NS", "BED_IF", "BED_RELAY_IP4", "BED_CLIENT_IP4", "BED_STRANGER_IP4", "BED_SMTP_PORT",
        "BED_POP3_PORT", "BED_IMAP_PORT", "BED_HOSTNAME", "BED_LOCAL_DOMAIN", "BED_USER1",
        "BED_PASS1", "BED_USER2", "BED_PASS2", "BED_REMOTE_DOMAIN", "BED_DEAD_DOMAIN", "BED_SINK_IP4",
        "BED_SINK_PORT", "BED_SINK_DIR", "BED_CONFIG", "BED_CTL", "BED_PID", "BED_STORE",
        "BED_RELAY_IP6", "BED_CLIENT_IP6", "BED_REMOTE6_DOMAIN", "BED_SINK_IP6", "BED_SINK6_DIR"}


@test("two beds stay side by side, restart, and stop without a trace", seconds=400)
def two_beds(work):
    before = traces()
    build_default()
    folders = [work + "/first", work + "/second"]
    quickstart("--stay", "--bed", folders[0])
    quickstart("--stay", "--bed", folders[1], "--port", "af_packet", "--layout", "split")
    try:
        envs = [read_env(f) for f in folders]
        for env in envs:
            equal(set(env), KEYS, "keys of bed.env")
            data, n = use(env, "one")
            equal(n, 1, "messages in the mailbox")
            proc.wait_for("relayed mail", lambda: os.listdir(env["BED_SINK_DIR"]), 20)
            dump = mail.Dump(os.path.join(env["BED_SINK_DIR"], os.listdir(env["BED_SINK_DIR"])[0]))
            equal(mail.same(data, dump.data), None, "relayed")
            expect("running for" in proc.run([*env["BED_CTL"].split(), "status"]).stdout, "status")
        again = quickstart("--stay", "--bed", folders[0], check=False)
        expect(again.returncode != 0 and "--stop" in again.stdout, again.stdout)
        restart(folders[0], envs[0])
        quickstart("--stop", "--bed", folders[0])
        equal(use(envs[1], "two")[1], 2, "the other bed goes on")
    finally:
        for f in folders:
            if os.path.exists(os.path.join(f, beds.STATE)):
                quickstart("--stop", "--bed", f)
    equal(traces() - before, set(), "left behind")
    stopped = quickstart("--stop", "--bed", folders[0], check=False)
    expect(stopped.returncode != 0 and "no bed" in stopped.stdout, stopped.stdout)


def restart(folder, env):
    """The store is kept and an edited configuration is taken."""
    with open(env["BED_CONFIG"]) as f:
        text = f.read()
    with open(env["BED_CONFIG"], "w") as f:
        f.write(text.replace("mail.example.org", "renamed.example.org"))
    quickstart("--restart", "--bed", folder)
    after = read_env(folder)
    expect(after["BED_PID"] != env["BED_PID"], "a new process")
    bed = beds.Bed.load(folder)
    client = smtp.connect(bed)
    expect("renamed.example.org" in client.banner[1], f"banner {client.banner}")
    client.close()
    equal(len(mailbox.messages(bed, 2)), 1, "mail kept over a restart")


@test("a bed without a sink, and a strange folder name", seconds=400)
def no_sink(work):
    build_default()
    folder = work + "/a b%d"
    quickstart("--stay", "--bed", folder, "--no-sink")
    try:
        env = read_env(folder)
        status = proc.run(["ip", "netns", "exec", env["BED_NS"], "curl", "-sS", "--max-time", "5",
                           f"smtp://{env['BED_SINK_IP4']}"], check=False)
        equal(status.returncode, 7, "nobody listens at the sink's address")
    finally:
        quickstart("--stop", "--bed", folder)


@test("quickstart says what is missing without root")
def without_root(work):
    # Where anybody can reach it, which need not be so of the clone.
    folder = tempfile.mkdtemp()
    try:
        os.chmod(folder, 0o755)
        for name in ("quickstart", "tests/bed/prepare.sh", "tests/bed/packages"):
            os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
            shutil.copy(os.path.join(proc.ROOT, name), os.path.join(folder, name))
        done = proc.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                         os.path.join(folder, "quickstart")], check=False)
    finally:
        shutil.rmtree(folder)
    expect(done.returncode == 1 and "sudo ./quickstart" in done.stdout, done.stdout)
