# SPDX-License-Identifier: BSD-3-Clause
"""bypost-bench: a source, the relay, and a sink, and the proof that nothing was lost on the way; and
that the proof fails when something was."""

import json
import os
import signal

from bed import build, net, proc
from bed.bed import Bed
from bed.harness import equal, expect, test

MESSAGES = 2000
FAULTS = ("lost", "doubled", "altered", "forged")


class Bench:
    """bypost-bench in a namespace, its files in a folder."""

    def __init__(self, folder, namespace, binaries=None):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.namespace = folder, namespace
        self.program = build.program(binaries or os.environ["BYPOST_BUILD"], "bench/bypost-bench")

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, *args):
        return ["ip", "netns", "exec", self.namespace, self.program, *args]

    def start_sink(self, at, *args, listening=None):
        self.sink = proc.start(self.command("sink", "--json", "--ledger", self.path("sink.ledger"),
                                            *args, at), self.path("sink.out"))
        if listening:
            listening(self.sink)
        return self

    def sent(self, to, *args, check=True):
        """What the source says when it has ended."""
        done = proc.run(self.command("source", "--json", "--ledger", self.path("source.ledger"),
                                     *args, to), check=check, timeout=300)
        return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))

    def stop_sink(self):
        proc.send(self.sink, signal.SIGTERM)
        proc.wait_end(self.sink, 20)
        with open(self.path("sink.out")) as f:
            return json.loads(next(line for line in f if line.startswith("{")))

    def match(self):
        """Exit status and what was found."""
        done = proc.run([self.program, "match", self.path("source.ledger"),
                         self.path("sink.ledger")], check=False)
        return done.returncode, json.loads(done.stdout)


def listens(bed, address):
    def wait(record):
        bed.processes["bench sink"] = record
        bed.save()
        bed.wait_listening("bypost-bench sink", address, 25, "bench sink")
    return wait


def delivered(bed, seconds):
    """The queue is empty.  What waits for its next attempt is not let wait."""
    def empty():
        if not bed.ctl_json("queue", "list", "--limit", "10"):
            return True
        bed.ctl("queue", "retry", "--all", check=False)
        return False
    proc.wait_for("the queue to empty", empty, seconds)


def through_the_relay(work, *sink_args, source_args=(), seconds=120):
    with Bed(work + "/bed", sink=False) as bed:
        bench = Bench(work + "/bench", bed.ns)
        bench.start_sink(f"{bed.sink_ip}:25", *sink_args, listening=listens(bed, bed.sink_ip))
        sent = bench.sent(f"{bed.relay}:25", "-m", str(MESSAGES), "-s", "20", "--per-connection",
                          "10", "-N", "-t", f"to@{bed.remote_domain}", *source_args)
        delivered(bed, seconds)
        got = bench.stop_sink()
        status, found = bench.match()
    print(sent, got, found)
    return sent, got, status, found


@test("bypost-bench: source, relay, sink, and nothing lost", seconds=240)
def nothing_lost(work):
    sent, got, status, found = through_the_relay(
        work, source_args=("--size", "lognormal:4000,1.5,300000", "-r", "3"))
    equal(sent["accepted"], MESSAGES, "accepted")
    equal(found["accepted"], 3 * MESSAGES, "recipients accepted")
    equal(found["received"], 3 * MESSAGES, "recipients received")
    equal([found[f] for f in FAULTS], [0, 0, 0, 0], "faults")
    equal(status, 0, "status")


@test("bypost-bench: the relay tries again what the sink refuses for now", seconds=300)
def sink_fails(work):
    sent, got, status, found = through_the_relay(
        work, "--fail", "rcpt:4xx:2", "--fail", "end:4xx:2", "--fail", "mail:4xx:1",
        seconds=200, source_args=("--size", "3000"))
    expect(got["failures"]["rcpt_4xx"] > 0 and got["failures"]["end_4xx"] > 0,
           f"the sink did not fail: {got['failures']}")
    equal([found[f] for f in FAULTS], [0, 0, 0, 0], "faults")
    equal((found["received"], status), (MESSAGES, 0), "received, status")


