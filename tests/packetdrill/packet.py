# SPDX-License-Identifier: BSD-3-Clause
"""IP packets with TCP or ICMP, from and to the words of packet scripts."""
import ipaddress
import struct

FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10, "U": 0x20, "E": 0x40, "W": 0x80}
ECN = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}
PORT_LOCAL, PORT_REMOTE = 8080, 40001
UNREACHABLE_V4 = {"net_unreachable": 0, "host_unreachable": 1, "protocol_unreachable": 2,
                  "port_unreachable": 3, "frag_needed": 4, "net_prohibited": 9,
                  "host_prohibited": 10, "packet_filtered": 13}
UNREACHABLE_V6 = {"net_unreachable": 0, "admin_prohibited": 1, "not_neighbour": 2,
                  "address_unreachable": 3, "port_unreachable": 4}


class Wrong(Exception):
    """What a script expected did not happen."""


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def pseudo_header(src, dst, protocol, length):
    if src.version == 4:
        return src.packed + dst.packed + struct.pack("!BBH", 0, protocol, length)
    return src.packed + dst.packed + struct.pack("!IHBB", length, 0, 0, protocol)


def ip_packet(src, dst, protocol, body, ecn=0, ttl=255):
    if src.version == 6:
        return struct.pack("!IHBB", 6 << 28 | ecn << 20, len(body), protocol, ttl) \
            + src.packed + dst.packed + body
    head = struct.pack("!BBHHHBBH", 0x45, ecn, 20 + len(body), 0, 0, ttl, protocol, 0) \
        + src.packed + dst.packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def tcp_packet(src, dst, sport, dport, t, ecn=0):
    """t: Segment with live numbers."""
    options = b"".join(encode_option(o) for o in t.options)
    options += b"\0" * (-len(options) % 4)
    head = struct.pack("!HHIIBBHHH", sport, dport, t.seq & 0xffffffff, t.ack & 0xffffffff,
                       (20 + len(options)) // 4 << 4, t.flags, t.window or 0, 0, t.urgent)
    body = head + options + t.payload
    check = checksum(pseudo_header(src, dst, 6, len(body)) + body)
    return ip_packet(src, dst, 6, body[:16] + struct.pack("!H", check) + body[18:], ecn)


def icmp_packet(router, dst, kind, code, value, quoted):
    """An error of a router about a packet of ours."""
    quoted = quoted[:548 if dst.version == 4 else 1232]
    body = struct.pack("!BBHI", kind, code, 0, value) + quoted
    if dst.version == 4:
        return ip_packet(router, dst, 1, body[:2] + struct.pack("!H", checksum(body)) + body[4:])
    check = checksum(pseudo_header(router, dst, 58, len(body)) + body)
    return ip_packet(router, dst, 58, body[:2] + struct.pack("!H", check) + body[4:])


# ---- options: tuples (name, values...) ----

def encode_option(o):
    name = o[0]
    if name in ("nop", "eol"):
        return b"\1" if name == "nop" else b"\0"
    if name == "raw":
        return o[1]
    if name == "mss":
        return struct.pack("!BBH", 2, 4, o[1])
    if name == "wscale":
        return struct.pack("!BBB", 3, 3, o[1])
    if name == "sackOK":
        return b"\4\2"
    if name == "sack":
        return struct.pack("!BB", 5, 2 + 4 * len(o[1:])) \
            + b"".join(struct.pack("!I", v & 0xffffffff) for v in o[1:])
    if name == "TS":
        return struct.pack("!BBII", 8, 10, o[1] & 0xffffffff, o[2] & 0xffffffff)
    raise Wrong(f"no option {name}")


def decode_options(data):
    found = []
    while data:
        kind = data[0]
        if kind in (0, 1):
            found.append(("eol",) if kind == 0 else ("nop",))
            data = data[1:]
            continue
        if len(data) < 2 or data[1] < 2 or data[1] > len(data):
            raise Wrong(f"malformed option {kind}")
        body, data = data[2:data[1]], data[data[1]:]
        if kind == 2:
            found.append(("mss", *struct.unpack("!H", body)))
        elif kind == 3:
            found.append(("wscale", *body))
        elif kind == 4:
            found.append(("sackOK",))
        elif kind == 5:
            found.append(("sack", *struct.unpack(f"!{len(body) // 4}I", body)))
        elif kind == 8:
            found.append(("TS", *struct.unpack("!II", body)))
        else:
            found.append((f"kind {kind}", *body))
    return found


class Segment:
    """A TCP segment.  options None: any; window None: any."""

    def __init__(self, flags, seq, payload, ack=0, window=None, options=(), urgent=0, ecn=None):
        self.flags, self.seq, self.ack = flags, seq, ack
        self.payload, self.window, self.urgent, self.ecn = payload, window, urgent, ecn
        self.options = None if options is None else list(options)

    def __str__(self):
        flags = "".join(c for c, bit in FLAGS.items() if self.flags & bit and c != ".")
        flags += "." if self.flags & FLAGS["."] else ""
        n = len(self.payload)
        text = f"{flags or '-'} {self.seq}:{self.seq + n}({n})"
        text += f" ack {self.ack}" if self.flags & FLAGS["."] else ""
        text += "" if self.window is None else f" win {self.window}"
        if self.options:
            text += " <" + ",".join(" ".join(map(str, o)) for o in self.options) + ">"
        return text


def parse_packet(data):
    """Returns (protocol, src, dst, sport, dport, Segment) or (protocol, src, dst, body)."""
    if data[0] >> 4 == 4:
        n = (data[0] & 15) * 4
        if checksum(data[:n]) or struct.unpack("!H", data[2:4])[0] != len(data):
            raise Wrong("bad IPv4 header")
        protocol, ecn = data[9], data[1] & 3
        src, dst = (ipaddress.ip_address(data[i:i + 4]) for i in (12, 16))
    else:
        n, protocol, ecn = 40, data[6], data[1] >> 4 & 3
        src, dst = (ipaddress.ip_address(data[i:i + 16]) for i in (8, 24))
        if struct.unpack("!H", data[4:6])[0] != len(data) - 40:
            raise Wrong("bad IPv6 length")
    body = data[n:]
    if protocol != 6:
        return protocol, src, dst, body
    if checksum(pseudo_header(src, dst, 6, len(body)) + body):
        raise Wrong("bad TCP checksum")
    sport, dport, seq, ack, offset, flags, window, _, urgent = struct.unpack("!HHIIBBHHH", body[:20])
    header = (offset >> 4) * 4
    if offset & 15:
        raise Wrong("reserved bits are set")
    return (protocol, src, dst, sport, dport,
            Segment(flags, seq, body[header:], ack, window, decode_options(body[20:header]),
                    urgent, ecn))
