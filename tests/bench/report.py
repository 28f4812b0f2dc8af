# SPDX-License-Identifier: GPL-2.0
"""The tables, in markdown, of a results document."""

from figures import SIDES

UNITS = {"seqread-shared": "MiB/s", "seqread-copied": "MiB/s", "pause": "ms", "changelist": "ms",
         "delta-create": "ms", "delta-apply": "ms"}  # fmt: skip


def amount(row, value):
    unit = UNITS.get(row, "IOPS")
    if unit == "IOPS":
        return f"{value / 4:.0f}"  # KiB/s of 4 KiB requests
    if unit == "MiB/s":
        return f"{value / 1024:.0f}"
    if row == "pause":
        return f"{value / 1000:.1f}"
    return f"{value * 1000:.0f}"


def verdict_table(document):
    lines = ["| work | chunk | against | ratio | quartiles of pairs | at least | |", "|---|---|---|---|---|---|---|"]
    for v in document["verdicts"]:
        mark = "met" if v["passed"] else f"missed by {100 * (1 - v['ratio'] / v['target']):.0f} %"
        lines.append(
            f"| {v['work']} | {v['chunk']} KiB | {SIDES[v['theirs']]} | {v['ratio']:.2f} "
            f"| {v['low']:.2f} to {v['high']:.2f} | {v['target']:g} | {mark} |"
        )
    return lines


def figure_table(document):
    rows = {}
    for f in document["figures"]:
        rows.setdefault((f["row"], f["chunk"]), {})[f["side"]] = f["median"]
    sides = [s for s in SIDES if any(s in cells for cells in rows.values())]
    lines = ["| row | chunk | unit | " + " | ".join(SIDES[s] for s in sides) + " |",
             "|---" * (3 + len(sides)) + "|"]  # fmt: skip
    for (row, chunk), cells in rows.items():
        values = " | ".join(amount(row, cells[s]) if s in cells else "" for s in sides)
        lines.append(f"| {row} | {chunk} KiB | {UNITS.get(row, 'IOPS')} | {values} |")
    return lines


def machine_text(document):
    host, run = document["host"], document["run"]
    kernel = next((n.split("machine ", 1)[1] for n in document["notes"] if " machine " in f" {n}"), "")
    return [
        f"Revision {document['revision']}. Host: {host['cpu']}, {host['cpus']} CPUs, {host['memory_gib']} GiB, "
        f"Linux {host['kernel']}; {host['qemu']}, accelerator {run['accel']}; {host['fio']}; {host['compiler']}; "
        f"thin_delta {host['thin_delta']}.",
        "",
        f"Guest: Linux {kernel}; disks: {run['disk']}. The run took {run['seconds']} s; the host's load average was "
        f"{run['load_mean']} (at most {run['load_max']}).",
    ]


def markdown(document):
    lines = machine_text(document) + [""] + verdict_table(document)
    lines += ["", "Medians:", ""] + figure_table(document)
    return "\n".join(lines) + "\n"
