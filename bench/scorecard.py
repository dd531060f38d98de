# SPDX-License-Identifier: BSD-3-Clause
"""What a comparison found, as text, Markdown and SVG, and what became of the goals."""

import json
import math
import os
import shutil
import statistics

from bed import proc

MARKS = ("<!-- what bench/compare found -->", "<!-- end of what bench/compare found -->")
COLOURS = {"postfix": "#d1571b", "exim": "#8a3ea8", "opensmtpd": "#2c8a3d", "dovecot": "#b08900",
           "bypost": "#1f6fb4", "bypost-tap": "#5fb0e6", "raw": "#999999"}
FIGURES = ("accepted_per_s", "relayed_per_s", "cpu_user_us", "cpu_system_us", "p50", "p99", "p999",
           "group", "core_us")
MB = 1 << 20


def summary(result):
    """{(cell, target): medians over the rounds}; memory is the most there was."""
    found = {}
    for cell in result["cells"]:
        for target in result["titles"]:
            rows = [r for r in result["rows"]
                    if r["cell"] == cell["name"] and r["target"] == target]
            if not rows:
                continue
            found[cell["name"], target] = {
                "rounds": len(rows), "memory": max(r["memory"] for r in rows),
                "memory_files": max(r["memory_files"] for r in rows),
                "undelivered": max(r.get("undelivered", 0) for r in rows),
                **{k: statistics.median(v) for k in FIGURES
                   if (v := [r[k] for r in rows if r.get(k) is not None])}}
    return found


# ---- tables ----


def count(v):
    return "" if v is None else f"{v:,.0f}" if v >= 10 else f"{v:.1f}"


def ms(v):
    return "" if v is None else f"{v / 1e3:,.1f}"


HEAD = ("cell", "server", "accepted/s", "relayed/s", "CPU us user", "system", "memory MB",
        "250: p50 ms", "p99", "p99.9")


def table_rows(result):
    medians = summary(result)
    rows = []
    for cell in result["cells"]:
        name, raw = cell["name"], result["raw"][cell["name"]]
        rows.append([name, "*generator and sink alone*", count(raw["per_s"]), "", "", "", "", "",
                     ms(raw["p99"]), ""])
        for target, title in result["titles"].items():
            m = medians.get((name, target))
            if not m:
                continue
            mark = "\\*" if m["undelivered"] else ""
            rows.append(["", title, count(m.get("accepted_per_s")),
                         count(m.get("relayed_per_s")) + mark, count(m.get("cpu_user_us")),
                         count(m.get("cpu_system_us")),
                         f"{m['memory'] / MB:.0f} + {m['memory_files'] / MB:.0f}",
                         ms(m.get("p50")), ms(m.get("p99")), ms(m.get("p999"))])
    return rows


def markdown_table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
                      *("| " + " | ".join(r) + " |" for r in rows)])


def text_table(head, rows):
    rows = [[c.replace("*", "").replace("\\", "*") for c in r] for r in [list(head), *rows]]
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) if i < 2 else c.rjust(w)
                               for i, (c, w) in enumerate(zip(r, widths))) for r in rows)


# ---- the goals ----


def verdict(good):
    return "met" if good else "**missed**"


def rate_goal(what, key, bypost, postfix, ceiling):
    times, share = bypost[key] / postfix[key], bypost[key] / ceiling["per_s"]
    wanted = min(20 * postfix[key], 0.45 * ceiling["per_s"])
    return [f"{what}, main cell", "20x Postfix, or 45 % of generator and sink alone: "
            f"the lower is {wanted:,.0f}/s",
            f"{bypost[key]:,.0f}/s: {times:.1f}x Postfix, {share:.0%} of the ceiling",
            verdict(bypost[key] >= wanted)]


def memif_goals(result):
    for r in result["memif"]:
        what = f"{r['mode']} over memif, {r['octets'] / 1000:g} kB"
        if r.get("target"):
            yield [what, f"{r['target']:,}/s", f"{r['per_s']:,.0f}/s",
                   verdict(r["per_s"] >= r["target"])]
        if r.get("share"):
            yield [f"{what}, beside the disk alone in groups of {r['group']:.1f}",
                   f"{r['share_target']:.0%}",
                   f"{r['per_s']:,.0f}/s of {r['raw_per_s']:,.0f}/s: {r['share']:.0%}",
                   verdict(r["share"] >= r["share_target"])]


