# SPDX-License-Identifier: BSD-3-Clause
"""The relay's configuration in a bed, and writing it as YAML."""

import os
import pwd

SERVICES = {"smtp": 25, "pop3": 110, "imap": 143}


def cpus():
    return sorted(os.sched_getaffinity(0))


def layout(name):
    """cores.layout: one core with all roles, or one core per role (on one CPU as well)."""
    if name == "one":
        return [{"roles": ["dataplane", "delivery", "control"],
                 "cpus": ",".join(str(c) for c in cpus())}]
    ours = cpus()
    return [{"roles": [role], "cpus": str(ours[i % len(ours)])}
            for i, role in enumerate(("dataplane", "delivery", "control"))]


def user(folder):
    """The user bypostd becomes: nobody, or whoever can reach a folder that is closed to others."""
    while folder != "/":
        folder = os.path.dirname(folder)
        st = os.stat(folder)
        if not st.st_mode & 0o001:
            return pwd.getpwuid(st.st_uid).pw_name
    return "nobody"


def make(bed):
    """The configuration of a bed as nested dicts and lists."""
    return {
        "node": {"hostname": bed.hostname, "user": user(bed.dir)},
        "ports": [{"name": "p0", "kind": bed.port, "device": bed.device,
                   "addresses": [bed.relay + "/24", bed.relay6 + "/64"],
                   "gateway": bed.client, "gateway6": bed.client6}],
        "cores": {"layout": layout(bed.layout), "file_prefix": bed.name},
        "listen": {**SERVICES, "plaintext_login": True},
        "relay": {"from": [bed.client + "/32", bed.client6 + "/128", bed.routed_net]},
        "domains": {"local": [bed.local_domain]},
        "dns": {"servers": [bed.dns_ip], "timeout": "5s"},
        "store": {"path": bed.path("store"), "reserve": "16M"},
        "delivery": {"connect_timeout": "5s"},
        "limits": {"drain_timeout": "5s"},
        "log": {"level": "info"},
        "admin": {"socket": bed.socket},
    }


def merge(base, changes):
    """base with changes put over it; mappings are merged, everything else is replaced.  A value of
    None takes the key away."""
    out = dict(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        else:
            out[key] = value
    return out


def scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def dump(value, indent=0):
    """Block-style YAML of dicts, lists and scalars."""
    pad = "  " * indent
    out = ""
    for key, item in value.items():
        if isinstance(item, dict):
            out += f"{pad}{key}:\n" + dump(item, indent + 1)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            out += f"{pad}{key}:\n"
            for entry in item:
                body = dump(entry, indent + 2)
                out += pad + "  - " + body[len(pad) + 4:]
        elif isinstance(item, list):
            out += f"{pad}{key}: [" + ", ".join(scalar(i) for i in item) + "]\n"
        else:
            out += f"{pad}{key}: {scalar(item)}\n"
    return out
