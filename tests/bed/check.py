# SPDX-License-Identifier: BSD-3-Clause
"""./check after the machine has been prepared."""

import argparse
import os
import sys
import time

from bed import build, harness, mailservers, peers, proc, suites
from bed.proc import Failure, say
from bed.report import Report

CHECK = os.path.join(build.BUILD, "check")
GCC, CLANG, MUTANTS = (os.path.join(CHECK, d) for d in ("gcc", "clang", "mutants"))
FUZZ_SECONDS = "4"

# name, what it is, function(report, pattern)
GROUPS = [
    ("build", "gcc, clang with ASan, UBSan and fuzzers (warnings are errors), and the mutants"),
    ("unit", "parsers and tables, each alone"),
    ("lint", "layers, places, format"),
    ("sim", "stacks on a seeded wire"),
    ("packet", "scripts of packets that arrive and leave, for each rule of the RFCs"),
    ("conv", "scripted SMTP, POP3 and IMAP dialogues"),
    ("model", "the store against a model"),
    ("asan", "unit, packet, conv, model and a tenth of sim under ASan and UBSan"),
    ("fuzz", "libFuzzer, seconds each"),
    ("system", "the real bypostd against real clients and servers"),
    ("crash", "kill -9 under load, and the mutant"),
    ("bench", "the programs that measure, for seconds and without thresholds"),
]


def step(report, name, function):
    began = time.monotonic()
    try:
        function()
    except Failure as e:
        report.fail(name, time.monotonic() - began, str(e))
        return
    report.ok(name, time.monotonic() - began)


def build_gcc():
    build.configure(GCC, ["-Dwerror=true"], cc="gcc")
    build.ninja(GCC)


def build_clang():
    build.configure(CLANG, ["-Dwerror=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                            "-Dfuzzers=true"], cc="clang")
    build.ninja(CLANG)


def build_mutants():
    build.configure(MUTANTS, ["-Dmutants=true"], cc="gcc")
    build.ninja(MUTANTS, [build.DAEMON, build.CTL])


def group_build(report, _pattern):
    report.group("build")
    step(report, "gcc without warnings", build_gcc)
    step(report, "clang without warnings, with ASan, UBSan and fuzzers", build_clang)
    step(report, "gcc with mutants", build_mutants)
    step(report, "peers unpacked", peers.prepare)
    step(report, "mail servers unpacked", mailservers.prepare)


def group_asan(report, pattern):
    # The last --seeds counts: a tenth of what the plain build runs.
    for suite, test_args in (("unit", ()), ("packet", ()), ("conv", ()), ("model", ()),
                             ("sim", ("--seeds 200",))):
        suites.run_meson(report, CLANG, suite, f"asan {suite}", env=suites.SANITIZER_ENV,
                         pattern=pattern, multiplier=5, test_args=test_args)


def group_fuzz(report, pattern):
    artifacts = os.path.join(CHECK, "fuzz")
    build.make_dir(artifacts)
    suites.run_meson(report, CLANG, "fuzz", pattern=pattern, env={
        **suites.SANITIZER_ENV, "FUZZ_SECONDS": FUZZ_SECONDS, "FUZZ_ARTIFACTS": artifacts + "/"})


def run_group(report, name, pattern):
    special = {"build": group_build, "asan": group_asan, "fuzz": group_fuzz}
    if name in special:
        special[name](report, pattern)
    elif name in harness.MODULES:
        suites.run_programs(report, name, GCC, MUTANTS, pattern)
    else:
        suites.run_meson(report, GCC, name, pattern=pattern)


def show_list():
    for name, text in GROUPS:
        say(f"{name:<8} {text}")
        if name in harness.MODULES:
            for t in harness.discover(name):
                say(f"           {t.name}")


def build_needed(chosen):
    """A group that is run alone builds what it needs, quietly."""
    needs = {"asan": [build_clang], "fuzz": [build_clang], "crash": [build_gcc, build_mutants]}
    for name, _ in chosen:
        for function in needs.get(name, [build_gcc]):
            function()
    if any(name in harness.MODULES for name, _ in chosen):
        peers.prepare()
        mailservers.prepare()


def main():
    p = argparse.ArgumentParser(prog="check")
    p.add_argument("--strict", action="store_true")
    p.add_argument("--only", action="append", metavar="GROUP", default=[])
    p.add_argument("--list", action="store_true")
    args = p.parse_args()
    if args.list:
        show_list()
        return 0
    chosen = [tuple(o.partition(":")[::2]) for o in args.only] or [(g, "") for g, _ in GROUPS]
    for name, _ in chosen:
        if name not in dict(GROUPS):
            p.error(f"no group {name}: " + ", ".join(g for g, _ in GROUPS))
    proc.interruptible()
    report = Report(args.strict)
    if "build" not in [name for name, _ in chosen]:
        build_needed(chosen)
    for name, pattern in chosen:
        run_group(report, name, pattern)
        if name == "build" and report.failed:
            break
    return report.close()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as e:
        sys.exit(f"check: {e}")
