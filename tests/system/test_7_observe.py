# SPDX-License-Identifier: BSD-3-Clause
"""What operators see: connections, cores, rings."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time

from bed import mail, pcap, proc, screen, smtp
from bed.bed import Bed
from bed.harness import equal, expect, test


def talk(connection, text):
    connection.sendall(text)
    return connection.recv(4096)


@test("tcp list, tcp show, net: every connection with its owner, on every core", seconds=60)
def connections(work):
    with Bed(work + "/bed", layout="split") as bed:
        def listed(*args):
            return [o for o in bed.ctl_json("tcp", "list", *args) if "id" in o]

        with contextlib.ExitStack() as stack:
            smtp, pop3, imap = [stack.enter_context(bed.connect(bed.relay, port))
                                for port in (25, 110, 143)]
            smtp.recv(4096)
            talk(smtp, b"EHLO client.example.org\r\n")
            talk(smtp, b"MAIL FROM:<a@example.org>\r\n")
            pop3.recv(4096)
            imap.recv(4096)
            # of the bed's own checks there may be more, on their way out
            ports = {s.getsockname()[1]: s for s in (smtp, pop3, imap)}
            rows = {r["peer"].rpartition(":")[2]: r for r in listed("--state", "established")}
            for port, owner in zip(ports, ("smtp in: MAIL", "pop3: not logged in",
                                           "imap: not logged in")):
                row = rows[str(port)]
                equal(row["owner"], owner, "the owner")
                expect(row["cwnd"] > 0 and row["bytes_out"] > 0, f"no figures: {row}")
            cores = {rows[str(port)]["core"] for port in ports}
            equal(len(cores), 2, "cores with connections")
            one = listed("--port", str(smtp.getsockname()[1]))
            equal(len(one), 1, "connections of one port")
            shown = bed.ctl_json("tcp", "show", one[0]["id"])[0]
            equal(shown["peer"], one[0]["peer"], "tcp show")
            expect("smtp in: MAIL" in bed.ctl("tcp", "show", one[0]["id"]).stdout, "the text")
            oldest = listed("--sort", "bytes_out", "--limit", "2")
            expect(len(oldest) == 2 and oldest[0]["bytes_out"] >= oldest[1]["bytes_out"], "sorted")
            equal(len(listed("--limit", "1")), 1, "limit")
        gone = bed.ctl("tcp", "show", one[0]["id"], check=False)
        for _ in range(50):
            if gone.returncode == 3:
                break
            time.sleep(0.1)
            gone = bed.ctl("tcp", "show", one[0]["id"], check=False)
        equal(gone.returncode, 3, "exit status for a connection that has gone")
        equal(bed.ctl("tcp", "list", "--peer", "198.18.77.0/24", check=False).returncode, 3,
              "nothing matches")
        equal(bed.ctl("tcp", "list", "--state", "open", check=False).returncode, 1, "a wrong state")


@test("net: cores, rings, neighbours, routes", seconds=60)
def net(work):
    with Bed(work + "/bed", layout="split") as bed:
        time.sleep(1)
        o = bed.ctl_json("net")[0]
        equal(len(o["cores"]), 3, "cores")
        for core in o["cores"]:
            expect(core["laps_now"] > 0, f"a core without laps: {core}")
        names = {r["name"] for r in o["rings"]}
        for ring in ("c0.smtp.wr.rq", "c1.dlv.wr.rq", "c2.acc.wr.rq", "main.c0.rq", "frames.0.1"):
            expect(ring in names, f"no ring {ring} in {sorted(names)}")
        used = {r["name"]: r["high"] for r in o["rings"]}
        expect(used["main.wr.rq"] >= 1, "adding users left no trace on main's ring")
        neighbours = bed.ctl_json("net", "neighbours")
        expect(any(n.get("address") == bed.client and n["state"] in ("reachable", "stale", "delay")
                   for n in neighbours), f"the client is no neighbour: {neighbours}")
        routes = bed.ctl_json("net", "routes")
        expect(any(r.get("network") == "0.0.0.0/0" for r in routes), f"no default route: {routes}")
        for part in ((), ("ports",), ("cores",), ("rings",), ("pools",), ("neighbours",), ("routes",)):
            expect(bed.ctl("net", *part).stdout, f"net {part} says nothing")
        tcp = bed.ctl_json("tcp")[0]
        expect(tcp["passive_opens"] > 0 and "established" in tcp["states"], f"tcp: {tcp}")
        proc.run([*bed.ctl_command, "tcp"])


def telemetry(bed, command):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(5)
        s.connect(f"/var/run/dpdk/{bed.name}/dpdk_telemetry.v2")
        json.loads(s.recv(4096))
        s.send(command.encode())
        return json.loads(s.recv(65536))[command.partition(",")[0]]


@test("metrics and telemetry: off unless asked for; every counter, by both", seconds=60)
def metrics(work):
    with Bed(work + "/off") as bed:
        expect(not os.path.exists(f"/var/run/dpdk/{bed.name}/dpdk_telemetry.v2"), "telemetry is on")
        expect(proc.run(["ip", "netns", "exec", bed.relay_ns, "ss", "-Hlnt"]).stdout.find(":9464") < 0,
               "metrics are on")
    with Bed(work + "/bed", layout="split",
             changes={"metrics": {"port": 9464, "telemetry": True}}) as bed:
        def get(path):
            return proc.run(["ip", "netns", "exec", bed.relay_ns, "curl", "-s", "-o", "-", "-w",
                             "\n%{http_code}", f"http://127.0.0.1:9464{path}"]).stdout

        text, _, status = get("/metrics").rpartition("\n")
        equal(status, "200", "status of /metrics")
        equal(get("/other").rpartition("\n")[2], "404", "status of another path")
        values, types = {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                expect(name not in types, f"{name} has two families")
                types[name] = kind
            elif not line.startswith("#"):
                m = re.fullmatch(r'(bypost_\w+)(\{\w+="[^"]*"\})? (\S+)', line)
                expect(m, f"not the format: {line}")
                family = m.group(1) if m.group(1) in types else re.sub(r"_(bucket|sum|count)$", "", m.group(1))
                expect(family in types, f"{line} has no TYPE")
                values[m.group(1) + (m.group(2) or "")] = float(m.group(3))
        counters = next(o for o in bed.ctl_json("counters") if o["thread"] == "all")["counters"]
        for name in counters:
            name = re.sub("_us$", "_seconds", name)
            expect(types.get(f"bypost_{name}_total") == "counter", f"no counter {name}")
        expect(values["bypost_store_commit_latency_seconds_count"] >= 2, "commits of the two users")
        expect(values['bypost_core_laps_total{core="2"}'] > 0, "laps of core 2")
        equal(values["bypost_store_accounts"], 2, "accounts")
        with bed.connect(bed.relay, 143) as imap:
            imap.recv(4096)
            equal(telemetry(bed, "/bypost/info")["state"], "running", "state")
            equal(sorted(telemetry(bed, "/bypost/cores")), ["core0", "core1", "core2"], "cores")
            expect(telemetry(bed, "/bypost/ports")["p0"]["rx_packets"] > 0, "ports")
            expect(any(bed.client in n for n in telemetry(bed, "/bypost/neigh")), "neighbours")
            expect(telemetry(bed, "/bypost/rings"), "rings")
            expect(telemetry(bed, "/bypost/pools")["chunks"]["size"] > 0, "pools")
            expect(telemetry(bed, "/bypost/tcp/stats")["passive_opens"] > 0, "counters")
            mine = [line for line in telemetry(bed, "/bypost/tcp/list")
                    if f" {imap.getsockname()[1]} established" in line]
            equal(len(mine), 1, "the connection in tcp/list")
            one = telemetry(bed, "/bypost/tcp/conn," + mine[0].split()[0])
            equal(one["owner"], "imap: not logged in", "owner")
            expect(one["PerfHCThruOctetsAcked"] > 0, f"octets: {one}")
            expect("error" in telemetry(bed, "/bypost/tcp/conn,9.9.9"), "no such core")
        bed.stop_daemon()
        bed.start_daemon()
        equal(telemetry(bed, "/bypost/info")["state"], "running", "after a restart")


def tracer_start(bed, path, *options):
    """A trace that is under way."""
    tracer = subprocess.Popen([*bed.ctl_command, "trace", "--pcap", path, *options, "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = tracer.stderr.readline()
    if not line.startswith("tracing"):
        tracer.kill()
        raise AssertionError(f"no trace began: {line}")
    return tracer


@contextlib.contextmanager
def traced(bed, path, *options):
    """A trace while the block runs and until its limit; yields what it says at its end."""
    tracer = tracer_start(bed, path, *options)
    said = {}
    try:
        yield said
        out, _ = tracer.communicate(timeout=30)
        equal(tracer.returncode, 0, "exit status of trace")
        said.update(json.loads(out))
    finally:
        if tracer.poll() is None:
            tracer.kill()
            tracer.wait()


def dialogue(s):
    """What both ends said, over an SMTP connection."""
    sent, got = b"", s.recv(4096)
    for line in (b"EHLO client.example.org\r\n", b"NOOP\r\n", b"QUIT\r\n"):
        s.sendall(line)
        sent += line
        time.sleep(0.2)
        got += s.recv(4096)
    return sent, got


@test("trace: one peer, one connection; both directions, from several cores; bounded", seconds=120)
def trace(work):
    with Bed(work + "/bed", layout="split") as bed:
        path = work + "/peer.pcap"
        with traced(bed, path, "--peer", bed.client, "--seconds", "5") as said:
            with bed.connect(bed.relay, 25, source=bed.client) as s, \
                    bed.connect(bed.relay, 25, source=bed.stranger) as other:
                port = s.getsockname()[1]
                sent, got = dialogue(s)
                other.recv(4096)
        packets = pcap.read(path)
        equal(os.stat(path).st_mode & 0o777, 0o600, "rights of the file")
        equal(said["packets"], len(packets), "packets in the file")
        equal(said["dropped"], 0, "dropped")
        times = [t for t, _, _ in packets]
        expect(times == sorted(times) and abs(times[0] - time.time()) < 60, "times are not in order")
        found = pcap.segments(packets)
        expect({bed.client} <= {a for s in found for a in (s.source, s.target)}, "no such peer")
        expect(all(bed.client in (s.source, s.target) for s in found), "frames of others")
        equal(pcap.stream(found, bed.client, port), sent, "what the client said")
        equal(pcap.stream([s for s in found if s.dport == port], bed.relay, 25), got,
              "what the relay said")

        # one connection of two of the same peer; the IMAP core's, not the first
        with bed.connect(bed.relay, 143) as mine, bed.connect(bed.relay, 143) as other:
            mine.recv(4096)
            other.recv(4096)
            port = mine.getsockname()[1]
            row = next(r for r in bed.ctl_json("tcp", "list", "--port", str(port)) if "id" in r)
            path = work + "/conn.pcap"
            with traced(bed, path, "--conn", row["id"], "--seconds", "20", "--packets", "4",
                        "--snap", "64") as said:
                for s in (other, mine):
                    s.sendall(b"a NOOP\r\n")
                    s.recv(4096)
                    s.sendall(b"b CAPABILITY\r\n")
                    s.recv(4096)
            packets = pcap.read(path)
            equal(len(packets), 4, "packets up to the limit")
            expect(all(len(frame) <= 64 for _, _, frame in packets), "snap")
            expect(all(port in (s.sport, s.dport) for s in pcap.segments(packets)), "others' frames")

        # nobody there; who may not; a client that goes away
        none = bed.ctl("trace", "--pcap", work + "/n", "--peer", "198.18.77.1", "--seconds", "1",
                       check=False)
        equal(none.returncode, 3, "exit status of an empty trace")
        equal(bed.ctl("trace", "--pcap", work + "/n", "--conn", "7.7.7", check=False).returncode, 3,
              "no such core")
        tracer = tracer_start(bed, work + "/n", "--peer", bed.client, "--seconds", "600")
        second = bed.ctl("trace", "--pcap", work + "/n2", "--peer", bed.client, check=False)
        expect(second.returncode == 1 and "under way" in second.stdout, f"a second trace: {second}")
        tracer.kill()
        tracer.wait()
        for _ in range(100):
            again = bed.ctl("trace", "--pcap", work + "/n", "--peer", "198.18.77.1", "--seconds",
                            "1", check=False)
            if again.returncode == 3:
                break
            time.sleep(0.1)
        equal(again.returncode, 3, "a trace after one whose client went away")
        expect(bed.ctl("status").stdout, "status")


def acknowledged_by(found, bed, port):
    """The relay's first segment that acknowledges all that the client said before its QUIT."""
    said = [s for s in found if s.sport == port and s.payload and not s.payload.startswith(b"QUIT")]
    end = said[-1].seq + len(said[-1].payload)
    return next(s for s in found if s.source == bed.relay and s.dport == port and s.ack == end)


