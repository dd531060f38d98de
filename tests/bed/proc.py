# SPDX-License-Identifier: BSD-3-Clause
"""Running other programs: once to the end, or in the background with a record that survives us.

A record holds the process id and its start time, so that a recycled id is never signalled."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLONE_NEWNET = 0x40000000


class Failure(Exception):
    """Something the user should read; no traceback is shown."""


def say(text=""):
    print(text, flush=True)


def tail(path, lines=15):
    try:
        with open(path, errors="replace") as f:
            return "".join(f.readlines()[-lines:])
    except OSError:
        return ""


def run(args, check=True, timeout=120, text=True, **kwargs):
    """Run to the end with output captured (stderr follows stdout)."""
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    if "input" in kwargs:
        del kwargs["stdin"]
    try:
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=text,
                              timeout=timeout, **kwargs)
    except FileNotFoundError:
        raise Failure(f"program not found: {args[0]}")
    except subprocess.TimeoutExpired as e:
        raise Failure(f"no end after {timeout} s: {' '.join(args)}\n{e.output or ''}")
    if check and done.returncode != 0:
        raise Failure(f"exit {done.returncode}: {' '.join(args)}\n{done.stdout}")
    return done


def start_ticks(pid):
    """Start time of a process in clock ticks since boot, or None when there is none (or a zombie).
    A first thread that has ended does not end the process."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            rest = f.read().rpartition(")")[2].split()
        ended = rest[0] in "ZX" and len(os.listdir(f"/proc/{pid}/task")) < 2
    except OSError:
        return None
    return None if ended else int(rest[19])


def cpu_seconds(pid):
    """CPU time a process has used in all its threads."""
    with open(f"/proc/{pid}/stat") as f:
        rest = f.read().rpartition(")")[2].split()
    return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


def start(args, log, env=None, cwd=None):
    """Start in a session of its own, output to the file log.  Returns the record."""
    with open(log, "ab") as out:
        p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                             env=env, start_new_session=True)
    _children[p.pid] = p
    return {"pid": p.pid, "ticks": start_ticks(p.pid), "name": os.path.basename(args[0])}


_children = {}


def exit_status(record):
    """Exit status of a child of ours that has ended; None while it runs or when it is not ours."""
    p = _children.get(record["pid"])
    return p.poll() if p else None


def alive(record):
    if record is None:
        return False
    if record["pid"] in _children and exit_status(record) is None:
        return True
    return record["ticks"] is not None and start_ticks(record["pid"]) == record["ticks"]


def open_files(pid):
    """(device, inode) of what the process has open; empty when it is gone.  Names would not do: they
    depend on the mount namespace, and `ip netns exec` makes one."""
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                status = os.stat(f"/proc/{pid}/fd/{fd}")
                found.add((status.st_dev, status.st_ino))
    return found


def send(record, signo):
    """Signal the process and what it started; nothing happens if it is gone."""
    if not alive(record):
        return
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(record["pid"]) == record["pid"]:
            os.killpg(record["pid"], signo)
        else:
            os.kill(record["pid"], signo)


def wait_end(record, seconds):
    deadline = time.monotonic() + seconds
    while alive(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def stop(record, seconds=10):
    """End it politely, then not.  True if it went by itself."""
    send(record, signal.SIGTERM)
    if wait_end(record, seconds):
        return True
    send(record, signal.SIGKILL)
    wait_end(record, 5)
    return False


def wait_for(what, condition, seconds=15, step=0.05):
    """Wait until condition() is true and return its value; a Failure says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain for {what}")
        time.sleep(step)


@contextlib.contextmanager
def inside(namespace):
    """Sockets made in this thread in the block belong to the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            if libc.setns(home, CLONE_NEWNET) != 0:
                os._exit(70)
    finally:
        os.close(home)
        os.close(there)


_shield = {"depth": 0, "pending": None, "owner": None}


def _on_signal(signo, _frame):
    if os.getpid() != _shield["owner"]:
        os._exit(128 + signo)  # a child of ours by fork: cleaning up is not its business
    if _shield["depth"]:
        _shield["pending"] = signo
    else:
        _leave(signo)


def _leave(signo):
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + signo)


def interruptible():
    """Ctrl-C, SIGTERM and SIGHUP end the program through every finally, and only once."""
    _shield["owner"] = os.getpid()
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, _on_signal)


@contextlib.contextmanager
def uninterrupted():
    """What has been started is written down before a signal is acted upon."""
    _shield["depth"] += 1
    try:
        yield
    finally:
        _shield["depth"] -= 1
        if _shield["pending"] and not _shield["depth"]:
            signo, _shield["pending"] = _shield["pending"], None
            _leave(signo)


def owner():
    """(uid, gid) of the clone."""
    st = os.stat(ROOT)
    return st.st_uid, st.st_gid


def as_owner(args):
    """The command, to be run as the owner of the clone: what is built stays his."""
    uid, gid = owner()
    if os.geteuid() != 0 or uid == 0:
        return args
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *args]


def owner_env():
    """Environment for commands run as the owner."""
    env = dict(os.environ)
    uid, _ = owner()
    if os.geteuid() == 0 and uid != 0:
        env["HOME"] = ROOT + "/build"
        env.pop("XDG_RUNTIME_DIR", None)
        env.pop("XDG_CACHE_HOME", None)
    return env


def remove_tree(path):
    shutil.rmtree(path, ignore_errors=True)
