# SPDX-License-Identifier: BSD-3-Clause
"""./quickstart after the machine has been prepared."""

import argparse
import os
import shutil
import sys
import tempfile
import time

from bed import bed as beds
from bed import build, demo, peers, proc
from bed.proc import Failure, say


def parse():
    p = argparse.ArgumentParser(prog="quickstart", add_help=False)
    p.add_argument("--port", choices=beds.PORTS, default="tap")
    p.add_argument("--layout", choices=beds.LAYOUTS, default="one")
    p.add_argument("--no-sink", action="store_true")
    p.add_argument("--bed", metavar="DIR")
    action = p.add_mutually_exclusive_group()
    for name in ("--stay", "--restart", "--stop"):
        action.add_argument(name, action="store_true")
    args = p.parse_args()
    if (args.stay or args.restart or args.stop) and not args.bed:
        p.error("--bed DIR is missing")
    if args.bed:
        if not (args.stay or args.restart or args.stop):
            p.error("--bed goes with --stay, --restart or --stop")
        args.given = args.bed
        args.bed = os.path.join(os.environ.get("BYPOST_CALLER_DIR", os.getcwd()), args.bed)
    return args


def prepare():
    """Build, and unpack the peers."""
    first = not os.path.exists(os.path.join(build.BUILD, build.DAEMON))
    say("Building ..." if first else "Building what changed ...")
    build.configure(build.BUILD)
    build.ninja(build.BUILD, [build.DAEMON, build.CTL])
    if not peers.ready():
        say("Unpacking a mail server and a DNS server to talk to (nothing is installed) ...")
        peers.prepare()


def show(args):
    """The demonstration: everything is gone afterwards; after a failure only logs stay."""
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="bypost-quickstart-")
    bed = beds.Bed(folder, args.port, args.layout, sink=not args.no_sink)
    keep = True
    try:
        say(f"Starting bypostd on a DPDK {args.port} port, NSD and Postfix's smtp-sink in network "
            f"namespace {bed.ns} ...\n")
        bed.start()
        run = demo.Demo(bed)
        run.run()
        keep = False
    except Failure as e:
        say(f"\nThis went wrong: {e}")
        raise Failure(f"Logs and configuration are in {folder}")
    except SystemExit:
        keep = False
        raise
    finally:
        bed.stop()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    say(f"All {len(run.shown)} parts worked in {time.monotonic() - began:.0f} s: "
        + "; ".join(run.shown) + ".")
    say("Namespaces, interfaces and processes are gone. For a relay that stays: "
        "sudo ./quickstart --stay --bed DIR")


def stay(args):
    bed = beds.Bed(args.bed, args.port, args.layout, sink=not args.no_sink)
    bed.start()
    demo.commands(bed, args.given)


def main():
    args = parse()
    proc.interruptible()
    if args.stop:
        beds.Bed.load(args.bed).stop()
        say("Stopped; logs, store and mail stay in " + args.bed)
    elif args.restart:
        beds.Bed.load(args.bed).restart()
        say("Restarted.")
    else:
        prepare()
        (stay if args.stay else show)(args)


if __name__ == "__main__":
    try:
        main()
    except Failure as e:
        sys.exit(f"quickstart: {e}")
