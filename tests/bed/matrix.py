# SPDX-License-Identifier: BSD-3-Clause
"""The stack against the kernel's TCP, every combination, as a table.

    sudo PYTHONPATH=tests python3 -m bed.matrix --build build/check/gcc [--port tap]... [--loss 20]... [--quick]

Ports, families, loss each way, connections and MTU; each cell sends to the stack, from it, and through
its echo, every octet checked, and shows Mbit/s of payload.  About twenty minutes."""

import argparse
import itertools
import os
import shutil
import sys
import tempfile

from bed import build, harness, proc, streams, wire
from bed.wire import Wire

LOSS = (0, 1, 5, 20)
CONNECTIONS = (1, 10, 100, 1000)
MTUS = {"tap": (1280, 1500), "af_packet": (1280, 1500, 9000), "af_xdp": (1280, 1500, 3502)}
WAYS = (("sink", wire.SINK), ("source", wire.SOURCE), ("echo", wire.ECHO))
# octets of a whole cell by loss: at 20 % each way a connection moves some kB/s
OCTETS = {0: 64 << 20, 1: 16 << 20, 5: 2 << 20, 20: 256 << 10}
LEAST = 2048
# Seconds that a cell may take.  At 20 % each way an exchange fails 36 times in a hundred, so that of 1,000
# connections one is expected to fail seven times in a row, with pauses that double from a second.
LIMIT = {0: 120, 1: 120, 5: 120, 20: 600}


def octets_each(loss, connections):
    return max(LEAST, OCTETS[loss] // connections)


def cell(work, port, family, mtu, loss, connections):
    """[Mbit/s or what went wrong] for each way, and the router's counters."""
    results = []
    each = octets_each(loss, connections)
    with Wire(work, port=port, mtu=mtu, loss=loss, connections=4000) as w:
        address = wire.STACK if family == 4 else wire.STACK6
        for mode, service in WAYS:
            try:
                took = streams.run(w.client_ns, address, service, mode, connections, each,
                                   LIMIT[loss])
                results.append(f"{each * connections * 8 / took / 1e6:.1f}")
            except streams.Bad as e:
                results.append(f"FAILED: {e}")
        lost = w.lost()
        if loss and not (lost["lost_in"] and lost["lost_out"]):
            results.append("FAILED: nothing was lost")
        figures = w.stop_peer()
        if figures.get("tcp_in_errs"):
            results.append(f"FAILED: {figures['tcp_in_errs']} bad segments")
    return results, lost


def cells(args):
    for port, family in itertools.product(args.port, args.family):
        for loss, connections in itertools.product(args.loss or LOSS, CONNECTIONS):
            yield port, family, 1500, loss, connections
        for mtu in MTUS[port]:
            if mtu != 1500 and not args.loss:
                yield port, family, mtu, 0, 10
                yield port, family, mtu, 1, 10


def main():
    p = argparse.ArgumentParser(prog="bed.matrix")
    p.add_argument("--build", default=os.path.join(build.BUILD, "check", "gcc"))
    p.add_argument("--port", action="append", choices=sorted(MTUS))
    p.add_argument("--family", action="append", type=int, choices=(4, 6))
    p.add_argument("--loss", action="append", type=int, choices=LOSS, help="of each way, in percent")
    p.add_argument("--quick", action="store_true", help="10 connections only")
    args = p.parse_args()
    args.port, args.family = args.port or sorted(MTUS), args.family or [4, 6]
    os.environ["BYPOST_BUILD"] = os.path.abspath(args.build)
    proc.interruptible()
    failed = 0
    print("| port | IP | MTU | loss each way | connections | to the stack | from it | echo |"
          " lost in / out |\n|---|---|---|---|---|---|---|---|---|", flush=True)
    for port, family, mtu, loss, connections in cells(args):
        if args.quick and connections != 10:
            continue
        work = tempfile.mkdtemp(prefix="bypost-matrix-")
        os.chmod(work, 0o755)
        try:
            results, lost = cell(work + "/w", port, family, mtu, loss, connections)
        finally:
            harness.sweep(work)
            shutil.rmtree(work, ignore_errors=True)
        failed += any("FAILED" in r for r in results)
        print(f"| {port} | {family} | {mtu} | {loss} % | {connections} | {' | '.join(results)} |"
              f" {lost['lost_in']} / {lost['lost_out']} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
