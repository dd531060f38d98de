# SPDX-License-Identifier: BSD-3-Clause
"""Making messages, and comparing what arrived with what was sent."""

import base64
import os
import re

ENVELOPE = (b"X-Client-Addr:", b"X-Client-Proto:", b"X-Helo-Args:", b"X-Mail-Args:",
            b"X-Rcpt-Args:")
TRACE = (b"received:", b"return-path:", b"delivered-to:")


def make(sender, recipient, subject, size=1000, marker=None):
    """A message of about size octets with random content, CRLF line ends."""
    head = [f"From: {sender}", f"To: {recipient}", f"Subject: {subject}",
            "Date: Mon, 02 Mar 2026 10:00:00 +0000",
            f"Message-ID: <{marker or os.urandom(8).hex()}@bed.example.org>",
            "MIME-Version: 1.0", "Content-Type: text/plain; charset=us-ascii", "", ""]
    body = base64.encodebytes(os.urandom(max(1, size * 3 // 4)))
    # Lines that need stuffing belong in every message.
    lines = body.decode().split("\n")
    lines[1:1] = [".", "..", ".a leading dot", ""]
    return ("\r\n".join(head) + "\r\n".join(lines)).encode()


def unix(data):
    return data.replace(b"\r\n", b"\n")


def strip_trace(data):
    """data without the trace fields at its top, and those fields (data has LF line ends)."""
    fields = []
    while True:
        m = re.match(rb"([!-9;-~]+:)[^\n]*\n(?:[ \t][^\n]*\n)*", data)
        if not m or m.group(1).lower() not in TRACE:
            return data, fields
        fields.append(m.group(0))
        data = data[m.end():]


class Dump:
    """One file of smtp-sink: the envelope it wrote down and the data it got (LF line ends)."""

    def __init__(self, path):
        with open(path, "rb") as f:
            raw = f.read()
        self.rcpts, self.sender = [], None
        lines = raw.split(b"\n")
        i = 0
        while i < len(lines) and lines[i].startswith(ENVELOPE):
            name, _, value = lines[i].partition(b": ")
            if name == b"X-Rcpt-Args":
                self.rcpts.append(re.match(rb"<([^>]*)>", value).group(1).decode())
            elif name == b"X-Mail-Args":
                self.sender = re.match(rb"<([^>]*)>", value).group(1).decode()
            i += 1
        # The sink's own Received field, then the data, then an empty line of the sink's.
        i += 1
        while i < len(lines) and lines[i][:1] in (b" ", b"\t"):
            i += 1
        self.data = b"\n".join(lines[i:])
        if self.data.endswith(b"\n\n"):
            self.data = self.data[:-1]

    def payload(self):
        return strip_trace(self.data)[0]

    def subject(self):
        m = re.search(rb"^Subject: ([^\n]*)", self.data, re.M)
        return m.group(1).decode() if m else None


def same(sent, received):
    """None when received is sent below trace fields only; otherwise where they differ."""
    sent, (got, fields) = unix(sent), strip_trace(unix(received))
    if not sent.endswith(b"\n"):
        sent += b"\n"
    if not fields:
        return "no Received field was added"
    if sent == got:
        return None
    at = next((i for i, (a, b) in enumerate(zip(sent, got)) if a != b), min(len(sent), len(got)))
    return (f"{len(sent)} octets sent, {len(got)} received, first difference at {at}: "
            f"{sent[at:at + 40]!r} became {got[at:at + 40]!r}")
