# SPDX-License-Identifier: BSD-3-Clause
"""bench/compare, run for seconds with every server: the tooling, not the figures; and its plan."""

import collections
import json
import os
import re
import signal
import subprocess
import sys
import xml.dom.minidom

from bed import net, proc
from bed.harness import equal, expect, test

sys.path.insert(0, os.path.join(proc.ROOT, "bench"))

import plan  # noqa: E402
import rivals  # noqa: E402

COMPARE = os.path.join(proc.ROOT, "bench", "compare")
SERVERS = {"postfix", "exim", "opensmtpd", "dovecot", "bypost"}
HALF_AN_HOUR = 30 * 60


def measured(args):
    """How often each cell of each target is."""
    return collections.Counter((name, c.name) for number in range(1, args.rounds + 1)
                               for name in plan.order(args.targets, number)
                               for c in plan.cells_of(args, name, number))


@test("bench: the plan of a comparison: each value once, in half an hour", seconds=30)
def default_plan(work):
    args = plan.options("", [])
    equal((len(args.cells), args.rounds, args.seconds, args.backlog), (10, 3, 8, 20), "cells, rounds, seconds")
    equal(set(args.targets), SERVERS, "targets")
    for field, values in (("kind", plan.KINDS), ("octets", plan.SIZES.values()), ("sessions", (1, 100)),
                          ("per_connection", (1, 20)), ("tls", (False, True))):
        equal({getattr(c, field) for c in args.cells}, set(values), field)
    seconds = plan.estimate(args)
    expect(20 * 60 < seconds <= args.minutes * 60 < HALF_AN_HOUR, f"{seconds} s")
    # what may begin last has ended by then
    expect(args.minutes * 60 + max(plan.slot_seconds(args, c) for c in args.cells) <= HALF_AN_HOUR, "too long")
    counts = measured(args)
    for cell in args.cells:
        for name, server in rivals.ALL.items():
            fits = plan.applies(server, cell) and not server.optional
            equal(counts[name, cell.name], fits * (1 if cell.kind == "backlog" else 3), f"{name} {cell.name}")
    equal({plan.order(args.targets, number)[0] for number in (1, 2, 3)}, set(args.targets[:3]), "who begins")


@test("bench: the plan of a whole comparison, and of parts", seconds=30)
def other_plans(work):
    default, full = plan.options("", []), plan.options("", ["--full"])
    equal(len({c.name for c in full.cells}), 3 * 3 * 2 * 2 * 2, "cells of --full")
    for name, server in rivals.ALL.items():
        counts = [n for (target, _), n in measured(full).items() if target == name]
        wanted = [] if server.optional else [3] * sum(plan.applies(server, c) for c in full.cells)
        equal(counts, wanted, name)
    slots = [plan.slot_seconds(full, plan.parse_cell(c)) * n for (_, c), n in measured(full).items()]
    expect(plan.estimate(full) > max(sum(slots), 3 * plan.estimate(default)), "the estimate of --full")
    expect(full.minutes * 60 > plan.estimate(full), "--full leaves nothing out")
    part = plan.options("", ["--cells", "relay-10k-100x20", "--targets", "bypost-tap,bypost"])
    equal((part.targets, part.docs, default.docs), (["bypost-tap", "bypost"], False, True), "a part")
    smoke = plan.options("", ["--smoke"])
    expect(plan.estimate(smoke) < 120, f"{plan.estimate(smoke)} s")
    for bad in (["--cells", "relay-10k-100x20-ssl"], ["--cells", "relay-5k-1x1"], ["--targets", "sendmail"]):
        try:
            plan.options("", bad)
        except proc.Failure as e:
            expect(bad[1] in str(e), f"{bad}: {e}")
        else:
            raise AssertionError(f"{bad} was taken")


@test("bench: a comparison that is interrupted leaves nothing", seconds=150)
def interrupted(work):
    command = [sys.executable, "-u", COMPARE, "--smoke", "--build", os.environ["BYPOST_BUILD"], "--cells",
               "relay-10k-100x20", "--targets", "bypost", "--out", work + "/out"]
    for moment in (r"\(no server\)", r"in the namespaces", r"bypost .* relayed/s"):
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             start_new_session=True)
        said = ""
        while not re.search(moment, said):
            line = p.stdout.readline()
            expect(line, f"ended before {moment}:\n{said}")
            said += line
        os.killpg(p.pid, signal.SIGINT)  # as a terminal does
        said += p.communicate(timeout=60)[0]
        equal(p.returncode, 128 + signal.SIGINT, said)
        expect("Traceback" not in said, said)
        name = re.search(r"in the namespaces (\S+)-l", said).group(1)
        for namespace in (name + "-l", name + "-s"):
            expect(not net.exists(namespace), f"{namespace} is there")
        left = proc.run(["find", "/sys/fs/cgroup", "/run", "/var/run/dpdk", "-name", name + "*"], check=False)
        equal(left.stdout, "", "left")
        expect(not os.path.exists(work + "/out"), "half of a result")


@test("bench: bypost by a tap in a comparison", seconds=120)
def tap(work):
    done = proc.run([COMPARE, "--smoke", "--build", os.environ["BYPOST_BUILD"], "--cells",
                     "relay-10k-100x20,accept-1k-100x1-tls", "--targets", "bypost-tap,bypost", "--out",
                     work + "/out"], check=False, timeout=110)
    equal(done.returncode, 0, "exit status, of\n" + done.stdout)
    with open(work + "/out/compare.json") as f:
        rows = json.load(f)["rows"]
    equal(sorted(r["target"] for r in rows), ["bypost"] * 2 + ["bypost-tap"] * 2, "rows")
    expect(all(r["accepted"] > 0 and not r["lost"] for r in rows), f"{rows}")


@test("bench: the comparison with other servers", seconds=240)
def compare(work):
    done = proc.run([COMPARE, "--smoke", "--build",
                     os.environ["BYPOST_BUILD"], "--out", work + "/out"], check=False, timeout=230)
    equal(done.returncode, 0, "exit status, of\n" + done.stdout)
    with open(work + "/out/compare.json") as f:
        result = json.load(f)
    rows = result["rows"]
    equal({r["target"] for r in rows}, SERVERS, "servers")
    equal({r["kind"] for r in rows if r["target"] == "bypost"}, {"relay", "backlog", "accept"}, "kinds")
    for r in rows:
        expect(r["accepted"] > 0 and r["memory"] > 0, f"{r}")
        # a server may need longer than this to come back to a next hop that was down
        expect(r["cpu_user_us"] is not None or r["undelivered"], f"{r}")
        equal([r.get(k, 0) for k in ("lost", "doubled", "altered", "forged")], [0] * 4, f"faults: {r}")
    expect(all(r["per_s"] > 0 for r in result["raw"].values()), "the generator alone")
    plots = [f for f in os.listdir(work + "/out") if f.endswith(".svg")]
    equal(len(plots), 4, "plots")
    for name in plots:
        xml.dom.minidom.parse(os.path.join(work, "out", name))
    with open(work + "/out/compare.md") as f:
        expect("generator and sink alone" in f.read(), "the table")
