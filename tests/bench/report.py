# SPDX-License-Identifier: GPL-2.0
"""The tables, in markdown, of a results document."""

from figures import SIDES

UNITS = {"seqread-shared": "MiB/s", "seqread-copied": "MiB/s", "pause": "ms", "changelist": "ms",
         "delta-create": "ms", "delta-apply": "ms", "transfer1": "ms", "transfer10": "ms", "transfer100": "ms"}  # fmt: skip


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
        mark, target = "", ""
        if v["target"] is not None:
            mark = "met" if v["passed"] else f"missed by {100 * (1 - v['ratio'] / v['target']):.0f} %"
            target = f"{v['target']:g}"
        lines.append(
            f"| {v['work']} | {v['chunk']} KiB | {SIDES[v['theirs']]} | {v['ratio']:.2f} "
            f"| {v['low']:.2f} to {v['high']:.2f} | {target} | {mark} |"
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


def history_table(document):
    lines = ["| step | chunk | changed chunks, MiB | -r | -x | -b |", "|---|---|---|---|---|---|"]
    for row in document["history"]:
        cells = [f"{row['bytes'][mode] / 2**20:.1f} ({100 * row['bytes'][mode] / row['changed']:.0f} %)" for mode in ("-r", "-x", "-b")]
        lines.append(f"| {row['step']} | {row['chunk']} KiB | {row['changed'] / 2**20:.1f} | " + " | ".join(cells) + " |")
    return lines


def host_text(document):
    host = document["host"]
    return [
        f"Revision {document['revision']}. Host: {host['cpu']}, {host['cpus']} CPUs, {host['memory_gib']} GiB, "
        f"Linux {host['kernel']}; {host['qemu']}; {host['fio']}; {host['compiler']}; thin_delta {host['thin_delta']}; "
        f"{host['rsync']}.",
    ]


def guest_text(document):
    run = document["run"]
    kernel = next((n.split("machine ", 1)[1] for n in document["notes"] if " machine " in f" {n}"), "")
    return [
        f"Guest: Linux {kernel}; accelerator {run['accel']}; disks: {run['disk']}. The run took {run['seconds']} s; "
        f"the host's load average was {run['load_mean']} (at most {run['load_max']}).",
    ]


def markdown(document):
    lines = host_text(document)
    if "run" in document:
        lines += [""] + guest_text(document) + [""] + verdict_table(document)
        lines += ["", "Medians:", ""] + figure_table(document)
    if "history" in document:
        lines += ["", "Bytes on the wire, in MiB and in per cent of the chunks that differ; an ext4 file system in which a "
                  "kernel's sources are unpacked, patched, compiled:", ""] + history_table(document)  # fmt: skip
    lines += [f"\nLeft out: {what}." for what in document.get("left_out", [])]
    return "\n".join(lines) + "\n"
