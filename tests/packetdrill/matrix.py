# SPDX-License-Identifier: BSD-3-Clause
"""Scripts for every state x kind of segment x place in the window.  What is expected is worked out
here from RFC 9293 3.10.7, RFC 5961 and RFC 1337, without a look at the stack.

Three deliberate differences from the letter, each in one line of expected(): a segment without octets
is taken on the right edge of the window as well (to refuse it lets two ends that both wait for a
hole starve), text after the peer's FIN is answered by an ACK where the RFC says "ignore", and in
TIME-WAIT an ACK is never answered (two such ends would go on for ever).

    matrix.py FOLDER    writes them as files, for packetdrill"""
import os
import sys

WINDOW = 65535
LISTEN = """0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
"""
SYN_RCVD = LISTEN + """+.1 < S 0:0(0) win 60000 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
"""
ESTABLISHED = SYN_RCVD + """+.1 < . 1:1(0) ack 1 win 60000
+0 accept(3, ..., ...) = 4
+0 write(4, ..., 100) = 100
+0 > P. 1:101(100) ack 1
+.1 < . 1:101(100) ack 101 win 60000
+0 read(4, ..., 100) = 100
+.04 > . 101:101(0) ack 101
"""
FIN_WAIT_1 = ESTABLISHED + """+.1 shutdown(4, SHUT_WR) = 0
+0 > F. 101:101(0) ack 101
"""
FIN_WAIT_2 = FIN_WAIT_1 + "+.01 < . 101:101(0) ack 102 win 60000\n"
CLOSE_WAIT = ESTABLISHED + """+.1 < F. 101:101(0) ack 101 win 60000
+0 > . 101:101(0) ack 102
"""
CLOSING = FIN_WAIT_1 + """+.01 < F. 101:101(0) ack 101 win 60000
+0 > . 102:102(0) ack 102
"""
LAST_ACK = CLOSE_WAIT + """+.1 close(4) = 0
+0 > F. 101:101(0) ack 102
"""
TIME_WAIT = FIN_WAIT_2 + """+.01 < F. 101:101(0) ack 102 win 60000
+0 > . 102:102(0) ack 102
"""
# name: (how one gets there, SND.UNA, SND.NXT, RCV.NXT, has the peer's FIN come)
STATES = {
    "syn-received": (SYN_RCVD, 1, 1, 1, False),
    "established": (ESTABLISHED, 101, 101, 101, False),
    "fin-wait-1": (FIN_WAIT_1, 101, 102, 101, False),
    "fin-wait-2": (FIN_WAIT_2, 102, 102, 101, False),
    "close-wait": (CLOSE_WAIT, 101, 101, 102, True),
    "closing": (CLOSING, 101, 102, 102, True),
    "last-ack": (LAST_ACK, 101, 102, 102, True),
    "time-wait": (TIME_WAIT, 102, 102, 102, True),
}
# name: (flags, octets of text)
KINDS = {"syn": ("S", 0), "syn-ack": ("S.", 0), "rst": ("R", 0), "rst-ack": ("R.", 0),
         "fin": ("F.", 0), "ack": (".", 0), "data": ("P.", 10), "no-flags": ("-", 10)}
# name: distance from RCV.NXT
PLACES = {"old": -10, "next": 0, "inside": 100, "last": WINDOW - 1, "edge": WINDOW, "far": 200000}


def acceptable(offset, length):
    """RFC 9293 3.10.7.4, first: and an empty segment on the right edge."""
    if length == 0:
        return 0 <= offset <= WINDOW
    return 0 <= offset < WINDOW or 0 <= offset + length - 1 < WINDOW


def expected(state, kind, offset, fin_came):
    """none, ack (of RCV.NXT), taken (a delayed ACK), fin (an ACK beyond it), dead."""
    flags, octets = KINDS[kind]
    length = octets + ("S" in flags) + ("F" in flags)
    if state == "time-wait" and "R" in flags:
        return "none"                       # RFC 1337
    if "R" in flags and offset == WINDOW:
        return "none"                       # the edge is a courtesy to ACKs, not to RST
    if state == "time-wait" and length == 0:
        return "none"
    if not acceptable(offset, length):
        return "none" if "R" in flags else "ack"
    if "R" in flags:                        # RFC 5961 3.2
        return "dead" if offset == 0 else "ack"
    if "S" in flags:                        # RFC 5961 4.2
        return "ack"
    if "." not in flags:
        return "none"
    if length == 0:
        return "none"
    if fin_came or offset != 0:
        return "ack"                        # text or FIN after FIN; out of order
    return "fin" if "F" in flags else "taken"


