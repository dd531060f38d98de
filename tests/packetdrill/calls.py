# SPDX-License-Identifier: BSD-3-Clause
"""The shared object's table of calls (interface.h), and system calls of scripts through it."""
import ctypes
import errno
import fcntl
import ipaddress
import re
import select
import socket
import struct

from packet import PORT_LOCAL, PORT_REMOTE, Wrong
from script import payload_of

P, I, N = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
NAMES = [
    ("state", None, []), ("free", None, [P]), ("socket", I, [P, I, I, I]),
    ("bind", I, [P, I, P, I]), ("listen", I, [P, I, I]), ("accept", I, [P, I, P, P]),
    ("connect", I, [P, I, P, I]), ("read", N, [P, I, P, N]), ("readv", N, [P, I, P, I]),
    ("recv", N, [P, I, P, N, I]), ("recvfrom", N, [P, I, P, N, I, P, P]),
    ("recvmsg", N, [P, I, P, I]), ("write", N, [P, I, P, N]), ("writev", N, [P, I, P, I]),
    ("send", N, [P, I, P, N, I]), ("sendto", N, [P, I, P, N, I, P, I]),
    ("sendmsg", N, [P, I, P, I]), ("fcntl", I, [P, I, I, ctypes.c_long]),
    ("ioctl", I, [P, I, ctypes.c_ulong, P]), ("close", I, [P, I]), ("shutdown", I, [P, I, I]),
    ("getsockopt", I, [P, I, I, I, P, P]), ("setsockopt", I, [P, I, I, I, P, I]),
    ("poll", I, [P, P, ctypes.c_ulong, I]), ("netdev_send", I, [P, P, N]),
    ("netdev_receive", I, [P, P, P, P]), ("usleep", I, [P, ctypes.c_uint]),
    ("gettimeofday", I, [P, P, P]), ("epoll_create", I, [P, I]),
    ("epoll_ctl", I, [P, I, I, I, P]), ("epoll_wait", I, [P, I, P, I, I]), ("pipe", I, [P, P]),
    ("splice", N, [P, I, P, I, P, N, ctypes.c_uint]),
]
PROTOTYPES = {name: ctypes.CFUNCTYPE(ctypes.c_ssize_t if result is N else result, *args,
                                     use_errno=True)
              for name, result, args in NAMES if name != "state"}
SOCKET_NAMES = {
    "O_RDWR": 2, "O_NONBLOCK": 0x800, "F_GETFL": fcntl.F_GETFL, "F_SETFL": fcntl.F_SETFL,
    "SIOCINQ": 0x541b, "SIOCOUTQ": 0x5411, "TCP_USER_TIMEOUT": 18, "TCP_CORK": 3,
}
SLEEP_US_MAX = 1000000000  # chosen: the argument has 32 bits
# struct tcp_info of Linux: name, offset, format
TCP_INFO_BYTES = 248
TCP_INFO = {
    "tcpi_state": (0, "B"), "tcpi_ca_state": (1, "B"), "tcpi_retransmits": (2, "B"),
    "tcpi_probes": (3, "B"), "tcpi_backoff": (4, "B"), "tcpi_options": (5, "B"),
    "tcpi_wscale": (6, "B"), "tcpi_rto": (8, "I"), "tcpi_snd_mss": (16, "I"), "tcpi_rcv_mss": (20, "I"),
    "tcpi_unacked": (24, "I"), "tcpi_sacked": (28, "I"), "tcpi_lost": (32, "I"),
    "tcpi_pmtu": (60, "I"), "tcpi_rtt": (68, "I"), "tcpi_rttvar": (72, "I"),
    "tcpi_snd_ssthresh": (76, "I"), "tcpi_snd_cwnd": (80, "I"), "tcpi_total_retrans": (100, "I"),
}


