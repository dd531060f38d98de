# SPDX-License-Identifier: BSD-3-Clause
"""TRex ASTF profile: SMTP sessions, each with some messages.  README.md beside it tells how to run it.

The client's program waits for a reply before it says the next thing, as one that does not pipeline;
TRex counts octets and does not read them, so a reply is "at least four octets since the last one".
The server's program answers as a mail server does, for runs without one (TRex at both ends)."""

import argparse

from trex.astf.api import (ASTFAssociationRule, ASTFIPGen, ASTFIPGenDist, ASTFIPGenGlobal,
                           ASTFProfile, ASTFProgram, ASTFTCPClientTemplate, ASTFTCPServerTemplate,
                           ASTFTemplate)

REPLY_MIN = 4  # "250 "
LINE = 76


def content(octets, sender, recipient):
    """Header and body, dot-stuffed, with the end of data: lines that begin with a dot are doubled."""
    head = (f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: TRex\r\n"
            "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@trex.example.org>\r\n\r\n")
    lines = []
    while octets > 0:
        n = min(LINE, max(octets - 2, 0))
        lines.append("." + "x" * (n - 1) if n and len(lines) % 8 == 0 else "x" * n)
        octets -= n + 2
    stuffed = "".join(("." if line.startswith(".") else "") + line + "\r\n" for line in lines)
    return head + stuffed + ".\r\n"


def dialogue(args):
    """[(what the client says, what a server answers)], the greeting first."""
    steps = [("", "220 server.example.net ESMTP\r\n"),
             (f"EHLO {args.hello}\r\n", "250-server.example.net\r\n250 8BITMIME\r\n")]
    for _ in range(args.messages):
        steps += [(f"MAIL FROM:<{args.sender}>\r\n", "250 2.1.0 Ok\r\n"),
                  (f"RCPT TO:<{args.recipient}>\r\n", "250 2.1.5 Ok\r\n"),
                  ("DATA\r\n", "354 Go ahead\r\n"),
                  (content(args.octets, args.sender, args.recipient), "250 2.0.0 Ok\r\n")]
    return steps + [("QUIT\r\n", "221 2.0.0 Bye\r\n")]


class Smtp:
    def arguments(self, tunables):
        p = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
        p.add_argument("--octets", type=int, default=10000, help="of body (10000)")
        p.add_argument("--messages", type=int, default=1, help="of a connection (1)")
        p.add_argument("--cps", type=float, default=100, help="new connections a second (100)")
        p.add_argument("--limit", type=int, default=0, help="connections at a time (0: no limit)")
        p.add_argument("--port", type=int, default=25)
        p.add_argument("--hello", default="trex.example.org")
        p.add_argument("--sender", default="source@bench.example.org")
        p.add_argument("--recipient", default="sink@bench.example.net")
        p.add_argument("--clients", default="198.18.0.10-198.18.0.250", help="addresses, FIRST-LAST")
        p.add_argument("--servers", default="198.18.0.2-198.18.0.2")
        return p.parse_args(tunables)

    def client(self, steps):
        program = ASTFProgram()
        for said, _ in steps:
            if said:
                program.send(said)
            program.recv(REPLY_MIN, True)
        return program

    def server(self, steps):
        program = ASTFProgram()
        for said, answer in steps:
            if said:
                program.recv(len(said), True)
            program.send(answer)
        return program

    def addresses(self, args):
        clients, servers = args.clients.split("-"), args.servers.split("-")
        return ASTFIPGen(glob=ASTFIPGenGlobal(ip_offset="0.0.1.0"),
                         dist_client=ASTFIPGenDist(ip_range=clients, distribution="seq"),
                         dist_server=ASTFIPGenDist(ip_range=servers, distribution="seq"))

    def get_profile(self, tunables=(), **kwargs):
        args = self.arguments(list(tunables))
        steps, ip_gen = dialogue(args), self.addresses(args)
        limit = {"limit": args.limit} if args.limit else {}
        template = ASTFTemplate(
            client_template=ASTFTCPClientTemplate(program=self.client(steps), ip_gen=ip_gen,
                                                  port=args.port, cps=args.cps, **limit),
            server_template=ASTFTCPServerTemplate(program=self.server(steps),
                                                  assoc=ASTFAssociationRule(port=args.port)))
        return ASTFProfile(default_ip_gen=ip_gen, templates=template)


def register():
    return Smtp()