def goals(result):
    medians, main = summary(result), result["main"]
    bypost, postfix = medians.get((main, "bypost")), medians.get((main, "postfix"))
    rows = []
    if bypost and postfix:
        ceiling = result["raw"][main]
        rows.append(rate_goal("accepted", "accepted_per_s", bypost, postfix, ceiling))
        rows.append(rate_goal("relayed", "relayed_per_s", bypost, postfix, ceiling))
        cpu = [m["cpu_user_us"] + m["cpu_system_us"] for m in (postfix, bypost)]
        rows.append(["CPU of a relayed message, main cell", "1/50 of Postfix's",
                     f"{cpu[1]:,.0f} us ({bypost['cpu_user_us']:,.0f} user) against {cpu[0]:,.0f} us "
                     f"({postfix['cpu_user_us']:,.0f} user): 1/{cpu[0] / cpu[1]:.1f}",
                     verdict(cpu[1] * 50 <= cpu[0])])
    if bypost and bypost.get("core_us"):
        cycles = bypost["core_us"] * result["machine"]["mhz"]
        rows.append(["the polling core's work for a relayed message, main cell", "",
                     f"{bypost['core_us']:.1f} us, {cycles:,.0f} cycles; groups of "
                     f"{bypost['group']:.0f} messages", ""])
    half, probe = result["half"].get("bypost"), result["probes"].get("half")
    if half and probe:
        rows.append([f"p99 of the 250 at half the rate ({half['rate']:,.0f}/s)",
                     "3x the disk's own p99",
                     f"{half['p99'] / 1e3:.1f} ms, the disk's {probe['p99_us'] / 1e3:.1f} ms: "
                     f"{half['p99'] / probe['p99_us']:.1f}x",
                     verdict(half["p99"] <= 3 * probe["p99_us"])])
    if stalls := result.get("stalls"):
        rows.append(["the machine alone, each CPU busy with counting: away for more than 1 ms at a time",
                     "", f"{stalls['share'] * 100:.1f}% of the time, {stalls['longest_ms']:.1f} ms the "
                     "longest", ""])
    return rows + list(memif_goals(result))


# ---- plots ----


def bars(title, unit, groups, names):
    """Horizontal bars on a logarithmic scale: groups is [(label, {target: value})]."""
    values = [v for _, g in groups for v in g.values() if v and v > 0]
    if not values:
        return None
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 0.05)
    left, right, row = 190, 860, 13

    def x(v):
        return left + (math.log10(max(v, 10 ** low)) - low) / max(high - low, 1) * (right - left)
    out, y = [f'<text x="10" y="20" font-size="14">{title}, {unit}</text>'], 34
    for i, (target, name) in enumerate(names.items()):
        out.append(f'<rect x="{10 + i * 145}" y="{y}" width="10" height="10" '
                   f'fill="{COLOURS[target]}"/><text x="{24 + i * 145}" y="{y + 9}">{name}</text>')
    top = y = y + 24
    for label, group in groups:
        out.append(f'<text x="{left - 6}" y="{y + 10}" text-anchor="end">{label}</text>')
        for target, v in group.items():
            if v and v > 0:
                out.append(f'<rect x="{left}" y="{y}" width="{max(x(v) - left, 1):.1f}" '
                           f'height="{row - 2}" fill="{COLOURS[target]}"/>'
                           f'<text x="{x(v) + 4:.1f}" y="{y + 10}">{count(v)}</text>')
            y += row
        y += 8
    grid = "".join(f'<line x1="{x(10 ** e):.1f}" x2="{x(10 ** e):.1f}" y1="{top}" y2="{y}" '
                   f'stroke="#ddd"/>' for e in range(low, high + 1))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + 80}" height="{y + 10}" '
            f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" '
            f'fill="white"/>{grid}{"".join(out)}</svg>\n')


def plots(result):
    """{file name: SVG}."""
    medians = summary(result)
    names = {**result["titles"], "raw": "generator and sink alone"}

    def groups(value, raw=None):
        found = []
        for cell in result["cells"]:
            of = {t: value(medians[cell["name"], t]) for t in result["titles"]
                  if (cell["name"], t) in medians}
            if raw:
                of["raw"] = result["raw"][cell["name"]][raw]
            found.append((cell["name"], of))
        return found

    def cpu(m):
        return m.get("cpu_user_us", 0) + m.get("cpu_system_us", 0)
    drawn = {
        "compare-accepted.svg": bars("Accepted", "messages/s", groups(
            lambda m: m.get("accepted_per_s"), "per_s"), names),
        "compare-relayed.svg": bars("Relayed", "messages/s", [
            g for g in groups(lambda m: m.get("relayed_per_s")) if any(g[1].values())],
            result["titles"]),
        "compare-cpu.svg": bars("CPU of a message, all processes of the server", "microseconds",
                                groups(cpu), result["titles"]),
        "compare-latency.svg": bars("99th percentile of the 250", "ms", groups(
            lambda m: m.get("p99", 0) / 1e3), result["titles"]),
    }
    return {k: v for k, v in drawn.items() if v}