@test("trace: the reply to a message takes its ACK along", seconds=60)
def ack_with_reply(work):
    with Bed(work + "/bed") as bed:
        path = work + "/peer.pcap"
        with traced(bed, path, "--peer", bed.client, "--seconds", "4"):
            ports = []
            for i in range(5):
                with contextlib.closing(smtp.connect(bed, source=bed.client)) as client:
                    client.hello()
                    ports.append(client.sock.getsockname()[1])
                    code, _ = client.message(bed.user1, [bed.user2],
                                             mail.make(bed.user1, bed.user2, f"ack {i}", 5_000))
                    equal(code, 250, "DATA")
                    client.quit()
        found = pcap.segments(pcap.read(path))
        first = [acknowledged_by(found, bed, port).payload for port in ports]
        # not each of them: a commit may take longer than an ACK may wait
        expect(any(p.startswith(b"250") for p in first), f"acknowledged by {first}")


def why(bed, message):
    return [o for o in bed.ctl_json("queue", "why", message) if "cause" in o]


def wait_cause(bed, message, causes, seconds=20):
    for _ in range(seconds * 10):
        said = why(bed, message)
        if said and said[0]["cause"] in causes:
            return said[0]
        time.sleep(0.1)
    raise AssertionError(f"never one of {causes}: {said}")


