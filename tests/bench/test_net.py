# SPDX-License-Identifier: BSD-3-Clause
"""The programs that measure, run for seconds, so that they cannot rot.  No threshold: what they say
on a machine that does other work is worth nothing."""

import json
import os

from bed import build, proc
from bed.harness import equal, expect, test

BENCH_NET = os.path.join(proc.ROOT, "bench", "bench_net")


def program(name):
    return build.program(os.environ["BYPOST_BUILD"], "bench/" + name)


@test("bench: the stack over memif, each mode", seconds=240)
def net(_work):
    done = proc.run([BENCH_NET, "--build", os.environ["BYPOST_BUILD"], "--smoke", "--json"],
                    timeout=220)
    rows = json.loads(done.stdout)["rows"]
    equal([r["mode"] for r in rows], ["request", "bulk", "connect", "idle", "idle", "flood"], "modes")
    for r in rows:
        expect(r.get("per_s", r.get("gbit_s")) > 0, f"nothing was done: {r}")
        equal(r["failed"], 0, "connections that failed")
    expect(rows[-2]["octets_per_connection"] > 0, "memory of an idle connection")
    expect(rows[-1]["beside"]["cookies"] > 0, "a flood that needs no cookies is none")
    expect(rows[-1]["beside"]["per_s"] > 0, "nothing went beside the flood")


@test("bench: the stack alone, each mode", seconds=120)
def stack(_work):
    for mode, width in (("request", 64), ("bulk", 4), ("connect", 16)):
        done = proc.run([program("bench_stack"), mode, str(width), "500"])
        figures = json.loads(done.stdout)
        expect(figures["packets"] > 0 and figures["failed"] == 0, f"{mode}: {figures}")
