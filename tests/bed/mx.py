# SPDX-License-Identifier: BSD-3-Clause
"""A mail server for tests, whose every answer the test decides: SMTP or LMTP, TLS, AUTH, extensions.

    python3 -m bed.mx SETTINGS.json

What it takes becomes two files in the folder of the settings: N.eml, the octets as they came
(transparency undone), and N.json, the dialogue that brought them."""

import base64
import hashlib
import hmac
import json
import os
import socketserver
import ssl
import sys
import threading

DEFAULTS = {
    "ip": "", "port": 25, "folder": "", "name": "mx.test.example.net",
    "cert": "", "key": "", "client_ca": "",
    "implicit": False,      # TLS from the first octet
    "starttls": True,       # offered when there is a certificate
    "break_tls": False,     # says 220 to STARTTLS and then what is no TLS
    "inject": "",           # said in clear behind the 220 to STARTTLS
    "lmtp": False,
    "extensions": ["PIPELINING", "SIZE 100000000", "8BITMIME", "ENHANCEDSTATUSCODES"],
    "user": "", "password": "", "mechanisms": ["PLAIN", "LOGIN", "SCRAM-SHA-256"],
    "ehlo": "",             # another answer to EHLO
    "greeting": "",
    "replies": {},          # beginning of a command: the answer to it; "." the end of data
    "raw": {},              # the same, octet for octet
    "final": [],            # LMTP: answers for the recipients, in turn
}
LOCK, COUNT = threading.Lock(), [0]


