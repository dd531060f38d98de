# SPDX-License-Identifier: BSD-3-Clause
"""Play one script against the shared object and compare what leaves with what it expects.

Numbers of a script are relative: 0 is the SYN's.  The peer's real numbers begin shortly before the
end of the sequence space, so that every script passes the point where they wrap."""
import ipaddress

import packet
from calls import Calls
from packet import FLAGS, PORT_LOCAL, PORT_REMOTE, Segment, Wrong
from script import payload_of

TOLERANCE_US = 4000
REMOTE_ISN = 0xfffff000  # chosen: the first data segments wrap
ROUTER = {4: "198.18.0.9", 6: "2001:2::9"}

CA_STATES = {"TCP_CA_Open": 0, "TCP_CA_Disorder": 1, "TCP_CA_CWR": 2, "TCP_CA_Recovery": 3,
             "TCP_CA_Loss": 4}


class Player:
    def __init__(self, library, settings, events, family, words):
        self.settings, self.events = settings, events
        flags = ",".join(w for w in (self.settings.get("so_flags", ""), words) if w)
        self.calls = Calls(library, flags, family)
        self.family = family
        if "remote_ip" in settings:
            self.calls.remote = ipaddress.ip_address(settings["remote_ip"])
        self.to = ipaddress.ip_address(settings.get("to_ip", self.calls.local))
        self.tolerance = int(self.settings.get("tolerance_usecs", TOLERANCE_US))
        self.start = self.last = self.calls.now_us()
        self.active = False          # we were connected to
        self.sport, self.dport = PORT_REMOTE, PORT_LOCAL
        self.local_isn = None        # real number of the script's 0
        self.ts_start = None         # real timestamp of the stack that the script calls 0
        self.ts = {}                 # its timestamps: of the script -> real

    # ---- time ----

    def when(self, text):
        us = round(float(text.lstrip("+")) * 1e6)
        return self.last + us if text.startswith("+") else self.start + us

    def wait(self, event):
        while (left := self.when(event.time) - self.calls.now_us()) > 0:
            self.calls.sleep(left)

    def check_time(self, event, at):
        first = self.when(event.time)
        last = self.when(event.until) if event.until else first
        if not first - self.tolerance <= at <= last + self.tolerance:
            raise Wrong(f"at {(at - self.start) / 1e6:.6f}, expected at "
                        f"{(first - self.start) / 1e6:.6f}")

    # ---- numbers ----

    def real_local(self, number):
        if self.local_isn is None:
            return number
        return (self.local_isn + number) & 0xffffffff

    def real_options(self, options):
        """Of a packet that arrives: SACK blocks and echoed timestamps are the stack's numbers."""
        real = []
        for o in options:
            if o[0] == "sack":
                o = ("sack", *(self.real_local(v) for v in o[1:]))
            if o[0] == "TS":
                o = ("TS", o[1], self.ts.get(o[2], (self.ts_start or 0) + o[2]))
            real.append(o)
        return real

    def script_options(self, options):
        """Of a packet that left."""
        seen = []
        for o in options:
            if o[0] == "sack":
                o = ("sack", *((v - REMOTE_ISN) & 0xffffffff for v in o[1:]))
            seen.append(o)
        return seen

    # ---- packets that arrive ----

    def play_in(self, event):
        s = event.what
        self.wait(event)
        ack = self.real_local(s.ack) if s.flags & FLAGS["."] else 0
        real = Segment(s.flags, (REMOTE_ISN + s.seq) & 0xffffffff, s.payload, ack, s.window,
                       self.real_options(s.options), s.urgent)
        self.calls.send(packet.tcp_packet(self.calls.remote, self.to, self.sport, self.dport, real,
                                          s.ecn or 0))

    def play_icmp(self, event):
        kind, code, mtu, first, end, n = event.what
        self.wait(event)
        if int(first) + int(n) != int(end):
            raise Wrong("lengths do not add up")
        quoted_segment = Segment(FLAGS["."], self.real_local(int(first)),
                                 payload_of(int(first), int(n)), REMOTE_ISN + 1)
        quoted = packet.tcp_packet(self.calls.local, self.calls.remote, self.dport, self.sport,
                                   quoted_segment)
        if self.family == 4:
            icmp_type, icmp_code = 3, packet.UNREACHABLE_V4[code or kind]
        elif (code or kind) in ("packet_too_big", "frag_needed"):
            icmp_type, icmp_code = 2, 0
        else:
            icmp_type, icmp_code = 1, packet.UNREACHABLE_V6[code or kind]
        self.calls.send(packet.icmp_packet(ipaddress.ip_address(ROUTER[self.family]),
                                           self.calls.local, icmp_type, icmp_code, int(mtu or 0),
                                           quoted))

    # ---- packets that leave ----

    def next_segment(self):
        """The next TCP segment as the script numbers it, and when it left."""
        data, at = self.calls.receive()
        if not data:
            raise Wrong("no packet leaves")
        seen = packet.parse_packet(data)
        if seen[0] != 6:
            raise Wrong(f"a packet of protocol {seen[0]} leaves")
        _, src, dst, sport, dport, s = seen
        if (src, dst) != (self.calls.local, self.calls.remote):
            raise Wrong(f"a packet leaves from {src} to {dst}")
        if self.local_isn is None and s.flags & FLAGS["S"]:
            self.local_isn = s.seq
            if not s.flags & FLAGS["."]:
                self.active = True
                self.sport, self.dport = dport, sport
        if (sport, dport) != (self.dport, self.sport):
            raise Wrong(f"a packet leaves from port {sport} to {dport}")
        if self.local_isn is not None and not (s.flags & FLAGS["R"] and not s.flags & FLAGS["."]
                                               and s.seq == 0):
            s.seq = (s.seq - self.local_isn) & 0xffffffff
        if s.flags & FLAGS["."]:
            s.ack = (s.ack - REMOTE_ISN) & 0xffffffff
        s.options = self.script_options(s.options)
        return s, at

    def check_options(self, want, got):
        if want is None:
            return
        if [o[0] for o in want] != [o[0] for o in got]:
            raise Wrong("other options")
        for w, g in zip(want, got):
            if w[0] == "TS":
                self.check_timestamp(w, g)
            elif w != g:
                raise Wrong(f"{' '.join(map(str, g))}, expected {' '.join(map(str, w))}")

    def check_timestamp(self, want, got):
        """The first of a script says where the stack's clock of milliseconds begins."""
        if self.ts_start is None:
            self.ts_start = got[1] - want[1]
        seen = (got[1] - self.ts_start) & 0xffffffff
        if abs(seen - want[1]) > self.tolerance // 1000 or got[2] != want[2]:
            raise Wrong(f"TS val {seen} ecr {got[2]}, expected val {want[1]} ecr {want[2]}")
        self.ts[want[1]] = got[1]

    def check_segment(self, want, got):
        fields = [("flags", want.flags, got.flags), ("length", len(want.payload), len(got.payload)),
                  ("seq", want.seq, got.seq), ("urgent", want.urgent, got.urgent)]
        if want.flags & FLAGS["."]:
            fields.append(("ack", want.ack, got.ack))
        if want.window is not None:
            fields.append(("win", want.window, got.window))
        if want.ecn is not None:
            fields.append(("ecn", want.ecn, got.ecn))
        for name, w, g in fields:
            if w != g:
                raise Wrong(f"{name} is {g}, expected {w}")
        if got.payload != want.payload:
            raise Wrong("other octets")
        self.check_options(want.options, got.options)

    def play_out(self, event):
        """Several segments in sequence count as one where the script says one."""
        want = event.what
        got, at = self.next_segment()
        while 0 < len(got.payload) < len(want.payload):
            more, at = self.next_segment()
            if more.seq != got.seq + len(got.payload) or not more.payload:
                raise Wrong(f"{more} after {got}")
            more.seq, more.payload = got.seq, got.payload + more.payload
            got = more
        try:
            self.check_segment(want, got)
            self.check_time(event, at)
        except Wrong as e:
            raise Wrong(f"{e}: {got}")
        self.last = max(self.last, at)

    # ---- the rest ----

    def play_call(self, event):
        self.wait(event)
        self.calls.run(*event.what)

    def play_code(self, event):
        self.wait(event)
        names = {**CA_STATES, **self.calls.tcp_info()}
        try:
            exec(event.what, {"__builtins__": {"AssertionError": AssertionError}}, names)
        except AssertionError as e:
            raise Wrong(f"assertion: {e}")

    def play(self):
        try:
            for event in self.events:
                try:
                    getattr(self, "play_" + event.kind)(event)
                except Wrong as e:
                    raise Wrong(f"line {event.line}: {e}")
                self.last = max(self.calls.now_us(), self.last)
            self.nothing_left()
        finally:
            self.calls.free()

    def nothing_left(self):
        """What left before the end and was not expected.  A call at the present time would let
        time pass, so the wire is asked for a packet and the clock must stand still."""
        before = self.calls.now_us()
        data, at = self.calls.receive()
        if data and at <= before:
            raise Wrong(f"at the end: {packet.parse_packet(data)[-1]} was not expected")
