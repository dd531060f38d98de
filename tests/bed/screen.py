# SPDX-License-Identifier: BSD-3-Clause
"""A program on a terminal: a pseudo terminal, and what its screen shows (as much of a VT100 as
terminfo's entry makes programs use)."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

CSI = re.compile(rb"\x1b\[(\??)([0-9;]*)([A-Za-z@`])")
OTHER = re.compile(rb"\x1b(?:[()][A-Z0-9]|[78=>cM])")


class Screen:
    def __init__(self, rows, columns):
        self.rest = b""
        self.resize(rows, columns)

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.y = self.x = 0
        self.top, self.bottom = 0, rows - 1

    def lines(self):
        return ["".join(row).rstrip() for row in self.cells]

    def text(self):
        return "\n".join(self.lines())

    def newline(self):
        if self.y == self.bottom:
            del self.cells[self.top]
            self.cells.insert(self.bottom, [" "] * self.columns)
        else:
            self.y = min(self.y + 1, self.rows - 1)

    def put(self, octet):
        if octet == 13:
            self.x = 0
        elif octet == 10:
            self.newline()
        elif octet == 8:
            self.x = max(self.x - 1, 0)
        elif octet == 9:
            self.x = min((self.x // 8 + 1) * 8, self.columns - 1)
        elif octet >= 32:
            if self.x == self.columns:
                self.x = 0
                self.newline()
            self.cells[self.y][self.x] = chr(octet)
            self.x += 1

    def control(self, numbers, final):
        first = numbers[0] if numbers else 0
        n = max(first, 1)
        if final in "Hf":
            row = numbers[0] if numbers else 1
            column = numbers[1] if len(numbers) > 1 else 1
            self.y = min(max(row, 1), self.rows) - 1
            self.x = min(max(column, 1), self.columns) - 1
        elif final == "A":
            self.y = max(self.y - n, 0)
        elif final == "B":
            self.y = min(self.y + n, self.rows - 1)
        elif final == "C":
            self.x = min(self.x + n, self.columns - 1)
        elif final == "D":
            self.x = max(self.x - n, 0)
        elif final == "J":
            self.erase_line(first)
            rest = range(self.y + 1, self.rows) if first == 0 else range(
                0, self.rows if first == 2 else self.y)
            for y in rest:
                self.cells[y] = [" "] * self.columns
        elif final == "K":
            self.erase_line(first)
        elif final == "r":
            self.top = (numbers[0] if numbers else 1) - 1
            self.bottom = (numbers[1] if len(numbers) > 1 else self.rows) - 1
            self.y = self.x = 0

    def erase_line(self, how):
        start, end = {0: (self.x, self.columns), 1: (0, self.x + 1)}.get(how, (0, self.columns))
        for x in range(start, min(end, self.columns)):
            self.cells[self.y][x] = " "

    def feed(self, data):
        data, at = self.rest + data, 0
        while at < len(data):
            if data[at] != 27:
                self.put(data[at])
                at += 1
                continue
            m = CSI.match(data, at) or OTHER.match(data, at)
            if not m:
                if len(data) - at < 16:
                    break
                at += 1
                continue
            if m.re is CSI and not m.group(1):
                self.control([int(n or 0) for n in m.group(2).split(b";")] if m.group(2) else [],
                             m.group(3).decode())
            elif m.group(0) == b"\x1bM":
                if self.y == self.top:
                    del self.cells[self.bottom]
                    self.cells.insert(self.top, [" "] * self.columns)
                else:
                    self.y = max(self.y - 1, 0)
            at = m.end()
        self.rest = data[at:]


class Terminal:
    """command on a terminal of its own; close() ends it."""

    def __init__(self, command, rows=24, columns=80, term="vt100"):
        self.screen = Screen(rows, columns)
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                self.set_size(0, rows, columns)
                os.execvpe(command[0], command, {**os.environ, "TERM": term, "LC_ALL": "C"})
            finally:
                os._exit(127)

    @staticmethod
    def set_size(fd, rows, columns):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        self.screen.resize(rows, columns)
        self.set_size(self.fd, rows, columns)

    def type(self, text):
        os.write(self.fd, text.encode())

    def pump(self, seconds):
        """Take output for so long; False when the program has ended."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                break
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return False
            if not data:
                return False
            self.screen.feed(data)
        return True

    def wait(self, wanted, seconds=15):
        """Until the text is, or the condition over the screen holds."""
        holds = wanted if callable(wanted) else lambda s: wanted in s.text()
        end = time.monotonic() + seconds
        while not holds(self.screen):
            if not self.pump(0.05) or time.monotonic() > end:
                raise AssertionError(f"never {wanted!r} on\n{self.screen.text()}")
        return self.screen

    def wait_end(self, seconds=10):
        """The exit status."""
        end = time.monotonic() + seconds
        while self.status is None and time.monotonic() < end:
            self.pump(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
