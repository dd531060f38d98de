# SPDX-License-Identifier: BSD-3-Clause
"""Reading capture files, independently of who wrote them."""

import socket
import struct

NANOSECONDS = 0xa1b23c4d
ETHERNET = 1


class Segment:
    """A TCP segment over IPv4 in an Ethernet frame."""

    def __init__(self, frame):
        ip = frame[14:]
        header = (ip[0] & 15) * 4
        total = struct.unpack("!H", ip[2:4])[0]
        self.source, self.target = socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20])
        tcp = ip[header:total]
        self.sport, self.dport, self.seq, self.ack = struct.unpack("!HHII", tcp[:12])
        self.flags = tcp[13]
        self.payload = tcp[(tcp[12] >> 4) * 4:]


def read(path):
    """(seconds, octets of the frame on the wire, what was kept of it) of each packet."""
    with open(path, "rb") as f:
        data = f.read()
    magic, major, minor, _, _, snap, link = struct.unpack("<IHHiIII", data[:24])
    if (magic, major, minor, link) != (NANOSECONDS, 2, 4, ETHERNET):
        raise AssertionError(f"not a capture with nanoseconds: {data[:24]!r}")
    at, packets = 24, []
    while at < len(data):
        seconds, ns, kept, size = struct.unpack("<IIII", data[at:at + 16])
        at += 16
        if kept > min(snap, size) or ns >= 10 ** 9 or at + kept > len(data):
            raise AssertionError(f"a bad record at {at - 16}: {kept} of {size}, {ns} ns")
        packets.append((seconds + ns / 1e9, size, data[at:at + kept]))
        at += kept
    return packets


def segments(packets):
    return [Segment(frame) for _, _, frame in packets
            if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_TCP]


def stream(found, source, sport):
    """The octets that one end sent, put together by sequence number."""
    mine = [s for s in found if (s.source, s.sport) == (source, sport)]
    start = next((s.seq + 1 for s in mine if s.flags & 2), min(s.seq for s in mine) if mine else 0)
    octets = {}
    for s in mine:
        base = (s.seq + (1 if s.flags & 2 else 0) - start) & 0xffffffff
        for i, octet in enumerate(s.payload):
            octets[base + i] = octet
    return bytes(octets[i] for i in sorted(octets))
