# SPDX-License-Identifier: BSD-3-Clause
"""Running suites of meson tests and the tests of whole programs, and reporting each."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from bed import harness, proc
from bed.build import jobs

SANITIZER_ENV = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


def parse_log(path):
    try:
        with open(path) as f:
            return [json.loads(line) for line in f if line.strip()]
    except OSError:
        return []


def list_meson(build_dir, suite):
    """Names of the tests of a suite; introspection says "project:suite"."""
    text = proc.run(proc.as_owner(["meson", "introspect", build_dir, "--tests"]),
                    env=proc.owner_env()).stdout
    return [t["name"] for t in json.loads(text[text.index("["):])
            if suite in [s.rpartition(":")[2] for s in t["suite"]]]


def run_meson(report, build_dir, suite, title=None, env=None, pattern="", multiplier=1,
              test_args=()):
    """Run one suite of a build folder; every test becomes a line of the report."""
    report.group(title or suite)
    logbase = f"check-{suite}"
    log = os.path.join(build_dir, "meson-logs", logbase + ".json")
    if os.path.exists(log):
        os.unlink(log)
    args = ["meson", "test", "-C", build_dir, "--no-rebuild", "--suite", suite, "--logbase",
            logbase, "--num-processes", str(jobs()), "--timeout-multiplier", str(multiplier),
            *(f"--test-args={a}" for a in test_args)]
    names = [name for name in list_meson(build_dir, suite) if pattern in name]
    if pattern:
        args += names
    if not names:
        return
    done = subprocess.run(proc.as_owner(args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          env={**proc.owner_env(), **(env or {})})
    results = parse_log(log)
    if not results:
        report.fail(suite, 0, done.stdout)
    for r in results:
        report_one(report, r)


def report_one(report, r):
    name = r["name"].rpartition(" / ")[2]
    output = r.get("stdout", "") + r.get("stderr", "")
    if r["result"] == "OK":
        report.ok(name, r["duration"], len(re.findall(r"^\[       OK \]", output, re.M)))
    elif r["result"] == "SKIP":
        reason = re.findall(r"^SKIP (\S+)", output, re.M)
        report.skip(name, r["duration"], reason[-1] if reason else None)
    else:
        report.fail(name, r["duration"], f"{output}\n{r['result']}, status {r.get('returncode')}")


def run_programs(report, group, binaries, mutants=None, pattern=""):
    """Run the tests of tests/<group>, each in a process and a folder of its own."""
    report.group(group)
    env = {**os.environ, "BYPOST_BUILD": binaries, "BYPOST_BUILD_MUTANTS": mutants or ""}
    for t in harness.discover(group):
        if pattern in t.name:
            run_program(report, group, t, env)


def run_program(report, group, t, env):
    work = tempfile.mkdtemp(prefix="bypost-check-")
    os.chmod(work, 0o755)
    log = os.path.join(work, "output")
    began = time.monotonic()
    record = None
    try:
        with proc.uninterrupted():
            with open(log, "wb") as out:
                p = subprocess.Popen(
                    [sys.executable, "-m", "bed.harness", group, t.name, work + "/w"],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=proc.ROOT,
                    start_new_session=True)
            record = {"pid": p.pid, "ticks": proc.start_ticks(p.pid)}
        try:
            status = p.wait(t.seconds)
        except subprocess.TimeoutExpired:
            status = f"no end after {t.seconds} s"
        seconds = time.monotonic() - began
        output = proc.tail(log, 200)
        if status == 0:
            report.ok(t.name, seconds)
        elif status == harness.SKIP_STATUS:
            report.skip(t.name, seconds, output.split("SKIP ")[-1].strip())
        else:
            report.fail(t.name, seconds, f"{output}\nstatus: {status}")
    finally:
        if record and p.poll() is None:
            p.send_signal(signal.SIGTERM)
            try:
                p.wait(40)
            except subprocess.TimeoutExpired:
                proc.send(record, signal.SIGKILL)
                p.wait()
        harness.sweep(work)
        proc.remove_tree(work)
