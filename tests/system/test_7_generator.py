# SPDX-License-Identifier: BSD-3-Clause
"""bypost-bench: what it sends and from where, how its sink fails, its reader of mailboxes, its engines."""

import contextlib
import json
import os
import poplib

from bed import build, config, mailbox, net, proc
from bed.bed import Bed
from bed.harness import equal, expect, need_af_xdp, test
from system.test_6_tls import SUBMISSIONS, TlsBed, make_certificate
from system.test_7_bench import FAULTS, Bench, delivered, listens

HELD = 3000  # sessions; an address has 2,048 ports for a target
ONE, OTHER = "2001:2::1", "2001:2::2"

MAILS = {
    "a.eml": b"From: <a@example.org>\nSubject: dots\n\n.\n..\n.x\nend\n",
    "b.eml": b"From: <b@example.org>\r\nSubject: octets\r\nMIME-Version: 1.0\r\n"
             b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
             + "\u00e4\u00f6\u00fc\r\n".encode() * 30,
    "c.eml": b"From: <c@example.org>\nSubject: large\n\n" + b"0123456789abcdef\n" * 20000,
}


def corpus(folder):
    os.makedirs(folder, exist_ok=True)
    for name, octets in MAILS.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(octets)
    return folder


class Alone:
    """A source and a sink in a namespace of their own, on lo."""

    def __init__(self, work):
        self.work, self.n = work, 0
        self.namespace = "bypost-" + os.urandom(3).hex()

    def __enter__(self):
        net.add_namespace(self.namespace)
        net.sysctl(self.namespace, {"ipv6/conf/lo/disable_ipv6": 0})
        net.address(self.namespace, "lo", ONE + "/128", OTHER + "/128")
        return self

    def __exit__(self, *_):
        net.remove_namespace(self.namespace)

    def pair(self, source_args, sink_args=(), check=True, at="127.0.0.1:25"):
        """What source and sink say, what match found, and its status."""
        with self.sink(*sink_args, at=at) as bench:
            sent = bench.sent(at, *source_args, check=check)
        status, found = bench.match()
        print(source_args, sink_args, sent["refusals"], bench.got["failures"], found)
        return sent, bench.got, found, status

    @contextlib.contextmanager
    def sink(self, *args, at="127.0.0.1:25"):
        """A sink that listens; when left, what it says is .got."""
        self.n += 1
        bench = Bench(f"{self.work}/{self.n}", self.namespace)
        bench.start_sink(at, *args)

        def listening():
            done = proc.run(["ip", "netns", "exec", self.namespace, "ss", "-Hltn", "sport", "25"])
            return done.stdout.strip() != ""
        proc.wait_for("the sink", listening, 15)
        try:
            yield bench
        finally:
            bench.got = bench.stop_sink()


@test("bypost-bench: a folder of mail, through the relay, by DATA and by BDAT", seconds=180)
def folder(work):
    mails = corpus(work + "/mails")
    for bdat in ("never", "large", "always"):
        with Bed(f"{work}/{bdat}", sink=False, users=False) as bed:
            bench = Bench(f"{work}/{bdat}-bench", bed.ns)
            bench.start_sink(f"{bed.sink_ip}:25", listening=listens(bed, bed.sink_ip))
            sent = bench.sent(f"{bed.relay}:25", "--corpus", mails, "-m", "60", "-s", "3", "-d", "--bdat",
                              bdat, "-t", f"to@{bed.remote_domain}")
            delivered(bed, 60)
            got = bench.stop_sink()
            status, found = bench.match()
        print(bdat, sent["octets"], got, found)
        equal((sent["accepted"], found["received"], status), (60, 60, 0), f"BDAT {bdat}")
        expect(sent["octets"] > 20 * 17 * 20000, "the large one was not sent")


