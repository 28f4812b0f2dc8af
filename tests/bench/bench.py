#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Runs the table of doc/performance.md in one virtual machine, in one run, and
writes table.md, results.json and ratios.svg into BUILD/bench.

Exit status: 0 all rows ran (whether or not a ratio was reached), 1 not."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import figures
import history
import machine
import plot
import report

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", type=Path, required=True, help="a build tree in which the programs are made")
    parser.add_argument("--rows", default="all",
                        help="first1,first8,first64,first1000,plain,copied,seqread,pause,delta,transfer1,transfer10,\n"
                             "transfer100,changelist,history")  # fmt: skip
    parser.add_argument("--chunks", default="4,64", help="chunk sizes in KiB")
    parser.add_argument("--reps", type=int, default=5, help="measured repetitions of each side")
    parser.add_argument("--ms", type=int, default=800, help="length of one run of fio")
    parser.add_argument("--suite", default="bookworm", help="Debian release of the machine's kernel")
    parser.add_argument("--seconds", type=int, default=3600, help="the machine is ended after this")
    parser.add_argument("--append", default="", help="more for the kernel's command line")
    parser.add_argument("--report", action="store_true", help="only write the report of the last run again")
    return parser.parse_args()


def accelerator(kernel):
    """kvm where it really works: the tests' own probe decides."""
    script = f'. "{TOP}/tests/lib/vm.sh"; vm_accel "$1"; rmdir "$VM_DIR"'
    link = kernel.with_suffix(".kernel")
    shutil.copyfile(kernel, link)
    out = subprocess.run(["bash", "-c", script, "bash", str(link.with_suffix(""))], check=True,
                         stdout=subprocess.PIPE, text=True).stdout.split()  # fmt: skip
    return out[-1]


def prepare(build, out, suite):
    version = subprocess.run([HERE / "kernel.sh", suite, TOP, out], check=True, stdout=subprocess.PIPE,
                             text=True).stdout.split()[-1]  # fmt: skip
    subprocess.run([HERE / "image.sh", out / "root", version, build, out / "initrd"], check=True)


def revision():
    run = subprocess.run(["git", "-c", "safe.directory=*", "-C", TOP, "describe", "--always", "--dirty"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)  # fmt: skip
    return run.stdout.strip() or "unknown"


def measure(args, out):
    """The rows that the machine runs, as a part of the document."""
    prepare(args.build.resolve(), out, args.suite)
    guest = machine.Machine(kernel=out / "kernel", initrd=out / "initrd", out=out, accel=accelerator(out / "kernel"))
    append = f"bench.rows={args.rows} bench.chunks={args.chunks} bench.reps={args.reps} bench.ms={args.ms} {args.append}"
    print(f"bench: one machine ({guest.accel}), rows {args.rows}; its console: {out}/console.log", flush=True)
    results, run = guest.run(append.strip(), args.seconds)
    return {
        "run": {**run, "options": append.strip()},
        "notes": results.notes,
        "ended": results.ended,
        "figures": figures.as_json(figures.figures(results.samples)),
        "verdicts": figures.as_json(figures.verdicts(results.samples)),
    }


def measure_history(args, out):
    """The row that needs no machine."""
    chunks = [int(chunk) for chunk in args.chunks.split(",")]
    try:
        return {"history": history.run(args.build.resolve(), out / "history", chunks)}
    except history.LeftOut as why:
        return {"left_out": [f"history: {why}"]}


def measure_all(args, out):
    document = {"revision": revision(), "host": machine.host_description(), "notes": [], "ended": True,
                "figures": [], "verdicts": []}  # fmt: skip
    if args.rows != "history":
        document |= measure(args, out)
    if args.rows == "all" or "history" in args.rows.split(","):
        document |= measure_history(args, out)
    (out / "results.json").write_text(json.dumps(document, indent=1) + "\n")


def main():
    args = options()
    if os.geteuid() != 0 and not args.report:
        sys.exit("bench: needs root: sudo make bench")
    out = args.build.resolve() / "bench"
    out.mkdir(exist_ok=True)
    if not args.report:
        subprocess.run([TOP / "tests/lib/setup.sh", "bench"], check=True, stdout=subprocess.DEVNULL)
        measure_all(args, out)
    document = json.loads((out / "results.json").read_text())
    (out / "table.md").write_text(report.markdown(document))
    (out / "ratios.svg").write_text(plot.ratios(document["verdicts"]))
    print((out / "table.md").read_text())
    failures = [note for note in document["notes"] if " FAILED " in f" {note}"]
    if not document["ended"]:
        failures.append("the machine did not reach its last row")
    for failure in failures:
        print(f"bench: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