def skipped(state, kind, place):
    """What a state has rules of its own for."""
    if state == "time-wait" and (kind.startswith("syn") or kind in ("data", "no-flags")):
        return True     # a SYN may open anew (tests of TIME_WAIT); text cannot come after FIN
    if state == "syn-received":
        # any acceptable ACK opens; SYNs are the handshake's own
        return kind.startswith("syn") or kind in ("ack", "data", "fin") or place == "old"
    return False


def script(state, kind, place):
    start, una, nxt, rcv, fin_came = STATES[state]
    flags, octets = KINDS[kind]
    offset = PLACES[place]
    want = expected(state, kind, offset, fin_came)
    seq = rcv + offset
    ack = f"ack {una} " if "." in flags else ""
    lines = [f"+.01 < {flags} {seq}:{seq + octets}({octets}) {ack}win 60000"]
    after = rcv
    if want == "ack":
        lines.append(f"+0 > . {nxt}:{nxt}(0) ack {rcv}")
    elif want == "fin":
        after = rcv + 1
        lines.append(f"+0 > . {nxt}:{nxt}(0) ack {after}")
    elif want == "taken":
        after = rcv + octets
        lines.append(f"+.04 > . {nxt}:{nxt}(0) ack {after}")
    # is it still there?  What is old is acknowledged at once, and a stranger gets RST.
    if state == "syn-received":
        lines.append(f"+.01 < . {rcv}:{rcv}(0) ack {nxt} win 60000")
        lines.append(f"+0 > R {nxt}:{nxt}(0)" if want == "dead" else "+0 accept(3, ..., ...) = 4")
    else:
        lines.append(f"+.01 < . {rcv - 10}:{rcv}(10) ack {una} win 60000")
        lines.append(f"+0 > R {una}:{una}(0)" if want == "dead"
                     else f"+0 > . {nxt}:{nxt}(0) ack {after}")
    return start + "\n".join(lines) + "\n"


# ---- states without a connection, and before it: tables ----

# what arrives: what leaves.  A port nobody listens on (RFC 9293 3.10.7.1).
CLOSED = {
    "syn": ("S 0:0(0) win 60000", "R. 0:0(0) ack 1"),
    "syn-data": ("S 0:100(100) win 60000", "R. 0:0(0) ack 101"),
    "syn-ack": ("S. 0:0(0) ack 700 win 60000", "R 700:700(0)"),
    "ack": (". 0:0(0) ack 700 win 60000", "R 700:700(0)"),
    "data": ("P. 0:100(100) ack 700 win 60000", "R 700:700(0)"),
    "data-no-ack": ("P 0:100(100) win 60000", "R. 0:0(0) ack 100"),
    "fin": ("F. 0:0(0) ack 700 win 60000", "R 700:700(0)"),
    "fin-no-ack": ("F 0:0(0) win 60000", "R. 0:0(0) ack 1"),
    "no-flags": ("- 0:10(10) win 60000", "R. 0:0(0) ack 10"),
    "rst": ("R 0:0(0) win 0", None),
    "rst-ack": ("R. 0:0(0) ack 700 win 0", None),
}
# RFC 9293 3.10.7.2
LISTENING = {
    "syn-ack": ("S. 0:0(0) ack 700 win 60000", "R 700:700(0)"),
    "ack": (". 0:0(0) ack 700 win 60000", "R 700:700(0)"),
    "data": ("P. 0:100(100) ack 700 win 60000", "R 700:700(0)"),
    "fin": ("F. 0:0(0) ack 700 win 60000", "R 700:700(0)"),
    "data-no-ack": ("P 0:100(100) win 60000", None),
    "fin-no-ack": ("F 0:0(0) win 60000", None),
    "no-flags": ("- 0:10(10) win 60000", None),
    "rst": ("R 0:0(0) win 0", None),
    "rst-ack": ("R. 0:0(0) ack 700 win 0", None),
    "syn-rst": ("SR 0:0(0) win 60000", None),
}
CONNECT = """--so_flags="no-timestamps"
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <mss 1460,nop,nop,sackOK,nop,wscale 3>
"""
GOES_ON = """+.1 < S. 0:0(0) ack 1 win 60000 <mss 1000>
+0 > . 1:1(0) ack 1
+0 getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
"""
REFUSED = "+0 getsockopt(3, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0\n"
# RFC 9293 3.10.7.3: what arrives, what leaves, and whether the attempt goes on after it
SYN_SENT = {
    "ack-unsent": (". 0:0(0) ack 2 win 60000", "R 2:2(0)", True),
    "ack-old": (". 0:0(0) ack 0 win 60000", "R 0:0(0)", True),
    "ack-good": (". 0:0(0) ack 1 win 60000", None, True),
    "syn-ack-unsent": ("S. 0:0(0) ack 2 win 60000", "R 2:2(0)", True),
    "syn-ack-old": ("S. 0:0(0) ack 0 win 60000", "R 0:0(0)", True),
    "rst": ("R 0:0(0) win 0", None, True),
    "rst-ack-unsent": ("R. 0:0(0) ack 2 win 0", None, True),
    "rst-ack": ("R. 0:0(0) ack 1 win 0", None, False),
    "syn-ack-rst": ("SR. 0:0(0) ack 1 win 0", None, False),
    "fin": ("F 0:0(0) win 60000", None, True),
    "fin-ack": ("F. 0:0(0) ack 1 win 60000", None, True),
    "data": ("P. 0:100(100) ack 1 win 60000", None, True),
    "no-flags": ("- 0:10(10) win 60000", None, True),
}
# RFC 9293 3.10.7.4, SYN-RECEIVED: what arrives, what leaves; None: see the line after it
SYN_RECEIVED = {
    "syn-again": ("S 0:0(0) win 60000 <mss 1000>", "S. 0:0(0) ack 1 <mss 1460>"),
    "syn-new": ("S 50:50(0) win 60000 <mss 1000>", ". 1:1(0) ack 1"),
    "ack-unsent": (". 1:1(0) ack 2 win 60000", "R 2:2(0)"),
    "ack-old": (". 1:1(0) ack 0 win 60000", "R 0:0(0)"),
    "data-unsent": ("P. 1:11(10) ack 2 win 60000", "R 2:2(0)"),
    "fin-unsent": ("F. 1:1(0) ack 2 win 60000", "R 2:2(0)"),
    "ack-far": (". 200000:200000(0) ack 1 win 60000", ". 1:1(0) ack 1"),
}
OPENS = """+.1 < . 1:1(0) ack 1 win 60000
+0 accept(3, ..., ...) = 4
+0 write(4, ..., 100) = 100
+0 > P. 1:101(100) ack 1
"""


