# SPDX-License-Identifier: GPL-2.0
"""The benchmark's virtual machine: its kernel, one run, its results."""

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path


# Where fio's terse format, version 3, keeps what is used here.
TERSE_READ, TERSE_WRITE = 5, 46
TERSE_KIB, TERSE_MS, TERSE_CLAT_MAX, TERSE_CLAT_MEAN = 0, 3, 9, 10


@dataclass
class Sample:
    """One short run of fio on one side of a row."""

    row: str
    chunk: int  # KiB
    side: str
    rep: int  # 0 is the warm-up
    kib_per_s: float
    longest_us: float  # completion latency
    mean_us: float


@dataclass
class Timing:
    """One run of a program."""

    row: str
    chunk: int  # KiB
    side: str
    rep: int
    seconds: float


@dataclass
class GuestResults:
    samples: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    ended: bool = False


def parse_fio(text):
    row, chunk, side, rep, line = text.split("|", 4)
    fields = line.split(";")
    at = TERSE_READ if float(fields[TERSE_READ]) > 0 else TERSE_WRITE
    kib, ms = float(fields[at + TERSE_KIB]), float(fields[at + TERSE_MS])
    if kib <= 0 or ms <= 0:
        raise ValueError(f"{row} {side}: fio moved nothing")
    return Sample(
        row,
        int(chunk),
        side,
        int(rep),
        kib * 1000 / ms,
        float(fields[at + TERSE_CLAT_MAX]),
        float(fields[at + TERSE_CLAT_MEAN]),
    )


def parse_time(text):
    row, chunk, side, rep, microseconds = text.split("|")
    return Timing(row, int(chunk), side, int(rep), int(microseconds) / 1e6)


def parse_results(path):
    results = GuestResults()
    for line in Path(path).read_text(errors="replace").splitlines():
        if line.startswith(("fio|", "time|")):
            kind, _, rest = line.partition("|")
            try:
                results.samples.append(parse_fio(rest) if kind == "fio" else parse_time(rest))
            except (ValueError, IndexError) as error:
                results.notes.append(f"FAILED {error}")
        elif line.startswith("# "):
            results.notes.append(line[2:])
            results.ended = results.ended or line.split(" ", 2)[2] == "end"
    return results


def host_description():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    def first_line(*command):
        if not shutil.which(command[0]):
            return "absent"
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return out.stdout.strip().splitlines()[0]
    return {
        "cpu": cpu.group(1) if cpu else "unknown",
        "cpus": os.cpu_count(),
        "memory_gib": round(int(memory.group(1)) / (1 << 20), 1),
        "kernel": os.uname().release,
        "qemu": first_line("qemu-system-x86_64", "--version"),
        "fio": first_line("fio", "--version"),
        "thin_delta": first_line("thin_delta", "--version"),
        "compiler": first_line("g++", "--version"),
        "rsync": first_line("rsync", "--version"),
    }


@dataclass
class Machine:
    kernel: Path  # bzImage
    initrd: Path
    out: Path
    accel: str = "tcg,thread=multi"
    cpus: int = 2
    memory_mib: int = 10240

    def command(self, append):
        return [
            "qemu-system-x86_64", "-accel", self.accel, "-cpu", "max", "-smp", str(self.cpus),
            "-m", str(self.memory_mib), "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", str(self.kernel), "-initrd", str(self.initrd),
            "-append", f"console=ttyS0 quiet panic=-1 {append}",
            "-serial", f"file:{self.out}/console.log",
            "-device", "virtio-serial",
            "-chardev", f"file,id=results,path={self.out}/guest.txt",
            "-device", "virtserialport,chardev=results",
        ]  # fmt: skip

    def run(self, append, seconds):
        """One boot, all rows.  Returns results even if the guest was cut short."""
        for name in ("console.log", "guest.txt"):
            (self.out / name).unlink(missing_ok=True)
        started, loads = time.monotonic(), []
        with open(self.out / "qemu.log", "w", encoding="utf-8") as log:
            guest = subprocess.Popen(self.command(append), stdout=log, stderr=log)
            try:
                while guest.poll() is None and time.monotonic() - started < seconds:
                    loads.append(os.getloadavg()[0])
                    try:
                        guest.wait(timeout=10)
                    except subprocess.TimeoutExpired:
                        pass
            finally:
                guest.kill()
                guest.wait()
        if not (self.out / "guest.txt").exists():
            raise RuntimeError(f"the machine wrote nothing; see {self.out}/console.log")
        results = parse_results(self.out / "guest.txt")
        return results, {
            "seconds": round(time.monotonic() - started),
            "load_mean": round(sum(loads) / max(len(loads), 1), 2),
            "load_max": round(max(loads, default=0), 2),
            "accel": self.accel,
            "cpus": self.cpus,
            "memory_mib": self.memory_mib,
            "disk": "null_blk in the guest, memory_backed=1, completion in the submitter's context",
        }
