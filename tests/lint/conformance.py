#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The table of RFC 9293's requirements in docs/conformance.md is whole and true as far as a program
can see: every MUST and SHLD stands in it once, the functions it names are in the files it names, and
the tests exist.  What is met says where and by what it is shown."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENT = "docs/conformance.md"
MUST_N, SHLD_N = 69, 31  # RFC 9293 appendix B
STATUS = ("yes", "partly", "no")
ROW = re.compile(r"^\| ((?:MUST|SHLD|REC)-\d+) \|(.*)\|\s*$", re.M)
WHERE = re.compile(r"`([\w/]+\.c)` (\w+)")
SCRIPTS = os.path.join(ROOT, "tests/packetdrill/scripts")


def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def source_text(name):
    """Of a file of the stack; None: there is none."""
    for folder in ("dataplane", "delivery", "smtp"):
        if os.path.isfile(os.path.join(ROOT, folder, name)):
            return read(os.path.join(folder, name))
    return None


def test_exists(name):
    if name == "matrix":
        return os.path.isfile(os.path.join(ROOT, "tests/packetdrill/matrix.py"))
    if "/" in name:
        return os.path.isfile(os.path.join(SCRIPTS, name + ".pkt"))
    return any(os.path.splitext(f)[0] == name
               for _, _, files in os.walk(os.path.join(ROOT, "tests")) for f in files)


def check_row(name, cells):
    if len(cells) != 4:
        return [f"{name}: {len(cells) + 1} cells"]
    _, status, where, shown = cells
    wrong = []
    if status.split(":")[0] not in STATUS:
        wrong.append(f"{name}: status {status}")
    places, tests = WHERE.findall(where), re.findall(r"`([\w/-]+)`", shown)
    if status.startswith("yes") and not tests and "never" not in status:
        wrong.append(f"{name}: met, but shown by nothing")
    for file, function in places:
        text = source_text(file)
        if text is None or not re.search(rf"\b{function}\(", text):
            wrong.append(f"{name}: no {function}() in {file}")
    wrong += [f"{name}: no test {t}" for t in tests if not test_exists(t)]
    return wrong


def check(text):
    rows = [(m.group(1), [c.strip() for c in m.group(2).split("|")]) for m in ROW.finditer(text)]
    wrong = [w for name, cells in rows for w in check_row(name, cells)]
    names = [name for name, _ in rows]
    wanted = [f"MUST-{i}" for i in range(1, MUST_N + 1)] + [f"SHLD-{i}" for i in range(1, SHLD_N + 1)]
    wrong += [f"{name} is missing" for name in wanted if name not in names]
    wrong += [f"{name} stands twice" for name in set(names) if names.count(name) > 1]
    return wrong


def mutants(text):
    """Each must be found."""
    yield text.replace("| MUST-13 |", "| MUST-130 |")
    yield text.replace("| MUST-13 |", "| MUST-12 |")
    yield text.replace("` tcp_tw_add", "` tcp_tw_gone")
    yield text.replace("`tcp_tw.c`", "`tcp_tv.c`")
    yield text.replace("`close/time-wait-ends`", "`close/time-wait-starts`")
    yield text.replace("`close/time-wait-ends`", "")
    yield text.replace("| yes |", "| maybe |", 1)


def main():
    text = read(DOCUMENT)
    for mutant in mutants(text):
        if mutant == text or not check(mutant):
            print("a mutant is not found")
            return 1
    for line in (wrong := check(text)):
        print(f"{DOCUMENT}: {line}")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
