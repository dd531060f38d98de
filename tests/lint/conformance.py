#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""docs/conformance.md: what its tables name is there, and what it counts is so.

    conformance.py ROOT

A row of RFC 9293's table that is met names a function of a file in dataplane/ and what shows it: a
packet script, `matrix`, or a test or fuzzer."""
import glob
import os
import re
import sys

ROW = re.compile(r"^\| ((?:MUST|SHLD|REC)-\d+) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", re.M)
NAME = re.compile(r"`([^`]+)`")


def function_missing(root, where):
    """Why "`file` function" names nothing; None: it is there."""
    match = re.fullmatch(r"`(\S+)` (\S+)", where)
    if not match:
        return f'"{where}" is no `file` and function'
    path = os.path.join(root, "dataplane", match.group(1))
    if not os.path.exists(path):
        return f"no file dataplane/{match.group(1)}"
    with open(path) as f:
        if not re.search(rf"\b{re.escape(match.group(2))}\(", f.read()):
            return f"no function {match.group(2)} in {match.group(1)}"
    return None


def shown(root, name):
    scripts = os.path.join(root, "tests/packetdrill/scripts")
    if name == "matrix" or os.path.exists(os.path.join(scripts, name + ".pkt")):
        return True
    return bool(glob.glob(os.path.join(root, "tests/**", name + ".*"), recursive=True))


def row_wrong(root, ident, met, where, by):
    if met.startswith("yes"):
        if where and (why := function_missing(root, where)):
            yield f"{ident}: {why}"
        if not NAME.findall(by):
            yield f"{ident}: nothing shows it"
    elif not met.startswith(("no", "partly")):
        yield f'{ident}: "{met}"'
    for name in NAME.findall(by):
        if not shown(root, name):
            yield f"{ident}: no script or test {name}"


def counts_wrong(root, text, rows):
    met = [r[2].split(":")[0] for r in rows]
    say = f"{met.count('yes')} met, {met.count('partly')} partly, {met.count('no')} not"
    if say not in text:
        yield f"it is {say}"
    scripts = len(glob.glob(os.path.join(root, "tests/packetdrill/scripts/*/*.pkt")))
    if f"{scripts} scripts" not in text:
        yield f"there are {scripts} scripts"
    double = {r[0] for r in rows if sum(o[0] == r[0] for o in rows) > 1}
    yield from (f"{ident} stands twice" for ident in sorted(double))


MUTANTS = [
    ("yes", "`tcp_in.c` tcp_input_not", "`matrix`"), ("yes", "`tcp_not.c` tcp_input", "`matrix`"),
    ("yes", "tcp_in.c", "`matrix`"), ("yes", "`tcp_in.c` tcp_input", "`data/not`"),
    ("yes", "`tcp_in.c` tcp_input", ""), ("perhaps", "", ""),
]


def main():
    root = sys.argv[1]
    for mutant in MUTANTS:
        if not list(row_wrong(root, "mutant", *mutant)):
            print("not found:", mutant)
            return True
    with open(os.path.join(root, "docs/conformance.md")) as f:
        text = f.read()
    rows = ROW.findall(text)
    wrong = [w for r in rows for w in row_wrong(root, r[0], *r[2:])]
    wrong += counts_wrong(root, text, rows)
    if len(rows) < 100:
        wrong.append(f"only {len(rows)} rows of RFC 9293")
    for w in wrong:
        print("docs/conformance.md:", w)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
