# SPDX-License-Identifier: BSD-3-Clause
"""What a comparison is going to measure, in which order, and how long that takes."""

import argparse
import collections
import itertools
import os

from bed import build
from bed.proc import Failure

import rivals
from bench_common import folder
from contest import MTU

SIZES = {"1k": 1000, "10k": 10000, "100k": 100000}
KINDS = ("relay", "accept", "backlog")
# Each value at least once, and the main one, 10 kB in 100 sessions, of each kind.
CELLS = ("relay-10k-100x20", "relay-1k-100x1", "relay-100k-100x20-tls", "relay-1k-1x20-tls",
         "relay-10k-1x1", "backlog-10k-100x20", "accept-10k-100x20", "accept-1k-100x20-tls",
         "accept-100k-1x1", "accept-10k-100x1-tls")
MAIN = "relay-10k-100x20"
SMOKE_CELLS = ("relay-10k-100x20", "backlog-1k-100x20", "accept-10k-100x1-tls")
TARGETS = tuple(name for name, server in rivals.ALL.items() if not server.optional)
DRAIN_SECONDS = 8      # for what is on its way when the source ends
BACKLOG_SECONDS = 20   # in which the backlog is taken; and as long again to be sent
BACKLOG_DRAIN_MIN = 6
STALL_SECONDS = 3      # without a message: what waits is tried again
RAW_SECONDS = 3
PROBE_SECONDS = 3
FIRST_SECONDS = 13     # namespaces, certificates, the machine alone, the table in the end
START_SECONDS = 4      # of a server, empty
MEMIF_SECONDS = 60
PAGES = 700            # bypostd over memif and the source's memory

Cell = collections.namedtuple("Cell", "name kind octets sessions per_connection tls")


def parse_cell(name):
    try:
        kind, size, width, *rest = name.split("-")
        sessions, per_connection = (int(n) for n in width.split("x"))
        if kind not in KINDS or rest not in ([], ["tls"]):
            raise ValueError
        return Cell(name, kind, SIZES[size], sessions, per_connection, bool(rest))
    except (ValueError, KeyError):
        raise Failure(f"no cell: {name}; e.g. " + ", ".join(CELLS))


def all_cells():
    return [f"{kind}-{size}-{sessions}x{per}{tls}" for kind, size, sessions, per, tls in
            itertools.product(KINDS, SIZES, (100, 1), (20, 1), ("", "-tls"))]


def applies(server, cell):
    return (cell.kind == "accept" or server.relays) and (server.tls or not cell.tls)


def order(targets, number):
    """Who has his turn in a round (from 1), beginning with another each time."""
    turn = (number - 1) % len(targets)
    return targets[turn:] + targets[:turn]


def cells_of(args, name, number):
    """What is measured of a target in a round; a backlog once, unless all is wanted."""
    return [c for c in args.cells if applies(rivals.ALL[name], c) and
            (c.kind != "backlog" or number == 1 or args.full)]


def raw_key(cell):
    """Cells with the same one have the same figure of the generator alone."""
    return cell.octets, cell.sessions, cell.per_connection, cell.tls


def slot_seconds(args, cell):
    """One cell of one target, once."""
    return {"relay": args.seconds + args.drain / 2 + 1, "accept": args.seconds + 1,
            "backlog": args.backlog * 1.8}[cell.kind]


def estimate(args):
    """Seconds of all of it."""
    total = FIRST_SECONDS + len({raw_key(c) for c in args.cells}) * (args.raw + 0.5)
    for number in range(1, args.rounds + 1):
        for name in order(args.targets, number):
            total += START_SECONDS + sum(slot_seconds(args, c) for c in cells_of(args, name, number))
    if not args.smoke and MAIN in [c.name for c in args.cells]:
        total += len(args.targets) * (START_SECONDS + args.seconds + 2)
    return total + (MEMIF_SECONDS if has_memif(args) else 0)


def has_memif(args):
    return not args.smoke and "bypost" in args.targets


def options(description, argv=None):
    """The command line; its cells and targets are those of the plan."""
    p = argparse.ArgumentParser(prog="compare", description=description,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", help="build folder, taken as it is (default: build/, brought up to date)")
    p.add_argument("--disk", type=folder, help="folder on the disk to be measured (/tmp, when it is on one)")
    p.add_argument("--out", help="where results go (build/compare)")
    p.add_argument("--cells", help="names, with commas between")
    p.add_argument("--targets", help=",".join(rivals.ALL) + "; without it all but those that are optional")
    p.add_argument("--mtu", type=int, default=MTU, help=f"of the wire ({MTU})")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=8, help="of each measurement, with 1 to warm up")
    p.add_argument("--minutes", type=float, default=27, help="then what is left is left out (27)")
    p.add_argument("--full", action="store_true", help="the whole matrix, however long it takes")
    p.add_argument("--smoke", action="store_true", help="short, to see that it works")
    p.add_argument("--docs", action="store_true",
                   help="write docs/benchmark.md (done anyway when all cells and targets are measured)")
    args = p.parse_args(argv)
    args.built = bool(args.build)
    args.build = os.path.abspath(args.build or build.BUILD)
    chosen = args.cells or args.targets or args.smoke
    args.docs = args.docs or not chosen
    names = args.cells.split(",") if args.cells else \
        all_cells() if args.full else SMOKE_CELLS if args.smoke else CELLS
    args.cells = sorted((parse_cell(n) for n in names),
                        key=lambda c: ("relay", "backlog", "accept").index(c.kind))
    args.targets = args.targets.split(",") if args.targets else list(TARGETS)
    for name in args.targets:
        if name not in rivals.ALL:
            raise Failure(f"no target {name}: " + ", ".join(rivals.ALL))
    args.warm_up, args.drain, args.backlog = 1, DRAIN_SECONDS, BACKLOG_SECONDS
    args.raw, args.probe = RAW_SECONDS, PROBE_SECONDS
    if args.smoke:
        args.seconds, args.warm_up, args.rounds, args.drain, args.backlog = 1.5, 0.3, 1, 3, 2
        args.raw, args.probe, args.minutes = 1, 0.5, 10
    if args.full:
        args.minutes = 1e6
    args.out = os.path.abspath(args.out or os.path.join(build.BUILD, "compare"))
    args.load_before = os.getloadavg()[0]
    return args