@test("why: a dead host, a domain that is not there, a held message, refusals; and nothing", seconds=120)
def whys(work):
    changes = {"delivery": {"retry": ["300s"], "connect_timeout": "2s"}}
    with Bed(work + "/bed", layout="split", changes=changes) as bed:
        expect("Nothing" in bed.ctl("why").stdout, "nothing is wrong")
        dead, gone = f"x@{bed.dead_domain}", "y@nowhere.example.net"
        for to in (dead, gone):
            with contextlib.closing(smtp.connect(bed)) as client:
                client.hello()
                code, text = client.message(bed.user1, [to], mail.make(bed.user1, to, "why"))
                equal(code, 250, f"accepted for {to}: {text}")
        with contextlib.closing(smtp.connect(bed, source=bed.stranger)) as client:
            client.hello()
            code, _ = client.message("a@example.com", ["z@stranger.example.com"], b"x")
            expect(500 <= code < 600, f"relayed for a stranger: {code}")
        queue = {m["recipients"][0]["address"]: m["id"] for m in bed.queue()}
        said = wait_cause(bed, queue[dead], ("retry",))
        expect("connect to" in said["text"], f"no reason: {said}")
        expect(said["attempts"] == 1 and said["next_ms"] > time.time() * 1000, f"no next try: {said}")
        expect("queue retry" in said["remedy"], f"no remedy: {said}")
        equal(said["route"]["domain"], bed.dead_domain, "the domain")
        expect(said["route"]["hosts"], "the hosts that were looked up")
        bed.ctl("queue", "hold", queue[dead])
        said = wait_cause(bed, queue[dead], ("held",))
        expect("queue release" in said["remedy"], f"no remedy: {said}")
        expect("holds it" in bed.ctl("queue", "why", queue[dead]).stdout, "the text")
        rows = bed.ctl_json("why")
        kinds = {o.get("kind") for o in rows}
        expect({"refused", "held"} <= kinds, f"kinds: {rows}")
        expect(any(o.get("what") == "smtp_rcpt_refused" and o["count"] >= 1 for o in rows),
               f"no refusal: {rows}")
        text = bed.ctl("why").stdout
        expect("held by an operator" in text and queue[dead] in text, f"why: {text}")
        bed.ctl("queue", "release", queue[dead])
        wait_cause(bed, queue[dead], ("retry", "connecting", "site-down", "sending"))
        domains = bed.ctl_json("queue", "domains")
        expect(any(d.get("domain") == bed.dead_domain for d in domains), f"domains: {domains}")
        expect(bed.dead_domain in bed.ctl("queue", "domains").stdout, "queue domains")
        equal(bed.ctl("queue", "why", "123", check=False).returncode, 3, "no such message")
        equal(bed.ctl("queue", "why", "xyz", check=False).returncode, 1, "no id")


