# SPDX-License-Identifier: BSD-3-Clause
"""Servers of other people's making: Postfix's smtp-sink, NSD, and radvd.

Their packages are downloaded and unpacked into build/peers, never installed: installing would start
them on the host and push its own mail server out.  Libraries the host lacks come the same way."""

import glob
import os
import re

from bed.build import BUILD, make_dir
from bed.proc import Failure, as_owner, owner_env, run

PEERS = os.path.join(BUILD, "peers")
TREE = os.path.join(PEERS, "root")
PROGRAMS = {"smtp-sink": ("postfix", "usr/sbin/smtp-sink"), "nsd": ("nsd", "usr/sbin/nsd"),
            "radvd": ("radvd", "usr/sbin/radvd")}
# Package of a shared library that may be missing on a small host.
LIBRARIES = {
    "libprotobuf-c.so.1": "libprotobuf-c1", "libfstrm.so.0": "libfstrm0",
    "libevent-2.1.so.7": "libevent-2.1-7", "libicuuc.so.72": "libicu72",
    "libicudata.so.72": "libicu72", "libicui18n.so.72": "libicu72", "libdb-5.3.so": "libdb5.3",
    "libnsl.so.2": "libnsl2", "libtirpc.so.3": "libtirpc3", "libsasl2.so.2": "libsasl2-2",
    "libldns.so.3": "libldns3", "libdovecot.so.0": "dovecot-core",
    "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3",
}


def environment():
    """What the unpacked programs need to find their libraries."""
    found = glob.glob(TREE + "/usr/lib/*-linux-gnu") + [TREE + "/usr/lib/postfix",
                                                               TREE + "/usr/lib/dovecot"]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(found)}


def path(name):
    return os.path.join(TREE, PROGRAMS[name][1])


def unpack(package):
    """Download one package into the cache, unless it is there, and unpack it."""
    cached = glob.glob(f"{PEERS}/{package}_*.deb")
    if not cached:
        try:
            download(package)
        except Failure:
            # Package lists older than the archive, or none at all.
            run(["apt-get", "-q", "update"], timeout=300)
            download(package)
        cached = glob.glob(f"{PEERS}/{package}_*.deb")
    run(as_owner(["dpkg-deb", "-x", cached[0], TREE]))


def download(package):
    # As the owner: root's download would be handed to user _apt, who cannot write here.
    run(as_owner(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]),
        cwd=PEERS, timeout=300, env=owner_env())


def missing_libraries(program):
    done = run(["ldd", program], env=environment())
    return re.findall(r"^\s*(\S+) => not found", done.stdout, re.M)


def prepare_program(name, package, place):
    """Unpack one program, and what libraries it lacks."""
    make_dir(TREE)
    program = os.path.join(TREE, place)
    if not os.path.exists(program):
        unpack(package)
    for _ in range(len(LIBRARIES)):
        missing = missing_libraries(program)
        if not missing:
            return
        if missing[0] not in LIBRARIES:
            raise Failure(f"{name} needs {missing[0]}, which this machine lacks: "
                          f"install the package that holds it")
        unpack(LIBRARIES[missing[0]])
    raise Failure(f"{name} does not find its libraries: {missing}")


def prepare():
    """Make every peer runnable.  No network is used once they are there."""
    for name, (package, place) in PROGRAMS.items():
        prepare_program(name, package, place)


def ready():
    return all(os.path.exists(path(name)) and not missing_libraries(path(name))
               for name in PROGRAMS)
