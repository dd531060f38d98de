# SPDX-License-Identifier: BSD-3-Clause
"""What operators see: connections, cores, rings."""

import contextlib
import json
import os
import re
import socket
import time

from bed import proc
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
