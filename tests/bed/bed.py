# SPDX-License-Identifier: BSD-3-Clause
"""A bed: bypostd on a DPDK port in a network namespace, with DNS, a receiving mail server and
addresses for clients.  Everything that was started is written down in DIR/state.json at once, so that
any later process can end exactly that."""

import contextlib
import glob
import json
import os
import shutil
import socket

from bed import build, config, dns, net, peers, proc
from bed.proc import Failure

FIXED = {
    "relay": "198.18.0.2", "client": "198.18.0.1", "stranger": "198.18.9.1",
    "sink_ip": "198.18.0.10", "dead_ip": "198.18.0.11", "reject_ip": "198.18.0.12",
    "relay6": "2001:2:0:1::2", "client6": "2001:2:0:1::1", "sink6_ip": "2001:2:0:10::10",
    "dead6_ip": "2001:2:0:10::11",
    "routed_ip": "198.18.20.2", "router_ip": "198.18.20.1", "routed_net": "198.18.20.0/24",
    "hostname": "mail.example.org", "local_domain": "example.org",
    "remote_domain": "remote.example.net", "remote6_domain": "six.example.net", "dead_domain": "dead.example.net",
    "user1": "alice@example.org", "pass1": "alice-7Qm2", "user2": "bob@example.org",
    "pass2": "bob-4Xr9",
}
STATE = "state.json"
PORTS = ("tap", "af_packet", "af_xdp")
LAYOUTS = ("one", "split")