@test("bypost-bench: own addresses in turn, and sessions held open", seconds=120)
def own_addresses(work):
    with Alone(work) as alone:
        bench = Bench(work + "/b", alone.namespace)
        bench.start_sink("127.0.0.1:25", "-m", "1000")
        source = proc.start(bench.command(
            "source", "--json", "-s", "300", "--hold", "4", "--source-ip", "127.0.0.2-127.0.0.6",
            "127.0.0.1:25"), work + "/source.out")

        def peers():
            text = proc.run(["ip", "netns", "exec", alone.namespace, "ss", "-Htn", "state",
                             "established", "dport", "25"]).stdout
            from_ = [line.split()[2].rpartition(":")[0] for line in text.splitlines()]
            counts = {a: from_.count(a) for a in set(from_)}
            return counts if len(from_) == 300 else None
        equal(proc.wait_for("300 sessions", peers, 20), {f"127.0.0.{i}": 60 for i in range(2, 7)},
              "sessions from each address")
        proc.wait_end(source, 40)
        bench.stop_sink()
        with open(work + "/source.out") as f:
            said = json.loads(next(line for line in f if line.startswith("{")))
        equal((said["held"], said["begun"]), (300, 0), "sessions held, messages")
        expect(said["session_octets"] > 0 and said["rss_octets"] > 0, "no figure of memory")


@test("bypost-bench: a sink fails as it is told, command by command", seconds=240)
def failing(work):
    load = ("-m", "200", "-s", "4", "-d")
    with Alone(work) as alone:
        for flags, stage in ((["-r", "mail"], "mail_4xx"), (["-f", "rcpt"], "rcpt_5xx"),
                             (["-Q", "data"], "data_4xx"), (["-r", "."], "end_4xx"),
                             (["-q", "mail"], "mail_lost")):
            sent, got, found, status = alone.pair(["-m", "20", "-s", "2", "-d"], flags, check=False)
            equal(sent["accepted"], 0, f"{flags}: accepted")
            expect(sent["refusals"].get(stage, 0) > 0, f"{flags}: {sent['refusals']}")
            equal([found[f] for f in FAULTS], [0, 0, 0, 0], f"{flags}: faults")
        sent, got, found, status = alone.pair(load, ["--fail", "end:421:5", "--fail", "rcpt:drop:5"])
        expect(got["failures"]["end_421"] > 0 and got["failures"]["rcpt_drop"] > 0, f"{got}")
        equal(status, 0, "status")
        sent, got, found, status = alone.pair(["-m", "20", "-s", "1", "-d"], ["-W", "rcpt:0.05:50"])
        # once at least, and some of them more often
        expect(50000 <= sent["accept_us"]["p50"] and sent["accept_us"]["max"] >= 100000, f"{sent['accept_us']}")
        sent, got, found, status = alone.pair(
            ["-m", "2", "-s", "1", "-l", "2000000", "-d"], ["-T", "3000", "-H", "0.5"])
        expect(sent["accept_us"]["p50"] > 500000, f"content was read too early: {sent['accept_us']}")
        equal((sent["accepted"], status), (2, 0), "through a tiny window")


@test("bypost-bench: an open loop says what is late, and counts from when it was meant", seconds=60)
def open_loop(work):
    with Alone(work) as alone:
        sent, *_ = alone.pair(["--rate", "50", "--seconds", "2", "-s", "20", "-d"], ["--delay", "rcpt:100"])
        expect(90 <= sent["accepted"] <= 100 and sent["behind"] < 10, f"at its rate: {sent['behind']}")
        expect(100000 <= sent["accept_us"]["p50"] < 200000, f"{sent['accept_us']}")
        # one session can have ten a second
        sent, *_ = alone.pair(["--rate", "200", "--seconds", "2", "-s", "1", "-d"], ["--delay", "rcpt:100"])
        expect(sent["accepted"] <= 21 and 370 <= sent["behind"] <= 400, f"beyond: {sent['behind']}")
        expect(sent["accept_us"]["p50"] > 700000, f"not from when it was meant: {sent['accept_us']}")


@test("bypost-bench: LMTP, and without pipelining", seconds=60)
def lmtp(work):
    with Alone(work) as alone:
        for source, sink in ((["-L"], ["-L"]), (["--no-pipelining"], [])):
            sent, got, found, status = alone.pair(["-m", "100", "-r", "3", "-d", *source], sink)
            equal((sent["accepted"], found["received"], status), (100, 300, 0), f"{source}")


