# SPDX-License-Identifier: BSD-3-Clause
"""Where servers are compared: two namespaces joined by a wire, a control group for the processes of
the server under test, and bypost-bench at both ends of it.

    LOAD: source 198.18.0.1, sink .10 (plain) and .11 (TLS)  up0 ---- server0  SERVER: 198.18.0.2"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from bed import build, certs, net, proc
from bed.proc import Failure

SOURCE_IP, SERVER_IP = "198.18.0.1", "198.18.0.2"
SINK_IP, TLS_SINK_IP = "198.18.0.10", "198.18.0.11"
BENCH = "bench/bypost-bench"
STORE_BENCH = "bench/bench_store"
KERNEL, FRAMES, TAP = "kernel", "frames", "tap"  # what is at the server's end of the wire
MTU = 9000  # chosen: docs/benchmark.md says why
SAMPLE_SECONDS = 1.0  # between looks at the server's memory
BUFFERS = ["net.core.somaxconn=4096", "net.ipv4.ip_local_port_range=1024 65535",
           "net.ipv4.tcp_tw_reuse=1"]


def cgroup2():
    with open("/proc/mounts") as f:
        for line in f:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    raise Failure("no control groups (cgroup2): CPU time of a server's processes cannot be counted")


class Group:
    """A control group: what runs in it, what that has used, and its end."""

    def __init__(self, name):
        self.path = os.path.join(cgroup2(), name)
        os.mkdir(self.path)

    def enter(self, command):
        """The command, started in the group."""
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', self.path + "/cgroup.procs", *command]

    def cpu(self):
        """(user, system) microseconds so far, of processes that have ended as well."""
        with open(self.path + "/cpu.stat") as f:
            stat = dict(line.split() for line in f)
        return int(stat["user_usec"]), int(stat["system_usec"])

    def pids(self):
        with contextlib.suppress(OSError):
            with open(self.path + "/cgroup.procs") as f:
                return [int(line) for line in f]
        return []

    def memory(self):
        """(octets of its own, octets mapped from files): proportional set sizes, and hugepages."""
        own = files = 0
        for pid in self.pids():
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{pid}/smaps_rollup") as f:
                    kb = {line.split(":")[0]: int(line.split()[1]) for line in f if "kB" in line}
                files += kb.get("Pss_File", 0)
                own += kb["Pss"] - kb.get("Pss_File", 0) + kb.get("Private_Hugetlb", 0) + \
                    kb.get("Shared_Hugetlb", 0)
        return own * 1024, files * 1024

    def end(self):
        """Nothing of the group runs any more."""
        for _ in range(100):
            if not self.pids():
                break
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def remove(self):
        self.end()
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


class Sampler:
    """The most memory a group had while this is entered."""

    def __init__(self, group):
        self.group, self.own, self.files = group, 0, 0
        self.stop = threading.Event()

    def look(self):
        own, files = self.group.memory()
        if own > self.own:
            self.own, self.files = own, files

    def run(self):
        while not self.stop.wait(SAMPLE_SECONDS):
            self.look()

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.look()


class Sink:
    """bypost-bench sink; its count over time is kept."""

    PROGRESS = re.compile(r"s +(\d+) messages")

    def __init__(self, field, tls=False, namespace=None, at=None):
        self.field = field
        self.ledger = field.path("sink.ledger")
        self.address = at or (TLS_SINK_IP if tls else SINK_IP)
        self.namespace = namespace or field.load_ns
        options = ["--starttls", "--cert", field.cert, "--key", field.key] if tls else []
        self.process = subprocess.Popen(
            field.inside(self.namespace,
                         [field.program(BENCH), "sink", "-c", "--json", "--ledger", self.ledger,
                          *options, f"{self.address}:25", "4096"]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True)
        self.seen = [(time.monotonic(), 0)]  # (when, messages so far)
        self.errors = []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        self.result = None

    def wait(self):
        self.field.wait_port(self.address, 25, self.namespace, self.alive)

    def alive(self):
        if self.process.poll() is not None:
            raise Failure("the sink ended: " + "".join(self.errors[-5:]))

    def read(self):
        for line in self.process.stderr:
            m = self.PROGRESS.search(line)
            if m:
                self.seen.append((time.monotonic(), int(m.group(1))))
            else:
                self.errors.append(line)

    def count(self):
        return self.seen[-1][1]

    def at(self, when):
        """Messages so far at a moment, between two looks in proportion."""
        before = (self.seen[0][0], 0)
        for t, n in self.seen:
            if t >= when:
                if t == before[0]:
                    return n
                return before[1] + (n - before[1]) * (when - before[0]) / (t - before[0])
            before = (t, n)
        return before[1]

    def end(self):
        if self.result is not None:
            return self.result
        if self.process.poll() is None:
            self.process.terminate()
        try:
            out = self.process.stdout.read()
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            out = ""
        self.thread.join(5)
        lines = [line for line in out.splitlines() if line.startswith("{")]
        self.result = json.loads(lines[-1]) if lines else {}
        return self.result


class Field:
    """Namespaces, wire, certificate and folder of a comparison; all gone when it is left."""

    def __init__(self, binaries, disk, mtu=MTU):
        self.binaries, self.mtu = binaries, mtu
        self.dir = tempfile.mkdtemp(prefix="bypost-compare-", dir=disk)
        os.chmod(self.dir, 0o755)
        self.name = "bypost-" + os.urandom(3).hex()
        self.load_ns, self.server_ns = self.name + "-l", self.name + "-s"
        self.sink_ip = SERVER_IP  # where bed.mailservers expects a server that it has started
        self.processes, self.sinks = {}, []
        self.group = None
        self.wired = None

    # ---- life ----

    def __enter__(self):
        try:
            with proc.uninterrupted():
                for namespace in (self.load_ns, self.server_ns):
                    net.add_namespace(namespace)
                    net.ip(namespace, "link", "set", "lo", "mtu", "65536")
                    for setting in BUFFERS:
                        proc.run(["ip", "netns", "exec", namespace, "sysctl", "-qw", setting],
                                 check=False)
                net.veth(self.load_ns, "up0", self.server_ns, "server0")
                for namespace, name in ((self.load_ns, "up0"), (self.server_ns, "server0")):
                    net.ip(namespace, "link", "set", name, "mtu", str(self.mtu))
                net.address(self.load_ns, "up0", SOURCE_IP + "/24")
                net.address(self.load_ns, "lo", SINK_IP + "/32", TLS_SINK_IP + "/32")
            self.cert, self.key = certs.Issuer(self.path("issuer")).issue("mail.example.org")
            os.chmod(self.key, 0o644)  # of the run alone: servers read it as different users
            self.wire(KERNEL)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with proc.uninterrupted():
            self.end_server()
            for sink in self.sinks:
                sink.end()
            for namespace in (self.load_ns, self.server_ns):
                net.remove_namespace(namespace)
            shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def program(self, name):
        return build.program(self.binaries, name)

    # ---- the wire ----

    def wire(self, kind):
        """KERNEL: the server's end has an address of the kernel, with all offloads of a veth, which is
        what the kernel's servers get.  FRAMES: nothing of both, for a stack that takes frames from it.
        TAP: the server makes an interface where the load is, and the veth has no addresses."""
        if self.wired == kind:
            return
        state = "on" if kind == KERNEL else "off"
        for namespace, name, address in ((self.load_ns, "up0", SOURCE_IP), (self.server_ns, "server0", SERVER_IP)):
            proc.run(["ip", "netns", "exec", namespace, "ethtool", "-K", name, "tx", state, "rx",
                      state, "sg", state, "tso", state, "gso", state, "gro", state], check=False)
            net.ip(namespace, "addr", "flush", "dev", name)
            if kind == KERNEL or (kind == FRAMES and name == "up0"):
                net.address(namespace, name, address + "/24")
        net.ip(self.server_ns, "link", "set", "server0", "arp", "on" if kind == KERNEL else "off")
        net.ip(self.load_ns, "neigh", "flush", "dev", "up0", check=False)
        self.wired = kind

    def tap(self, name, alive):
        """The load's end of a tap that the server has made."""
        def there():
            alive()
            return net.ip(self.load_ns, "link", "show", name, check=False).returncode == 0
        proc.wait_for(f"interface {name}", there, 30)
        net.address(self.load_ns, name, SOURCE_IP + "/24")
        net.ip(self.load_ns, "link", "set", name, "up")

    def inside(self, namespace, command):
        return ["ip", "netns", "exec", namespace, *command]

    def wait_port(self, address, port, namespace, alive):
        def connects():
            alive()
            with contextlib.suppress(OSError):
                with proc.inside(namespace):
                    with socket.create_connection((address, port), timeout=2) as s:
                        s.settimeout(5)
                        return bool(s.recv(4))
        proc.wait_for(f"a greeting from {address}:{port}", connects, 30)

    # ---- the server under test; what bed.mailservers wants of a bed ----

    def start_process(self, name, args):
        self.end_server()
        with proc.uninterrupted():
            self.group = Group(f"{self.name}-{name}")
            where = self.load_ns if self.wired == TAP else self.server_ns
            record = proc.start(self.group.enter(self.inside(where, args)), self.path(name + ".log"))
            self.processes[name] = record
        return record

    def lives(self, name, process):
        """Says so when it does not."""
        if not proc.alive(self.processes[process]):
            raise Failure(f"{name} did not start:\n{proc.tail(self.path(process + '.log'))}")

    def wait_listening(self, name, address, port, process):
        self.wait_port(address, port, self.load_ns, lambda: self.lives(name, process))

    def enter(self, *command, **kwargs):
        """Run a command where the server sees its files."""
        record = next(iter(self.processes.values()))
        return proc.run(["nsenter", "-t", str(record["pid"]), "-m", "-n", *command], check=False,
                        **kwargs)

    def spawn(self, *command):
        """The same, as one of the server's processes, without waiting for its end."""
        record = next(iter(self.processes.values()))
        proc.start(self.group.enter(["nsenter", "-t", str(record["pid"]), "-m", "-n", *command]),
                   self.path("spawned.log"))

    def end_server(self, seconds=5):
        for record in self.processes.values():
            proc.stop(record, seconds)
        self.processes.clear()
        if self.group:
            self.group.remove()
            self.group = None

    def run_script(self, command, seconds):
        """Status and output of a script that starts things of its own, which it ends when it is told
        to, as it is when we are."""
        with proc.uninterrupted():
            record = proc.start(self.inside(self.server_ns, command), self.path("script.log"))
        try:
            if not proc.wait_end(record, seconds):
                raise Failure(f"no end after {seconds} s: {' '.join(command)}")
        finally:
            with proc.uninterrupted():
                proc.stop(record, 30)
        with open(self.path("script.log")) as f:
            return proc.exit_status(record), f.read()

    # ---- load ----

    def source(self, args, to, seconds, namespace=None):
        done = proc.run(self.inside(namespace or self.load_ns, [
            self.program(BENCH), "source", "--json", "--ledger", self.path("source.ledger"), *args,
            to]), check=False, timeout=seconds + 60)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            raise Failure(f"the source ended with {done.returncode}:\n{done.stdout[-1500:]}")
        return json.loads(lines[-1])

    def open_sink(self, **kwargs):
        with proc.uninterrupted():
            for sink in self.sinks:  # of a measurement that failed
                sink.end()
            self.sinks = [Sink(self, **kwargs)]
        self.sinks[0].wait()
        return self.sinks[0]

    def match(self):
        done = proc.run([self.program(BENCH), "match", self.path("source.ledger"),
                         self.path("sink.ledger")], check=False)
        return json.loads(done.stdout)
