#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""docs/security.md: every case has a test, and every test that it names is there; so has docs/smtp.md,
which names them as `./check --only` takes them.

    security.py ROOT

A test is `file` or `file:name`; the name is a test function, or words of a test's title."""
import glob
import os
import re
import sys

CASES = 43
ROW = re.compile(r"^\| (\d+) \| (.*?) \| (.*?) \| (.*?) \|$", re.M)
NAME = re.compile(r"`([^`]+)`")


def missing(root, name):
    """Why a name stands for nothing; None: it is there."""
    path, _, word = name.partition(":")
    full = os.path.join(root, "tests", path)
    if not os.path.exists(full):
        return f"no file tests/{path}"
    if not word:
        return None
    if os.path.isdir(full):
        return f"{path} is a folder"
    with open(full, encoding="utf-8") as f:
        return None if word in f.read() else f"no {word} in tests/{path}"


def wrong(root, text):
    rows = ROW.findall(text)
    have = [int(row[0]) for row in rows]
    for case in range(1, CASES + 1):
        if have.count(case) != 1:
            yield f"case {case} has {have.count(case)} rows"
    for case, _, _, tests in rows:
        names = NAME.findall(tests)
        if not names and not tests.startswith("not here: "):
            yield f"case {case}: no test"
        for name in names:
            if why := missing(root, name):
                yield f"case {case}: {why}"


GROUP = re.compile(r"`(system|unit|conv|fuzz|lint):([^`]+)`")


def titles(root):
    """Of the system tests."""
    for path in glob.glob(os.path.join(root, "tests/system/test_*.py")):
        with open(path, encoding="utf-8") as f:
            yield from re.findall(r'^@test\("([^"]+)"', f.read(), re.M)


def names(root):
    """group -> the names of its tests as far as files tell them."""
    def stems(pattern):
        return [os.path.splitext(os.path.basename(p))[0] for p in glob.glob(os.path.join(root, pattern))]
    unit = [(os.path.basename(os.path.dirname(p)), os.path.basename(p)[5:-2])
            for p in glob.glob(os.path.join(root, "tests/unit/*/test_*.c"))]
    return {"system": list(titles(root)), "conv": ["smtp_matrix"] + ["smtp_" + s for s in stems("tests/conv/smtp/*.conv")],
            "unit": [n for room, name in unit for n in (name, f"{room}_{name}")],
            "fuzz": stems("tests/fuzz/fuzz_*.c"), "lint": ["lint_" + s for s in stems("tests/lint/*.py")]}


def unknown(root, text):
    known = names(root)
    for group, name in GROUP.findall(text):
        if not any(name in other for other in known[group]):
            yield f"docs/smtp.md: no test of {group} has {name} in its name"


def self_test(root, text):
    """A check that finds nothing must be able to."""
    for before, after in ((r"^\| 7 .*\n", ""), (r"case_07_starttls_state", "case_07_no_such"),
                          (r":test_xtext_hides_nothing", ":test_no_such")):
        mutant = re.sub(before, after, text, count=1, flags=re.M)
        if mutant == text or not list(wrong(root, mutant)):
            sys.exit(f"self-test: {before} was not found out")


def main():
    root = sys.argv[1]
    with open(os.path.join(root, "docs/security.md"), encoding="utf-8") as f:
        text = f.read()
    with open(os.path.join(root, "docs/smtp.md"), encoding="utf-8") as f:
        features = f.read()
    self_test(root, text)
    if len(list(unknown(root, features.replace("`unit:smtp_scram`", "`unit:smtp_no_such`")))) != 1:
        sys.exit("self-test: a test that is not there was not found out")
    findings = ["docs/security.md: " + f for f in wrong(root, text)] + list(unknown(root, features))
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