class Session(socketserver.StreamRequestHandler):
    timeout = 60

    def handle(self):
        self.conf, self.secured, self.known = self.server.conf, {}, ""
        self.talk, self.rcpts, self.sender = [], [], None
        try:
            if self.conf["implicit"]:
                self.tls()
            self.raw_or("greeting", self.conf["greeting"] or f"220 {self.conf['name']} ready")
            while self.command():
                pass
        except (OSError, EOFError, ValueError) as e:
            self.talk.append(f"ended: {e}")

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")
        self.wfile.flush()

    def raw_or(self, what, text):
        raw = self.conf["raw"].get(what)
        if raw is None:
            self.say(text)
        else:
            self.wfile.write(raw.encode("latin-1"))
            self.wfile.flush()

    def line(self):
        line = self.rfile.readline(100000)
        if not line.endswith(b"\n"):
            raise EOFError("end of input")
        return line

    def tls(self):
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        peer = self.connection.getpeercert() or {}
        self.secured = {"version": self.connection.version(), "sni": getattr(self.connection, "name_asked", None),
                        "resumed": self.connection.session_reused,
                        "subject": str(peer.get("subject", ""))}

    def command(self):
        raw = self.line()
        text = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
        self.talk.append(text)
        verb = text.split(" ")[0].upper()
        for start, reply in {**self.conf["replies"], **self.conf["raw"]}.items():
            if start and text.upper().startswith(start.upper()):
                self.raw_or(start, reply)
                return verb != "QUIT" and not reply.startswith("421")
        handler = getattr(self, "do_" + verb.lower(), None)
        if handler:
            return handler(text)
        self.say("500 5.5.2 what?")
        return True

    def do_ehlo(self, text):
        if self.conf["ehlo"]:
            self.say(self.conf["ehlo"])
            return True
        words = list(self.conf["extensions"])
        if self.conf["cert"] and self.conf["starttls"] and not self.secured:
            words.append("STARTTLS")
        if self.conf["user"]:
            words.append("AUTH " + " ".join(self.conf["mechanisms"]))
        lines = [self.conf["name"]] + words
        for i, word in enumerate(lines):
            self.say(f"250{' ' if i == len(lines) - 1 else '-'}{word}")
        return True

    do_lhlo = do_ehlo

    def do_helo(self, text):
        self.say("250 " + self.conf["name"])
        return True

    def do_starttls(self, text):
        self.wfile.write(b"220 2.0.0 go ahead\r\n" + self.conf["inject"].encode())
        self.wfile.flush()
        if self.conf["break_tls"]:
            self.wfile.write(b"this is no TLS at all, whatever you take it for\r\n")
            self.wfile.flush()
            return False
        self.tls()
        self.talk = ["(TLS)"]
        return True

    def do_auth(self, text):
        words = text.split(" ")
        mechanism = words[1].upper()
        initial = base64.b64decode(words[2]) if len(words) > 2 else None
        if self.conf["password"] in text:
            raise ValueError("the password in clear")
        ok = {"PLAIN": self.auth_plain, "LOGIN": self.auth_login,
              "SCRAM-SHA-256": self.auth_scram}[mechanism](initial)
        self.talk[-1] = "AUTH " + mechanism
        self.known = mechanism if ok else ""
        self.say("235 2.7.0 welcome" if ok else "535 5.7.8 no")
        return True

    def challenge(self, text):
        self.say("334 " + base64.b64encode(text).decode())
        return base64.b64decode(self.line())

    def auth_plain(self, initial):
        if initial is None:
            initial = self.challenge(b"")
        return initial == f"\0{self.conf['user']}\0{self.conf['password']}".encode()

    def auth_login(self, initial):
        user = initial if initial is not None else self.challenge(b"Username:")
        return (user.decode() == self.conf["user"]
                and self.challenge(b"Password:").decode() == self.conf["password"])

    def auth_scram(self, initial):
        """RFC 5802 as the server, with the password itself at hand."""
        bare = initial.decode()[3:]
        fields = dict(f.split("=", 1) for f in bare.split(","))
        nonce, salt, turns = fields["r"] + "srv" + os.urandom(9).hex(), os.urandom(16), 4096
        first = f"r={nonce},s={base64.b64encode(salt).decode()},i={turns}"
        final = self.challenge(first.encode()).decode()
        without, _, proof = final.rpartition(",p=")
        auth = f"{bare},{first},{without}".encode()

        def mac(key, data):
            return hmac.new(key, data, hashlib.sha256).digest()
        salted = hashlib.pbkdf2_hmac("sha256", self.conf["password"].encode(), salt, turns)
        client = mac(salted, b"Client Key")
        signature = mac(hashlib.sha256(client).digest(), auth)
        want = base64.b64encode(bytes(a ^ b for a, b in zip(client, signature))).decode()
        if proof != want or fields["n"] != self.conf["user"] or f"r={nonce}" not in without:
            return False
        answer = self.challenge(
            b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), auth)))
        return answer == b""

    def do_mail(self, text):
        if self.conf["user"] and not self.known:
            self.say("530 5.7.0 AUTH first")
            return True
        self.rcpts, self.sender, self.chunks = [], text, b""
        self.say("250 2.1.0 ok")
        return True

    def do_rcpt(self, text):
        self.rcpts.append(text)
        self.say("250 2.1.5 ok")
        return True

    def do_data(self, text):
        if not self.rcpts:
            self.say("503 5.5.1 nobody")
            return True
        self.say("354 go ahead")
        data = b""
        while (line := self.line()) != b".\r\n":
            data += line[1:] if line.startswith(b".") else line
        self.end(data)
        return True

    def do_bdat(self, text):
        words = text.split(" ")
        self.chunks += self.rfile.read(int(words[1]))
        if len(words) > 2:
            self.end(self.chunks)
        else:
            self.say("250 2.0.0 more")
        return True

    def end(self, data):
        self.keep(data)
        reply = self.conf["replies"].get(".", "250 2.0.0 taken")
        if self.conf["lmtp"]:
            for i, _ in enumerate(self.rcpts):
                self.say((self.conf["final"] or [reply])[i % max(1, len(self.conf["final"]))])
        else:
            self.say(reply)

    def keep(self, data):
        with LOCK:
            COUNT[0] += 1
            path = os.path.join(self.conf["folder"], f"{COUNT[0]:05}")
        with open(path + ".eml", "wb") as f:
            f.write(data)
        facts = {"mail": self.sender, "rcpt": self.rcpts, "tls": self.secured, "auth": self.known,
                 "talk": self.talk}
        with open(path + ".new", "w") as f:
            json.dump(facts, f)
        os.replace(path + ".new", path + ".json")

    def do_rset(self, text):
        self.say("250 2.0.0 reset")
        return True

    do_noop = do_rset

    def do_quit(self, text):
        self.say("221 2.0.0 bye")
        return False


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


def context_of(conf):
    """One for all sessions, so that its tickets are good in the next."""
    if not conf["cert"]:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(conf["cert"], conf["key"])
    if conf["client_ca"]:
        context.load_verify_locations(conf["client_ca"])
        context.verify_mode = ssl.CERT_REQUIRED

    def asked(sock, name, _):
        sock.name_asked = name
    context.sni_callback = asked
    return context


def main():
    with open(sys.argv[1]) as f:
        conf = {**DEFAULTS, **json.load(f)}
    COUNT[0] = sum(name.endswith(".json") for name in os.listdir(conf["folder"]))
    with Server((conf["ip"], conf["port"]), Session) as server:
        server.conf, server.context = conf, context_of(conf)
        server.serve_forever()


if __name__ == "__main__":
    main()