@test("bypost-bench: AUTH by each mechanism over TLS", seconds=120)
def auth(work):
    with TlsBed(work) as bed:
        bench = Bench(work + "/bench", bed.ns)
        for mechanism in ("plain", "scram-sha-256", "scram-sha-256-plus"):
            sent = bench.sent(f"{bed.relay}:587", "-m", "20", "-s", "2", "-d", "--starttls", "--auth",
                              f"{bed.user1}:{bed.pass1}", "--auth-mechanism", mechanism, "-f",
                              bed.user1, "-t", bed.user2)
            equal((sent["accepted"], sent["refusals"]), (20, {}), mechanism)
        sent = bench.sent(f"{bed.relay}:587", "-m", "2", "--seconds", "3", "--starttls", "--auth",
                          f"{bed.user1}:wrong", "-f", bed.user1, "-t", bed.user2, check=False)
        expect(sent["accepted"] == 0 and sent["refusals"]["auth_5xx"] > 0, f"{sent['refusals']}")


def read(bench, bed, protocol, *args, check=True):
    port = {"pop3": 110, "imap": 143}[protocol]
    done = proc.run(bench.command("reader", "--" + protocol, "--json", "-t", bed.user1, "--password",
                                  bed.pass1, "--ledger", bench.path("sink.ledger"), *args,
                                  f"{bed.relay}:{port}"), check=check, timeout=100)
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


@test("bypost-bench: what was delivered into a mailbox, read by POP3 and by IMAP", seconds=180)
def reader(work):
    with Bed(work + "/bed", sink=False) as bed:
        bench = Bench(work + "/bench", bed.ns)
        bench.sent(f"{bed.relay}:25", "-m", "250", "-s", "5", "-d", "--size",
                   "lognormal:3000,1.5,200000", "-t", bed.user1)
        for protocol in ("pop3", "imap"):
            got = read(bench, bed, protocol)
            status, found = bench.match()
            print(protocol, got, found)
            equal((got["messages"], found["received"], status), (250, 250, 0), protocol)
            expect(got["end_to_end_us"]["n"] == 250, "no times from end to end")
        # one that is taken away is missed
        with proc.inside(bed.ns):
            pop = poplib.POP3(bed.relay, 110, timeout=10)
        pop.user(bed.user1)
        pop.pass_(bed.pass1)
        pop.dele(7)
        pop.quit()
        read(bench, bed, "imap")
        status, found = bench.match()
        equal((found["lost"], status), (1, 1), "a message that is gone")


@test("bypost-bench: a reader that waits for mail", seconds=120)
def watching(work):
    for protocol in ("imap", "pop3"):
        with Bed(f"{work}/{protocol}", sink=False) as bed:
            bench = Bench(f"{work}/{protocol}-bench", bed.ns)
            waiting = proc.start(bench.command(
                "reader", "--" + protocol, "--json", "-t", bed.user1, "--password", bed.pass1, "--expect",
                "100", "--seconds", "60", "--ledger", bench.path("sink.ledger"),
                f"{bed.relay}:{'143' if protocol == 'imap' else '110'}"), bench.path("reader.out"))
            bench.sent(f"{bed.relay}:25", "-m", "100", "-s", "2", "-d", "-t", bed.user1)
            proc.wait_end(waiting, 70)
            status, found = bench.match()
            equal((found["received"], status), (100, 0), protocol)


class Cable:
    """Two namespaces and a cable between them: the kernel's stack at one end, an interface that its
    kernel leaves alone at the other."""

    def __enter__(self):
        self.kernel = "bypost-" + os.urandom(3).hex()
        self.other = self.kernel + "-r"
        for namespace in (self.kernel, self.other):
            net.add_namespace(namespace)
        net.veth(self.kernel, "sink0", self.other, "bench0")
        net.ip(self.other, "link", "set", "bench0", "arp", "off")
        net.sysctl(self.kernel, {"ipv6/conf/sink0/disable_ipv6": 0})
        net.address(self.kernel, "sink0", "198.18.0.1/24", ONE + "/64")
        return self

    def __exit__(self, *_):
        for namespace in (self.kernel, self.other):
            net.remove_namespace(namespace)