@test("a next hop slower than the senders: more waits than memory holds, and all of it moves",
      seconds=180)
def slow_next_hop(work):
    messages = 20000
    with Bed(work + "/bed", sink=False, changes={
            "limits": {"body_memory": "256M"}, "delivery": {"site_connections": 60}}) as bed:
        bench = Bench(work + "/bench", bed.ns)
        bench.start_sink(f"{bed.sink_ip}:25", "--delay", "end:20",
                         listening=listens(bed, bed.sink_ip))
        sent = bench.sent(f"{bed.relay}:25", "-m", str(messages), "--rate", "6000", "-s", "50", "-d",
                          "-l", "1000", "-t", f"to@{bed.remote_domain}")
        waits = bed.ctl_json("status")[0]["queue"]["messages"]
        proc.wait_for("the queue to empty", lambda: not bed.ctl_json("queue", "list", "--limit", "1"), 90)
        bench.stop_sink()
        status, found = bench.match()
    print(sent["per_s"], waits, found)
    expect(waits > 2500, f"only {waits} were left when all had been sent: nothing is shown")
    equal([found[f] for f in FAULTS], [0, 0, 0, 0], "faults")
    equal((found["received"], status), (messages, 0), "received, status")


@test("bypost-bench: a sink that loses, doubles, alters is found out", seconds=120)
def mutants(work):
    namespace = "bypost-" + os.urandom(3).hex()
    net.add_namespace(namespace)
    try:
        for kind, fault in (("lose", "lost"), ("twice", "doubled"), ("alter", "altered")):
            bench = Bench(f"{work}/{kind}", namespace)
            bench.start_sink("127.0.0.1:25", "--mutant", f"{kind}:500")
            proc.wait_for("the sink", lambda b=bench: b.sent(
                "127.0.0.1:25", "-m", "1", check=False)["accepted"] == 1, 15)
            bench.sent("127.0.0.1:25", "-m", "1000", "-s", "4", "-d")
            bench.stop_sink()
            status, found = bench.match()
            equal({f: found[f] > 0 for f in FAULTS}, {f: f == fault for f in FAULTS}, kind)
            equal(status, 1, f"{kind}: status of match")
    finally:
        net.remove_namespace(namespace)


@test("discard mode: says so, and is refused where the store holds anything", seconds=90)
def discard(work):
    with Bed(work + "/bed", sink=False, users=False, daemon_args=["--discard"]) as bed:
        bench = Bench(work + "/bench", bed.ns)
        sent = bench.sent(f"{bed.relay}:25", "-m", "100", "-d", "-l", "300000",
                          "-t", f"to@{bed.remote_domain}")
        equal(sent["accepted"], 100, "accepted")
        equal(bed.queue(), [], "the queue")
        expect("discard: UNSAFE" in bed.ctl("status").stdout, "status does not say it")
        bed.daemon_args = []
        bed.restart()
        bed.add_user(bed.user1, bed.pass1)
        bed.daemon_args = ["--discard"]
        try:
            bed.restart()
        except proc.Failure as e:
            expect("--discard is refused" in str(e), f"the reason is not told: {e}")
        else:
            raise AssertionError("a store with an account was taken")


@test("bench: 2,000 sessions held open, and what a daemon for them takes", seconds=120)
def sessions(work):
    done = proc.run([os.path.join(proc.ROOT, "bench", "bench_sessions"), "--build",
                     os.environ["BYPOST_BUILD"], "--sessions", "2000", "--json"], timeout=110)
    said = json.loads(done.stdout.splitlines()[-1])
    equal((said["sessions"], said["open"]), (2000, 2000), "sessions asked for, and open")
    expect(0 < said["at_start"] <= said["at_open"] < 300e6, f"memory: {said}")
