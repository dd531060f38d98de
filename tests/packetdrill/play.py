#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Play our own packet scripts, for IPv4 and IPv6:  play.py LIBRARY PATH...  [--words W]

PATH is a script or a folder, or "matrix" for those that matrix.py makes; a name that ends in "v4" or
"v6" runs for that family only.  The scripts run in packetdrill as well (tests/packetdrill/run)."""
import argparse
import ctypes
import os
import sys
import traceback

import matrix
from packet import Wrong
from player import Player
from script import parse


def find(paths):
    """(name, text) of each script."""
    for path in paths:
        if path == "matrix":
            yield from matrix.scripts()
        elif os.path.isfile(path):
            with open(path) as f:
                yield os.path.basename(path), f.read()
        else:
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(n for n in names if n.endswith(".pkt")):
                    full = os.path.join(folder, name)
                    with open(full) as f:
                        yield os.path.relpath(full, path), f.read()


def play(library, text, family, words):
    """Returns None or what was wrong.  A script that is wrong on purpose says how (--wrong=TEXT);
    it is played to show that the player finds that."""
    found = None
    settings, events = {}, []
    try:
        settings, events = parse(text)
        Player(library, settings, events, family, words).play()
    except Wrong as e:
        found = str(e)
    except Exception:
        return traceback.format_exc()
    wrong = settings.get("wrong")
    if wrong:
        return None if found and wrong in found else f"\"{wrong}\" not found, but: {found}"
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--words", default="", help="more words of --so_flags")
    p.add_argument("--family", type=int, choices=(4, 6), nargs="+", default=[4, 6])
    p.add_argument("--verbose", action="store_true")
    p.add_argument("library")
    p.add_argument("paths", nargs="+")
    args = p.parse_args()
    library = ctypes.CDLL(args.library)
    passed = failed = 0
    for name, text in find(args.paths):
        for family in args.family:
            if name.removesuffix(".pkt").endswith(f"v{10 - family}"):
                continue
            wrong = play(library, text, family, args.words)
            passed += wrong is None
            failed += wrong is not None
            if wrong or args.verbose:
                print(f"{'failed' if wrong else 'passed'} IPv{family} {name}: {wrong or ''}",
                      flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