def dpdk_source(work, port, to="198.18.0.1", own="198.18.0.2/24", source_args=(), sink_args=()):
    """bypost's stack on a port, against the kernel's sockets at the other end of a cable."""
    with Cable() as cable:
        at = f"[{to}]:25"
        sink = Bench(work + "/" + port, cable.kernel)
        sink.start_sink(at, *sink_args)
        source = Bench(work + "/" + port, cable.other)
        sent = source.sent(at, "--engine", "dpdk", "--port", f"{port},bench0", "--address", own, "--idle",
                           "adaptive", "-m", "500", "-s", "10", "-d", "-l", "5000", *source_args)
        sink.stop_sink()
        status, found = sink.match()
        equal((sent["accepted"], sent["port_kind"], found["received"], status), (500, port, 500, 0), port)


@test("bypost-bench: bypost's own stack on af_packet", seconds=60)
def af_packet(work):
    dpdk_source(work, "af_packet")


@test("bypost-bench: bypost's own stack on af_xdp", seconds=60)
def af_xdp(work):
    need_af_xdp()
    dpdk_source(work, "af_xdp")


@test("bypost-bench: bypost's own stack on a tap", seconds=60)
def tap(work):
    with Alone(work) as alone:
        bench = Bench(work + "/b", alone.namespace)
        source = proc.start(bench.command(
            "source", "--json", "--ledger", bench.path("source.ledger"), "--engine", "dpdk", "--port", "tap,dtap1",
            "--address", "198.18.0.2/24", "--idle", "adaptive", "-m", "500", "-s", "10", "-d", "-l", "5000",
            "198.18.0.1:25"), work + "/source.out")
        proc.wait_for("the tap", lambda: net.ip(alone.namespace, "link", "show", "dtap1", check=False)
                      .returncode == 0, 20)
        net.address(alone.namespace, "dtap1", "198.18.0.1/24")
        net.ip(alone.namespace, "link", "set", "dtap1", "up")
        bench.start_sink("198.18.0.1:25")
        expect(proc.wait_end(source, 40), "no end")
        bench.stop_sink()
        equal((proc.exit_status(source), bench.match()[0]), (0, 0), "status, of match")


@test("bypost-bench: over IPv6, by both engines", seconds=120)
def ipv6(work):
    with Alone(work + "/kernel") as alone:
        for more in ([], ["--source-ip", OTHER], ["--starttls"]):
            sink = tls_options(work, "--starttls") if more == ["--starttls"] else ()
            sent, got, found, status = alone.pair(["-6", "-m", "300", "-s", "5", *more], sink,
                                                  at=f"[{ONE}]:25")
            equal((sent["accepted"], found["received"], status), (300, 300, 0), f"sockets, {more}")
    dpdk_source(work + "/dpdk", "af_packet", ONE, OTHER + "/64")


def tls_options(work, kind):
    """A sink's, for STARTTLS or for TLS from the first octet on."""
    chain, key = make_certificate(work + "/tls", "sink.bench.example.net", "ec")
    return [kind, "--cert", chain, "--key", key]


@test("bypost-bench: TLS from the first octet on, source and sink, by both engines", seconds=120)
def implicit_tls(work):
    sink = tls_options(work, "--tls")
    with Alone(work + "/kernel") as alone:
        sent, got, found, status = alone.pair(
            ["--tls", "-m", "200", "-s", "4", "--size", "3000,200000"], sink)
        equal((sent["accepted"], found["received"], status), (200, 200, 0), "sockets")
        # one end in clear
        sent, got, found, status = alone.pair(["--seconds", "2"], sink, check=False)
        equal((sent["accepted"], got["messages"], got["connections"]), (0, 0, 1), "the source in clear")
        sent, got, found, status = alone.pair(["--tls", "--seconds", "1"], check=False)
        equal((sent["accepted"], got["messages"]), (0, 0), "the sink in clear")
        expect(sent["refusals"].get("greeting_lost", 0) > 0, f"the sink in clear: {sent['refusals']}")
    dpdk_source(work + "/dpdk", "af_packet", source_args=["--tls"], sink_args=sink)