def constant(text):
    """A number, a name, or several joined by |."""
    value = 0
    for word in text.split("|"):
        word = word.strip()
        if re.fullmatch(r"-?(0x)?[0-9a-fA-F]+", word):
            value |= int(word, 0)
        elif word in SOCKET_NAMES:
            value |= SOCKET_NAMES[word]
        elif hasattr(errno, word):
            value |= int(getattr(errno, word))
        elif hasattr(socket, word):
            value |= int(getattr(socket, word))
        elif hasattr(select, word):
            value |= int(getattr(select, word))
        else:
            raise Wrong(f"no constant {word}")
    return value


def split_args(text):
    args, depth, word = [], 0, ""
    for c in text:
        depth += (c in "[{(") - (c in "]})")
        if c == "," and depth == 0:
            args.append(word.strip())
            word = ""
        else:
            word += c
    return args + [word.strip()] if word.strip() else args


class Calls:
    def __init__(self, library, words, family):
        table = (ctypes.c_void_p * len(NAMES))()
        library.packetdrill_interface_init(words.encode(), ctypes.byref(table))
        self.state = table[0]
        self.call = {name: PROTOTYPES[name](table[i])
                     for i, (name, _, _) in enumerate(NAMES) if i}
        self.family = family
        self.local = ipaddress.ip_address(
            "192.168.0.1" if family == 4 else "fd3d:a0b:17d6::1")
        self.remote = ipaddress.ip_address("192.0.2.1" if family == 4 else "fd3d:fa7b:d17d::1")
        self.fds = {}       # of the script -> of the library
        self.written = {}   # sequence number that the next octet written has
        self.read_at = {}   # and that the next octet read must have

    def free(self):
        self.call["free"](self.state)

    def now_us(self):
        tv = (ctypes.c_long * 2)()
        self.call["gettimeofday"](self.state, ctypes.byref(tv), None)
        return tv[0] * 1000000 + tv[1]

    def sleep(self, us):
        while us > 0:
            self.call["usleep"](self.state, min(us, SLEEP_US_MAX))
            us -= SLEEP_US_MAX

    def send(self, packet):
        self.call["netdev_send"](self.state, packet, len(packet))

    def receive(self):
        """Returns (packet, when), or (b"", when)."""
        room = ctypes.create_string_buffer(70000)
        n, at = ctypes.c_size_t(len(room)), ctypes.c_longlong()
        self.call["netdev_receive"](self.state, room, ctypes.byref(n), ctypes.byref(at))
        return room.raw[:n.value], at.value

    def address(self, ip, port):
        if self.family == 4:
            return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + ip.packed + bytes(8)
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + ip.packed \
            + bytes(4)

    # ---- system calls: each returns (result, text of what else was seen or None) ----

    def sys_socket(self, _args):
        family = socket.AF_INET if self.family == 4 else socket.AF_INET6
        return self.call["socket"](self.state, family, socket.SOCK_STREAM, 0)

    def sys_bind(self, args):
        a = self.address(self.local, PORT_LOCAL)
        return self.call["bind"](self.state, self.fd(args[0]), a, len(a))

    def sys_connect(self, args):
        a = self.address(self.remote, PORT_LOCAL)
        return self.call["connect"](self.state, self.fd(args[0]), a, len(a))

    def sys_listen(self, args):
        return self.call["listen"](self.state, self.fd(args[0]), int(args[1]))

    def sys_accept(self, args):
        return self.call["accept"](self.state, self.fd(args[0]), None, None)

    def sys_close(self, args):
        return self.call["close"](self.state, self.fd(args[0]))

    def sys_shutdown(self, args):
        return self.call["shutdown"](self.state, self.fd(args[0]), constant(args[1]))

    def sys_write(self, args):
        return self.sys_send([args[0], args[1], args[2], "0"])

    def sys_send(self, args):
        at = self.written.get(args[0], 1)
        data = payload_of(at, int(args[2]))
        n = self.call["send"](self.state, self.fd(args[0]), data, len(data), constant(args[3]))
        self.written[args[0]] = at + max(n, 0)
        return n

    def sys_read(self, args):
        return self.sys_recv([args[0], args[1], args[2], "0"])

    def sys_recv(self, args):
        room = ctypes.create_string_buffer(int(args[2]) + 1)
        at = self.read_at.get(args[0], 1)
        n = self.call["recv"](self.state, self.fd(args[0]), room, int(args[2]), constant(args[3]))
        if n > 0:
            if room.raw[:n] != payload_of(at, n):
                raise Wrong(f"the octets read at {at} are not those that were sent")
            if not constant(args[3]) & socket.MSG_PEEK:
                self.read_at[args[0]] = at + n
        return n

    def sys_fcntl(self, args):
        value = constant(args[2]) if len(args) > 2 else 0
        return self.call["fcntl"](self.state, self.fd(args[0]), constant(args[1]), value)

    def sys_ioctl(self, args):
        value = ctypes.c_int()
        n = self.call["ioctl"](self.state, self.fd(args[0]), constant(args[1]), ctypes.byref(value))
        if (want := int(args[2].strip("[]"))) != value.value and n >= 0:
            raise Wrong(f"the value is {value.value}, not {want}")
        return n

    def sys_setsockopt(self, args):
        if linger := re.match(r"\{\s*onoff=(\d+),\s*linger=(\d+)\s*\}", args[3].strip("[]")):
            value = struct.pack("=ii", *map(int, linger.groups()))
        else:
            value = struct.pack("=i", constant(args[3].strip("[]")))
        return self.call["setsockopt"](self.state, self.fd(args[0]), constant(args[1]),
                                       constant(args[2]), value, len(value))

    def sys_getsockopt(self, args):
        value, n = ctypes.c_int(), ctypes.c_uint(4)
        result = self.call["getsockopt"](self.state, self.fd(args[0]), constant(args[1]),
                                         constant(args[2]), ctypes.byref(value), ctypes.byref(n))
        want = constant(args[3].strip("[]"))
        if result >= 0 and value.value != want:
            raise Wrong(f"the value is {value.value}, not {want}")
        return result

    def sys_poll(self, args):
        m = re.match(r"\[\{fd=(\d+),\s*events=([\w|]+),\s*revents=([\w|]+)\}\]", args[0])
        fds = ctypes.create_string_buffer(
            struct.pack("=ihh", self.fd(m.group(1)), constant(m.group(2)), 0), 8)
        n = self.call["poll"](self.state, fds, 1, int(args[2]))
        seen = struct.unpack("=ihh", fds.raw)[2]
        if n > 0 and seen != constant(m.group(3)):
            raise Wrong(f"revents is {seen:#x}, not {m.group(3)}")
        return n

    def fd(self, text):
        if text not in self.fds:
            raise Wrong(f"no descriptor {text}")
        return self.fds[text]

    def run(self, name, args, result, error):
        args = split_args(args)
        ctypes.set_errno(0)
        method = getattr(self, "sys_" + name, None)
        if not method:
            raise Wrong(f"no call {name}")
        got = method(args)
        code = ctypes.get_errno()
        if name in ("socket", "accept") and got >= 0 and int(result) >= 0:
            self.fds[result] = got
            return
        if got != int(result, 0) or (error and got < 0 and code != error):
            raise Wrong(f"{name} gives {got}"
                        + (f" {errno.errorcode.get(code, code)}" if got < 0 else ""))
        if name == "close" and got == 0:
            self.fds.pop(args[0])

    def tcp_info(self):
        """Of the youngest socket."""
        room, n = ctypes.create_string_buffer(TCP_INFO_BYTES), ctypes.c_uint(TCP_INFO_BYTES)
        fd = list(self.fds.values())[-1]
        if self.call["getsockopt"](self.state, fd, socket.IPPROTO_TCP, socket.TCP_INFO, room,
                                   ctypes.byref(n)):
            raise Wrong("no TCP_INFO")
        info = {name: struct.unpack_from("=" + form, room.raw, at)[0]
                for name, (at, form) in TCP_INFO.items()}
        info["tcpi_snd_wscale"], info["tcpi_rcv_wscale"] = \
            info["tcpi_wscale"] & 15, info["tcpi_wscale"] >> 4
        return info
