# SPDX-License-Identifier: BSD-3-Clause
"""Reading packet scripts: the part of packetdrill's language that our own scripts use.

    TIME < PACKET          a packet arrives        TIME NAME(ARGS) = RESULT [ERRNO]   a call
    TIME > PACKET          and one leaves          TIME %{ PYTHON }%                  TCP_INFO holds
    --so_flags=WORDS       --tolerance_usecs=N           --wrong=TEXT: must fail, and say this
    --remote_ip=ADDRESS    --to_ip=ADDRESS: where what arrives is sent to, not the stack's

TIME is seconds since the start, "+" seconds since the last event, or "+a~+b"."""
import errno
import re

from packet import ECN, FLAGS, Segment, Wrong

TIME = re.compile(r"^(\+?[0-9.]+)(?:~(\+?[0-9.]+))?\s+")
PACKET = re.compile(r"^(?:\[(\w+)\]\s+)?([FSRPUEW.]+|-)\s+(\d+):(\d+)\((\d+)\)"
                    r"(?:\s+ack\s+(\d+))?(?:\s+win\s+(\d+))?(?:\s+urg\s+(\d+))?"
                    r"(?:\s+<([^>]*)>)?\s*$")
ICMP = re.compile(r"^icmp\s+(\w+)(?:\s+(?!mtu\b)(\w+))?(?:\s+mtu\s+(\d+))?"
                  r"\s+\[(\d+):(\d+)\((\d+)\)\]\s*$")
CALL = re.compile(r"^(\w+)\((.*)\)\s*=\s*(-?\w+)(?:\s+(E\w+))?(?:\s+\(.*\))?\s*$", re.S)
CODE = re.compile(r"^%\{(.*)\}%\s*$", re.S)


class Event:
    """kind: in, out, icmp, call, code; what: Segment, or a tuple."""

    def __init__(self, line, time, until, kind, what):
        self.line, self.time, self.until, self.kind, self.what = line, time, until, kind, what


def payload_of(seq, n):
    """What stands at a sequence number: the same octets in both directions."""
    return bytes((seq + i) % 251 for i in range(n))


def parse_option(text):
    words = text.split()
    if words[0] == "TS":
        return ("TS", int(words[2]), int(words[4]))
    if words[0] in ("raw", "kind"):     # octets in hexadecimal; kind: with its length in front
        octets = bytes.fromhex("".join(words[1 if words[0] == "raw" else 2:]))
        if words[0] == "kind":
            octets = bytes([int(words[1]), 2 + len(octets)]) + octets
        return ("raw", octets)
    if words[0] == "sack":
        return ("sack", *(int(v) for pair in words[1:] for v in pair.split(":")))
    return (words[0], *map(int, words[1:]))


def parse_segment(text):
    m = PACKET.match(text)
    if not m:
        raise Wrong(f"no packet: {text}")
    ecn, flags, seq, end, n, ack, window, urgent, options = m.groups()
    if int(seq) + int(n) != int(end):
        raise Wrong(f"{seq} + {n} is not {end}")
    if options == "...":
        parsed = None
    else:
        parsed = [parse_option(o.strip()) for o in options.split(",")] if options else []
    bits = sum(FLAGS[c] for c in flags if c != "-")
    return Segment(bits, int(seq), payload_of(int(seq), int(n)), int(ack or 0),
                   None if window is None else int(window), parsed, int(urgent or 0),
                   ECN[ecn] if ecn else None)


def parse_event(text, line):
    m = TIME.match(text)
    if not m:
        raise Wrong(f"line {line}: no time: {text}")
    rest = text[m.end():]
    if code := CODE.match(rest):
        kind, what = "code", code.group(1).strip()
    elif rest[0] in "<>":
        body = rest[1:].strip()
        if icmp := ICMP.match(body):
            kind, what = "icmp", icmp.groups()
        else:
            kind, what = "in" if rest[0] == "<" else "out", parse_segment(body)
    elif call := CALL.match(rest):
        name, args, result, error = call.groups()
        kind, what = "call", (name, args, result, getattr(errno, error) if error else None)
    else:
        raise Wrong(f"line {line}: not understood: {rest}")
    return Event(line, m.group(1), m.group(2), kind, what)


def parse(text):
    """Returns (settings, events)."""
    settings, events = {}, []
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)
    lines = [re.sub(r"(^|\s)//.*", "", line).rstrip() for line in text.split("\n")]
    number = 0
    while number < len(lines):
        line, first = lines[number].strip(), number + 1
        number += 1
        if line.startswith("--"):
            name, _, value = line[2:].partition("=")
            settings[name] = value.strip("\"")
            continue
        while number < len(lines) and ((line.count("%{") > line.count("}%"))
                                       or line.count("(") > line.count(")")):
            line += "\n" + lines[number].strip()
            number += 1
        if line:
            events.append(parse_event(line, first))
    return settings, events