@test("bypost-bench: TLS from the first octet on, against bypostd", seconds=60)
def implicit_tls_daemon(work):
    with TlsBed(work) as bed:
        sent = Bench(work + "/bench", bed.ns).sent(
            f"{bed.relay}:{SUBMISSIONS}", "--tls", "-m", "60", "-s", "3", "--per-connection", "5", "--auth",
            f"{bed.user1}:{bed.pass1}", "-f", bed.user1, "-t", bed.user2)
        equal((sent["accepted"], sent["refusals"]), (60, {}), "accepted")
        expect(len(mailbox.messages(bed, user=2)) == 60, "not all are in the mailbox")


class MemifDaemon:
    """bypostd on a memif: no namespace, and nobody but bypost-bench can reach it."""

    def __init__(self, work, sessions):
        self.work, self.name = work, "bypost-" + os.urandom(3).hex()
        self.memif, self.socket = f"/run/{self.name}.memif", f"/run/{self.name}.sock"
        self.conf = {
            "node": {"hostname": "mail.example.org", "user": config.user(work + "/store")},
            "ports": [{"name": "p0", "kind": "memif", "device": self.memif,
                       "addresses": ["198.18.0.1/24"], "duplicate_check": False}],
            "cores": {"layout": config.layout("one"), "file_prefix": self.name},
            "relay": {"from": ["198.18.0.0/24"]},
            "domains": {"local": ["example.org"]}, "dns": {"servers": ["127.0.0.1"]},
            "store": {"path": work + "/store"},
            "limits": {"connections": 2 * sessions, "smtp_sessions": 2 * sessions, "drain_timeout": "2s"},
            "admin": {"socket": self.socket}}

    def program(self, name):
        return build.program(os.environ["BYPOST_BUILD"], name)

    def __enter__(self):
        path = self.work + "/bypost.yaml"
        with open(path, "w") as f:
            f.write(config.dump(self.conf))
        self.process = proc.start([self.program(build.DAEMON), "--config", path], self.work + "/bypostd.log")
        proc.wait_for("bypostd", lambda: os.path.exists(self.socket), 30)
        return self

    def status(self):
        done = proc.run([self.program(build.CTL), "--socket", self.socket, "status", "--json"])
        return json.loads(done.stdout.splitlines()[0])

    def __exit__(self, *_):
        proc.stop(self.process, 20)
        proc.remove_tree("/var/run/dpdk/" + self.name)


@test(f"bypost-bench: {HELD} sessions held open on bypostd over memif", seconds=120)
def held(work):
    with MemifDaemon(work, HELD) as daemon:
        source = proc.start(
            [daemon.program("bench/bypost-bench"), "source", "--json", "--engine", "dpdk", "--port",
             f"memif,{daemon.memif},role=client", "--address", "198.18.0.10/24", "--address",
             "198.18.0.11/24", "--source-ip", "198.18.0.10-198.18.0.11", "--idle", "adaptive", "-s", str(HELD),
             "--hold", "5", "198.18.0.1"], work + "/source.out")

        def all_open():
            return daemon.status()["connections"]["smtp"] == HELD
        proc.wait_for("all sessions, as bypostd counts them", all_open, 60, step=0.2)
        proc.wait_end(source, 40)
        equal(proc.exit_status(source), 0, "status of the source")
        with open(work + "/source.out") as f:
            said = json.loads(next(line for line in f if line.startswith("{")))
        equal((said["held"], said["begun"], said["refusals"]), (HELD, 0, {}), "held, messages, refusals")
        proc.wait_for("their end", lambda: daemon.status()["connections"]["smtp"] == 0, 15)