# ---- all of it ----


def conditions(result):
    m = result["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    lines = [f"`sudo {result['command'].strip()}`, {result['date']}, {result['seconds'] / 60:.0f} minutes.",
             f"Machine: {m['cpus']} CPUs ({m['cpu']}), {m['memory_mb']:,} MB, Linux {m['kernel']}; disk "
             f"{m['disk']}; load before the run {result['load_before']:.1f}; hugepages "
             f"{'reserved' if result['pages'] else 'none'}.",
             f"Versions: {versions}."]
    if result["left_out"]:
        lines.append(f"{len(result['left_out'])} measurements of later rounds were left out for time.")
    lines += [f"Did not run: {', '.join(map(str, f[:3]))}." for f in result["failures"]]
    bad = [r for r in result["rows"] if any(r.get(k) for k in ("lost", "doubled", "altered",
                                                               "forged"))]
    lines.append("No message was lost, doubled, altered or forged by anybody." if not bad else
                 "**Faults**: " + "; ".join(
                     f"{r['target']} {r['cell']}: " + ", ".join(
                         f"{r[k]} {k}" for k in ("lost", "doubled", "altered", "forged")
                         if r.get(k)) for r in bad))
    return lines


def memif_text(result):
    if not result["memif"]:
        return ""
    rows = [[r["mode"], f"{r['octets'] / 1000:g} kB", str(r["sessions"]),
             count(r.get("accepted_per_s", r["per_s"])),
             count(r["per_s"]) if r["mode"] == "relay" else "",
             count(r["daemon_cpu_seconds"] * 1e6 / r["accepted"]) if r["accepted"] else "",
             ms(r["accept_us"]["p50"]), ms(r["accept_us"]["p99"])] for r in result["memif"]]
    return "\n\nOver memif, bypost's stack at all ends (`bench/bench_smtp`):\n\n" + markdown_table(
        ("mode", "size", "sessions", "accepted/s", "relayed/s", "CPU us", "250: p50 ms", "p99"), rows)


def markdown(result, folder=""):
    pictures = "\n".join(f"![{name}]({folder}{name})" for name in plots(result))
    goal_rows = goals(result)
    text = "\n".join(conditions(result)) + "\n\n" + markdown_table(HEAD, table_rows(result))
    text += "\n\n\\* not all that was accepted had been relayed when time was up."
    text += memif_text(result)
    if goal_rows:
        text += "\n\n" + markdown_table(("what", "goal", "figure", ""), goal_rows)
    return text + "\n\n" + pictures + "\n"


def write(path, text):
    with open(path + ".new", "w") as f:
        f.write(text)
    shutil.chown(path + ".new", *proc.owner())
    os.replace(path + ".new", path)


def save(result, folder):
    """Files into the folder; returns the text for people."""
    os.makedirs(folder, exist_ok=True)
    shutil.chown(folder, *proc.owner())
    write(os.path.join(folder, "compare.json"), json.dumps(result, indent=1) + "\n")
    write(os.path.join(folder, "compare.md"), markdown(result))
    for name, svg in plots(result).items():
        write(os.path.join(folder, name), svg)
    text = "\n".join(conditions(result)) + "\n\n" + text_table(HEAD, table_rows(result))
    rows = goals(result)
    if rows:
        text += "\n\n" + text_table(("what", "goal", "figure", ""), rows)
    return text + f"\n\nresults are in {folder}"


def write_docs(result, folder):
    """The page's part between the marks, and the plots beside it."""
    path = os.path.join(folder, "benchmark.md")
    with open(path) as f:
        before, _, rest = f.read().partition(MARKS[0])
    _, mark, after = rest.partition(MARKS[1])
    if not mark:
        raise proc.Failure(f"{path} has no place for the result: {MARKS[0]}")
    os.makedirs(os.path.join(folder, "plots"), exist_ok=True)
    shutil.chown(os.path.join(folder, "plots"), *proc.owner())
    for name, svg in plots(result).items():
        write(os.path.join(folder, "plots", name), svg)
    write(path, f"{before}{MARKS[0]}\n\n{markdown(result, 'plots/')}\n{MARKS[1]}{after}")
