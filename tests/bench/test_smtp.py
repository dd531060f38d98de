# SPDX-License-Identifier: BSD-3-Clause
"""bypost-bench against itself on bypost's own stack, without a kernel in the way."""

import json
import os
import signal
import xml.dom.minidom

from bed import build, proc
from bed.harness import equal, expect, test

MESSAGES = 3000


def run_pair(work, *source_args):
    program = build.program(os.environ["BYPOST_BUILD"], "bench/bypost-bench")
    socket = f"/run/bypost-{os.urandom(3).hex()}.memif"
    paths = {end: f"{work}/{end}.ledger" for end in ("source", "sink")}
    sink = proc.start([program, "sink", "--engine", "dpdk", "--port", "memif," + socket, "--address",
                       "198.18.0.1/24", "--json", "--ledger", paths["sink"], ":25"],
                      work + "/sink.log")
    try:
        proc.wait_for("the sink's port", lambda: os.path.exists(socket), 20)
        source = proc.run([program, "source", "--engine", "dpdk", "--port",
                           f"memif,{socket},role=client", "--address", "198.18.0.2/24", "--json",
                           "--ledger", paths["source"], *source_args, "198.18.0.1"], timeout=100)
    finally:
        proc.send(sink, signal.SIGTERM)
        proc.wait_end(sink, 20)
    found = json.loads(proc.run([program, "match", paths["source"], paths["sink"]]).stdout)
    sent = next(line for line in source.stdout.splitlines() if line.startswith("{"))
    return json.loads(sent), found


@test("bench: bypost-bench over memif, many messages in a connection", seconds=150)
def many(work):
    sent, found = run_pair(work, "-s", "20", "-m", str(MESSAGES), "-d", "-l", "10000")
    equal((sent["accepted"], found["received"]), (MESSAGES, MESSAGES), "messages")


@test("bench: bypost-bench over memif, open loop, a connection for each message", seconds=150)
def single(work):
    sent, found = run_pair(work, "-s", "50", "--rate", "500", "--seconds", "3", "--warm-up", "1")
    equal(sent["accepted"], found["received"], "messages")


@test("bench: bypostd over memif, discard, accept, relay", seconds=150)
def daemon(work):
    done = proc.run([os.path.join(proc.ROOT, "bench", "bench_smtp"), "--build",
                     os.environ["BYPOST_BUILD"], "--store", work, "--smoke", "--json"], timeout=140)
    rows = json.loads(done.stdout[done.stdout.index("{"):])["rows"]
    equal([(r["mode"], r["accepted"] > 0, r["refused"]) for r in rows],
          [("discard", True, 0), ("accept", True, 0), ("relay", True, 0)], "modes")
    relay = rows[2]
    equal((relay["received"], relay["proven"]), (relay["accepted"], True), "what was delivered")
    for r in rows[1:]:
        expect(r["raw_per_s"] > 0 and r["share"] > 0 and r["group"] > 0, f"no share of the disk: {r}")


@test("bench: plots of a closed and of an open loop", seconds=150)
def plots(work):
    files = []
    for i, args in enumerate((("-m", "2000", "-d"), ("--rate", "300", "--seconds", "2"))):
        sent, _ = run_pair(work, "-s", "10", *args)
        files.append(f"{work}/{i}.json")
        with open(files[-1], "w") as f:
            json.dump(sent, f)
        equal(sum(s[0] for s in sent["series"]), sent["accepted"], "seconds one by one")
    for kind, chosen, lines in (("time", files, 6), ("load", files[1:], 4)):
        done = proc.run([os.path.join(proc.ROOT, "bench", "plot"), kind, *chosen])
        drawn = xml.dom.minidom.parseString(done.stdout).getElementsByTagName("polyline")
        equal(len(drawn), lines, f"lines of the plot over {kind}")