@test("top: every view in 80 columns, keys, another size, a daemon that goes and comes", seconds=120)
def top(work):
    with Bed(work + "/bed", layout="split") as bed, \
            bed.connect(bed.relay, 143) as imap, \
            contextlib.closing(screen.Terminal([*bed.ctl_command, "top", "--interval", "1"])) as t:
        imap.recv(4096)
        for key, name in enumerate(("overview", "queue", "cores", "rings", "tcp", "store", "why"), 1):
            t.type(str(key))
            shown = t.wait(f"[{key} {name}]")
            t.wait(lambda s: "q quit" in s.lines()[-1])
            expect(bed.hostname in shown.lines()[0], f"no header:\n{shown.text()}")
        t.type("5")
        t.wait("imap: not log")
        t.type("s")
        t.wait("s sort:bytes_in")
        t.type("\r")
        t.wait("connection ")
        t.wait("congestion  ")
        t.type("\x1bOB" * 12)
        t.wait("receive_window")
        t.type("\x1b")
        t.wait(lambda s: "receive_window" not in s.text() and "[5 tcp]" in s.text())
        t.type("f")
        t.wait("FROZEN")
        at = t.screen.lines()[0].split()[-1]
        t.pump(2.5)
        equal(t.screen.lines()[0].split()[-1], at, "time of a frozen screen")
        t.type("f")
        t.wait(lambda s: "FROZEN" not in s.text() and s.lines()[0].split()[-1] != at)
        t.type("h")
        t.wait("Tab next view")
        t.type("h")
        for rows, columns in ((50, 160), (10, 40), (3, 20), (24, 80)):
            t.resize(rows, columns)
            t.type("1")
            t.wait(lambda s: s.lines()[0].startswith("bypost") and s.lines()[-1].startswith("1-7"))
        t.wait("commit p50")
        bed.stop_daemon()
        t.wait("not connected, retrying")
        t.pump(2)
        expect("commit p50" in t.screen.text(), "what was known is gone")
        bed.start_daemon()
        t.wait(lambda s: "not connected" not in s.text() and "running" in s.text())
        t.type("q")
        equal(t.wait_end(), 0, "exit status of top")
        text = bed.ctl("top", "--once").stdout
        expect("core   busy" in text and "\x1b" not in text, f"--once: {text}")
        expect(max(len(line) for line in text.splitlines()) < 130, "lines that are too long")
        one = json.loads(bed.ctl("top", "--once", "--json", "--view", "tcp").stdout)
        expect(one["status"]["cores"] and one["net"]["rings"] and one["view"] == "tcp", "--json")
        bed.stop_daemon()
        equal(bed.ctl("top", "--once", check=False).returncode, 1, "without a daemon")
        bed.start_daemon()
