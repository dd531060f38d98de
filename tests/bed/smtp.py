# SPDX-License-Identifier: BSD-3-Clause
"""A plain SMTP client on a socket: what it sends is exactly what the test says, and it knows what
was acknowledged."""

import re


class Closed(Exception):
    """The connection ended, or nothing came in time."""


class Client:
    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        self.banner = self.reply()

    def line(self):
        while b"\r\n" not in self.buffer:
            try:
                more = self.sock.recv(65536)
            except OSError as e:
                raise Closed(str(e))
            if not more:
                raise Closed("end of connection")
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("latin-1")

    def reply(self):
        """(code, text of all lines)."""
        lines = []
        while True:
            line = self.line()
            if not re.match(r"\d{3}[ -]|\d{3}$", line):
                raise Closed(f"not a reply: {line!r}")
            lines.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), "\n".join(lines)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Closed(str(e))

    def cmd(self, text):
        self.send(text.encode() + b"\r\n")
        return self.reply()

    def hello(self):
        return self.cmd("EHLO client.example.org")

    def message(self, sender, rcpts, data):
        """MAIL to end of data; returns the last reply.  A refused recipient ends it early."""
        code, text = self.cmd(f"MAIL FROM:<{sender}>")
        for rcpt in rcpts if code == 250 else []:
            code, text = self.cmd(f"RCPT TO:<{rcpt}>")
            if code != 250:
                return code, text
        if code == 250:
            code, text = self.cmd("DATA")
        if code != 354:
            return code, text
        self.send(stuff(data) + b".\r\n")
        return self.reply()

    def quit(self):
        reply = self.cmd("QUIT")
        self.sock.close()
        return reply

    def close(self):
        self.sock.close()


def stuff(data):
    data = re.sub(rb"(?m)^\.", b"..", data)
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def connect(bed, source=None, timeout=20, namespace=None):
    return Client(bed.connect(bed.relay, 25, source, timeout, namespace))