class Bed:
    """One bed.  Build it with Bed(DIR, ...) and start(), or find a running one with Bed.load(DIR)."""

    def __init__(self, folder, port="tap", layout="one", sink=True, changes=None, binaries=None,
                 daemon_args=(), users=True, store_megabytes=0):
        self.dir = os.path.abspath(folder)
        self.port, self.layout, self.sink = port, layout, sink
        self.changes = changes or {}
        self.binaries = binaries or os.environ.get("BYPOST_BUILD") or build.BUILD
        self.daemon_args = list(daemon_args)
        self.users = users
        self.store_megabytes = store_megabytes
        self.name = "bypost-" + os.urandom(3).hex()
        self.namespaces, self.processes, self.mounts = [], {}, []
        self.finish_init()

    def finish_init(self):
        for key, value in FIXED.items():
            setattr(self, key, value)
        self.ns = self.name
        self.relay_ns = self.ns if self.port == "tap" else self.name + "-r"
        self.interface = "dtap" if self.port == "tap" else "bed0"
        self.device = "dtap" if self.port == "tap" else "relay0"
        self.dns_ip = "198.18.0.53" if self.port == "tap" else "198.19.0.1"
        self.resolver_client_ip = "198.19.0.2"
        # A Unix socket's path has 107 octets at most.
        self.socket = self.path("admin.sock")
        if len(os.fsencode(self.socket)) > 107:
            self.socket = f"/run/{self.name}.sock"

    # ---- what is written down ----

    KEPT = ("dir", "port", "layout", "sink", "changes", "binaries", "daemon_args", "users",
            "store_megabytes", "name", "namespaces", "processes", "mounts")

    def save(self):
        state = {key: getattr(self, key) for key in self.KEPT}
        with open(self.path(STATE + ".new"), "w") as f:
            json.dump(state, f, indent=1)
        os.replace(self.path(STATE + ".new"), self.path(STATE))

    @classmethod
    def load(cls, folder):
        path = os.path.join(os.path.abspath(folder), STATE)
        try:
            with open(path) as f:
                state = json.load(f)
        except OSError:
            raise Failure(f"no bed in {folder}: {path} is missing")
        bed = cls.__new__(cls)
        bed.__dict__.update(state)
        bed.finish_init()
        return bed

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    # ---- life ----

    def start(self):
        """Everything up and answering, or a Failure with nothing left behind."""
        if os.path.exists(self.path(STATE)):
            raise Failure(f"{self.dir} holds a bed already: stop it first (--stop --bed {self.dir})")
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o755)
        self.save()
        try:
            self.namespaces = [self.ns] if self.port == "tap" else [self.ns, self.relay_ns]
            self.save()
            if self.store_megabytes:
                self.mount_tmpfs(self.store_megabytes, "store")
            net.build(self)
            self.start_dns()
            if self.sink:
                self.start_sink("sink", self.sink_ip)
                self.start_sink("sink6", self.sink6_ip)
            self.write_config()
            self.start_daemon()
            if self.users:
                self.add_user(self.user1, self.pass1)
                self.add_user(self.user2, self.pass2)
            self.write_env()
        except BaseException:
            self.stop()
            raise
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        """End exactly what was started; the folder's logs, store and mail stay."""
        with proc.uninterrupted():
            self.tear_down()

    def tear_down(self):
        self.stop_daemon()
        for name in list(self.processes):
            self.stop_process(name)
        for mount in self.mounts:
            proc.run(["umount", "-l", mount], check=False)
        for namespace in self.namespaces:
            net.remove_namespace(namespace)
        proc.remove_tree(f"/var/run/dpdk/{self.name}")
        self.namespaces, self.mounts = [], []
        for path in (self.path(STATE), self.path(STATE + ".new"), self.path("bed.env"), self.socket):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def add_namespace(self, suffix):
        namespace = f"{self.name}-{suffix}"
        self.namespaces.append(namespace)
        self.save()
        net.add_namespace(namespace)
        return namespace

    def mount_tmpfs(self, megabytes, name):
        """A small disk in the bed's folder."""
        folder = self.path(name)
        os.makedirs(folder, exist_ok=True)
        self.mounts.append(folder)
        self.save()
        proc.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "bypost", folder])
        return folder

    # ---- processes ----

    def start_process(self, name, args, namespace=None, env=None, cwd=None):
        command = ["ip", "netns", "exec", namespace or self.ns, *args]
        with proc.uninterrupted():
            record = proc.start(command, self.path(name + ".log"), env=env, cwd=cwd)
            record["name"] = os.path.basename(args[0])
            self.processes[name] = record
            self.save()
        return record

    def stop_process(self, name, seconds=10):
        record = self.processes.get(name)
        if record:
            proc.stop(record, seconds)
            self.processes.pop(name)
            with contextlib.suppress(OSError):
                self.save()

    def start_dns(self):
        self.start_process("nsd", dns.write(self), env=peers.environment())
        self.wait_listening("the DNS server", self.dns_ip, 53, "nsd")

    def start_sink(self, name, address, options=()):
        """smtp-sink on address:25; each message becomes a file in DIR/<name>."""
        os.makedirs(self.path(name), exist_ok=True)
        shutil.chown(self.path(name), "nobody")
        self.start_process(name, [peers.path("smtp-sink"), "-u", "nobody", *options, "-d", name + "/%Y%m%d%H%M%S",
                                  "-h", f"mx.{name}.example.net", *(["-6", f"[{address}]:25"] if ":" in address else [f"{address}:25"]), "1024"],
                           env=peers.environment(), cwd=self.dir)
        self.wait_listening("the receiving mail server", address, 25, name)

    def wait_listening(self, what, address, port, process):
        record = self.processes[process]

        def connects():
            if not proc.alive(record):
                raise Failure(f"{what} did not start:\n{proc.tail(self.path(process + '.log'))}")
            with contextlib.suppress(OSError):
                self.connect(address, port, timeout=2).close()
                return True
        proc.wait_for(f"{what} on {address}:{port}", connects, 15)

    def connect(self, address, port, source=None, timeout=10, namespace=None):
        """A kernel TCP connection from the clients' namespace."""
        with proc.inside(namespace or self.ns):
            return socket.create_connection(
                (address, port), timeout=timeout, source_address=(source, 0) if source else None)

    # ---- bypostd ----

    def write_config(self):
        text = config.dump(config.merge(config.make(self), self.changes))
        with open(self.path("bypost.yaml"), "w") as f:
            f.write("# Made for this bed; edit it and run quickstart --restart.\n" + text)

    @property
    def config(self):
        return self.path("bypost.yaml")

    @property
    def daemon(self):
        return self.processes.get("bypostd")

    def fails_or(self, condition):
        """condition(), but a Failure with the log's end if bypostd has gone."""
        if self.daemon and not proc.alive(self.daemon):
            status = proc.exit_status(self.daemon)
            raise Failure(f"bypostd ended with status {status}:\n"
                          + proc.tail(self.path("bypostd.log")))
        return condition()

    def daemon_command(self):
        return [build.program(self.binaries, build.DAEMON), "--config", self.config,
                *self.daemon_args]

    def start_daemon(self, wait=True):
        self.start_process("bypostd", self.daemon_command(), namespace=self.relay_ns)
        if self.port == "tap":
            net.attach(self)
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds=20):
        """Until the relay greets over its own TCP stack."""
        def greets():
            with contextlib.suppress(OSError):
                with self.connect(self.relay, config.SERVICES["smtp"], timeout=1) as s:
                    s.settimeout(2)
                    return s.recv(4) == b"220 "
        proc.wait_for("the relay's greeting", lambda: self.fails_or(greets), seconds)

    def stop_daemon(self, seconds=20):
        """SIGTERM; returns the exit status when it is our child (None otherwise)."""
        record = self.daemon
        if not record:
            return None
        proc.stop(record, seconds)
        status = proc.exit_status(record)
        self.forget_daemon()
        return status

    def kill_daemon(self, signo=9):
        record = self.daemon
        proc.send(record, signo)
        proc.wait_end(record, 10)
        self.forget_daemon()

    def forget_daemon(self):
        self.processes.pop("bypostd", None)
        with contextlib.suppress(OSError):
            self.save()
        proc.remove_tree(f"/var/run/dpdk/{self.name}")

    def restart(self):
        self.stop_daemon()
        self.start_daemon()
        self.write_env()

    # ---- operators ----

    @property
    def ctl_command(self):
        return [build.program(self.binaries, build.CTL), "--socket", self.socket]

    def ctl(self, *args, check=True, **kwargs):
        return proc.run([*self.ctl_command, *args], check=check, **kwargs)

    def ctl_json(self, *args):
        """The answer's lines, one object each."""
        return [json.loads(line) for line in self.ctl(*args, "--json").stdout.splitlines()]

    def queue(self):
        """Entries of the queue, as bypostctl tells them."""
        return self.ctl_json("queue", "list", "--limit", "1000000")

    def add_user(self, address, password):
        self.ctl("user", "add", address, input=password + "\n")

    # ---- for scripts ----

    def env(self):
        pid = self.daemon["pid"] if self.daemon else ""
        return {
            "BED_NS": self.ns, "BED_IF": self.interface, "BED_RELAY_IP4": self.relay,
            "BED_RELAY_IP6": self.relay6, "BED_CLIENT_IP6": self.client6,
            "BED_CLIENT_IP4": self.client, "BED_STRANGER_IP4": self.stranger,
            **{f"BED_{k.upper()}_PORT": v for k, v in config.SERVICES.items()},
            "BED_HOSTNAME": self.hostname, "BED_LOCAL_DOMAIN": self.local_domain,
            "BED_USER1": self.user1, "BED_PASS1": self.pass1,
            "BED_USER2": self.user2, "BED_PASS2": self.pass2,
            "BED_REMOTE_DOMAIN": self.remote_domain, "BED_DEAD_DOMAIN": self.dead_domain,
            "BED_REMOTE6_DOMAIN": self.remote6_domain, "BED_SINK_IP6": self.sink6_ip,
            "BED_SINK6_DIR": self.path("sink6"), "BED_SINK_IP4": self.sink_ip, "BED_SINK_PORT": 25, "BED_SINK_DIR": self.path("sink"),
            "BED_CONFIG": self.config, "BED_CTL": " ".join(self.ctl_command), "BED_PID": pid,
            "BED_STORE": self.path("store"),
        }

    def write_env(self):
        import shlex
        with open(self.path("bed.env.new"), "w") as f:
            for key, value in self.env().items():
                f.write(f"{key}={shlex.quote(str(value))}\n")
        os.replace(self.path("bed.env.new"), self.path("bed.env"))

    def sink_files(self, name="sink"):
        """Messages that have arrived whole: not those the server still has open for writing."""
        files = {path: os.stat(path) for path in glob.glob(self.path(name, "*"))}
        record = self.processes.get(name)
        being_written = proc.open_files(record["pid"]) if record else set()
        return sorted(path for path, status in files.items()
                      if (status.st_dev, status.st_ino) not in being_written)

    def remove(self):
        """Stop and delete the folder."""
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