def exchange(arrives, leaves):
    return f"+.01 < {arrives}\n" + (f"+0 > {leaves}\n" if leaves else "")


def table_scripts():
    for kind, row in CLOSED.items():
        # the stack has an address, but nobody listens on the port any more
        yield f"closed/{kind}", LISTEN + "+0 close(3) = 0\n" + exchange(*row)
    for kind, row in LISTENING.items():
        yield f"listen/{kind}", LISTEN + exchange(*row) + SYN_RCVD.removeprefix(LISTEN) + OPENS
    for kind, (arrives, leaves, goes_on) in SYN_SENT.items():
        yield f"syn-sent/{kind}", \
            CONNECT + exchange(arrives, leaves) + (GOES_ON if goes_on else REFUSED)
    for kind, row in SYN_RECEIVED.items():
        yield f"syn-received/{kind}", SYN_RCVD + exchange(*row) + OPENS


# ---- synchronized states: what an acknowledgment may say ----

# name: what is acknowledged, from SND.UNA and SND.NXT (RFC 5961 5.2: with MAX.SND.WND 60000)
ACKS = {"next": lambda una, nxt: nxt, "una": lambda una, nxt: una,
        "old": lambda una, nxt: una - 50, "ancient": lambda una, nxt: una - 60001,
        "unsent": lambda una, nxt: nxt + 1, "far": lambda una, nxt: nxt + 1000000}


def ack_script(state, kind, which):
    """A segment in its place, with an acknowledgment that may be wrong: then it is answered by an
    ACK and not taken."""
    start, una, nxt, rcv, fin_came = STATES[state]
    flags, octets = KINDS[kind]
    wrong = which in ("ancient", "unsent", "far")
    ack = ACKS[which](una, nxt) & 0xffffffff
    lines = [f"+.6 < {flags} {rcv}:{rcv + octets}({octets}) ack {ack} win 60000"]
    now = f". {nxt}:{nxt}(0)"
    if wrong:
        lines.append(f"+0 > {now} ack {rcv}")
    elif kind == "fin":
        lines.append(f"+0 > {now} ack {rcv + 1}")
    elif kind == "data":
        lines.append(f"+.04 > {now} ack {rcv + octets}")
    return start + "\n".join(lines) + "\n"


def ack_scripts():
    # SND.UNA in these has not moved over our FIN, which would be sent again meanwhile: those
    # states are left to scripts of their own
    for state in ("established", "fin-wait-2", "close-wait"):
        for kind in ("ack", "data", "fin"):
            for which in ACKS:
                if not (STATES[state][4] and kind != "ack"):
                    yield f"{state}/{kind}/acks-{which}", ack_script(state, kind, which)


def scripts():
    for state in STATES:
        for kind in KINDS:
            for place in PLACES:
                if not skipped(state, kind, place):
                    yield f"matrix/{state}/{kind}/{place}.pkt", script(state, kind, place)
    for name, text in (*table_scripts(), *ack_scripts()):
        yield f"matrix/{name}.pkt", text


def main(folder):
    for name, text in scripts():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
