# SPDX-License-Identifier: BSD-3-Clause
"""Building with meson and ninja, as the owner of the clone."""

import os
import subprocess

from bed.proc import ROOT, Failure, as_owner, owner_env, run

BUILD = os.path.join(ROOT, "build")
DAEMON = "store/control/bypostd"
CTL = "store/ctl/bypostctl"


def make_dir(path):
    """A directory that belongs to the owner of the clone."""
    run(as_owner(["mkdir", "-p", path]))


def jobs():
    return len(os.sched_getaffinity(0))


def configure(path, options=(), cc=None):
    """meson setup, unless the folder is set up; changed options are taken over."""
    env = owner_env()
    if cc:
        env["CC"] = cc
    make_dir(os.path.dirname(path))
    if not os.path.exists(os.path.join(path, "build.ninja")):
        run(as_owner(["meson", "setup", path, ROOT, *options]), env=env, timeout=300)


def ninja(path, targets=(), log=None):
    """Build; the compiler's output goes to log.  A Failure shows its end."""
    args = as_owner(["ninja", "-C", path, "-j", str(jobs()), *targets])
    done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env=owner_env(), cwd=ROOT)
    if log:
        with open(log, "w") as f:
            f.write(done.stdout)
    if done.returncode != 0:
        failed = [i for i, line in enumerate(done.stdout.splitlines()) if line.startswith("FAILED")]
        lines = done.stdout.splitlines()[failed[0] if failed else -30:]
        raise Failure("the build failed:\n" + "\n".join(lines[:40]))


def program(path, name):
    full = os.path.join(path, name)
    if not os.path.exists(full):
        raise Failure(f"not built: {full}")
    return full
