# SPDX-License-Identifier: BSD-3-Clause
"""What operators see: connections, cores, rings."""

import contextlib
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
        expect(any(n.get("address") == bed.client and n["state"] == "reachable"
                   for n in neighbours), f"the client is no neighbour: {neighbours}")
        routes = bed.ctl_json("net", "routes")
        expect(any(r.get("network") == "0.0.0.0/0" for r in routes), f"no default route: {routes}")
        for part in ((), ("ports",), ("cores",), ("rings",), ("pools",), ("neighbours",), ("routes",)):
            expect(bed.ctl("net", *part).stdout, f"net {part} says nothing")
        tcp = bed.ctl_json("tcp")[0]
        expect(tcp["passive_opens"] > 0 and "established" in tcp["states"], f"tcp: {tcp}")
        proc.run([*bed.ctl_command, "tcp"])
