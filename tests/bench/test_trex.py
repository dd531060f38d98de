# SPDX-License-Identifier: BSD-3-Clause
"""The profile for TRex, without TRex: a stand-in for its Python module keeps what the programs send and
wait for, and a small interpreter says it to bypostd."""

import importlib.util
import os
import poplib
import socket
import sys
import types

from bed import proc
from bed.bed import Bed
from bed.harness import equal, expect, test

PROFILE = os.path.join(proc.ROOT, "bench", "trex", "smtp.py")
NAMES = ("ASTFAssociationRule", "ASTFIPGen", "ASTFIPGenDist", "ASTFIPGenGlobal", "ASTFProfile",
         "ASTFTCPClientTemplate", "ASTFTCPServerTemplate", "ASTFTemplate")


class Kept:
    """Any object of the module: keeps its arguments."""

    def __init__(self, **kwargs):
        self.__dict__.update(kwargs)


class Program:
    """ASTFProgram: steps ("send", octets) and ("recv", at least, clear)."""

    def __init__(self):
        self.steps = []

    def send(self, text):
        self.steps.append(("send", text.encode("ascii")))

    def recv(self, octets, clear=False):
        self.steps.append(("recv", octets, clear))


def load(*tunables):
    """The profile, made with these tunables."""
    api = types.ModuleType("trex.astf.api")
    for name in NAMES:
        setattr(api, name, type(name, (Kept,), {}))
    api.ASTFProgram = Program
    modules = {"trex": types.ModuleType("trex"), "trex.astf": types.ModuleType("trex.astf"),
               "trex.astf.api": api}
    sys.modules.update(modules)
    try:
        spec = importlib.util.spec_from_file_location("trex_smtp", PROFILE)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.register().get_profile(list(tunables))
    finally:
        for name in modules:
            del sys.modules[name]


def play(steps, connection):
    """As TRex does: octets are counted, not read.  Returns what came."""
    came, counted = b"", 0
    for step in steps:
        if step[0] == "send":
            connection.sendall(step[1])
            continue
        while counted < step[1]:
            octets = connection.recv(65536)
            if not octets:
                raise AssertionError(f"the other end has closed after {came!r}")
            came, counted = came + octets, counted + len(octets)
        counted = 0 if step[2] else counted - step[1]
    return came


@test("trex: the profile's conversation, said to bypostd", seconds=60)
def replay(work):
    with Bed(work + "/bed", sink=False) as bed:
        profile = load("--messages", "3", "--octets", "5000", "--recipient", bed.user1)
        steps = profile.templates.client_template.program.steps
        equal(profile.templates.client_template.port, 25, "port")
        with proc.inside(bed.ns), socket.create_connection((bed.relay, 25), 10) as s:
            s.settimeout(10)
            came = play(steps, s)
        codes = [line[:3] for line in came.decode().splitlines() if line[3:4] == " "]
        equal(codes, ["220", "250"] + ["250", "250", "354", "250"] * 3 + ["221"], "replies")
        with proc.inside(bed.ns):
            pop = poplib.POP3(bed.relay, 110, timeout=10)
        pop.user(bed.user1)
        pop.pass_(bed.pass1)
        n = pop.stat()[0]
        equal(n, 3, "messages in the mailbox")
        body = b"\r\n".join(pop.retr(1)[1]).partition(b"\r\n\r\n")[2] + b"\r\n"
        pop.quit()
        equal(len(body), 5000, "octets of the body")


@test("trex: client and server of the profile, at each other", seconds=30)
def both(_work):
    profile = load("--messages", "2", "--octets", "777")
    client = profile.templates.client_template.program.steps
    server = profile.templates.server_template.program.steps
    sent = {"client": sum(len(s[1]) for s in client if s[0] == "send"),
            "server": sum(len(s[1]) for s in server if s[0] == "send")}
    expected = sum(s[1] for s in server if s[0] == "recv")
    equal(expected, sent["client"], "octets that the server waits for, and that come")
    equal(sum(1 for s in client if s[0] == "recv"), sum(1 for s in server if s[0] == "send"),
          "replies waited for, and sent")
    body = next(s[1] for s in client if s[0] == "send" and b"Subject" in s[1])
    expect(body.endswith(b"\r\n.\r\n"), "no end of data")
    lines = body.split(b"\r\n")
    expect(all(line.startswith(b"..") for line in lines[:-2] if line.startswith(b".")),
           "a line with a dot in front is not doubled")
