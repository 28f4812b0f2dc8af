#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The README's first ten minutes, word by word, on a fresh machine.

readme.py README    runs the commands of that chapter, as root, on a machine with two empty disks,
                    /dev/vdb and /dev/vdc, and the packages installed.

Left out are the lines that build and install those.  What the comments promise is checked.
"""
import re
import subprocess
import sys

INSTALLED = ("apt build-dep", "apt install")


def fail(why):
    sys.exit(f"FAILED: {why}")


def chapter(path):
    text = open(path, encoding="utf-8").read()
    found = re.search(r"^## The first ten minutes\n(.*?)^## ", text, re.M | re.S)
    return found.group(1) if found else fail("the README has no such chapter")


def run(command):
    print("$", command, flush=True)
    done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, text=True, cwd="/root", check=False)
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        fail(f"{command}: status {done.returncode}")
    return done.stdout.strip()


def another_device():
    """What the README calls /dev/ANOTHER: it equals snapshot 0."""
    size = run("blockdev --getsize64 /dev/zumastor/data@0")
    run(f"truncate -s {size} /root/another")
    device = run("losetup --show -f /root/another")
    run(f"dd if=/dev/zumastor/data@0 of={device} bs=1M status=none")
    return device


def step(line, numbers):
    command, _, comment = (part.strip() for part in line.partition("  # "))
    if "/dev/ANOTHER" in command:
        device = another_device()
        run(command.replace("/dev/ANOTHER", device))
        run(f"cmp {device} /dev/zumastor/data@1")
        return
    out = run(command)
    if command.startswith("zumastor snapshot"):
        numbers.append(out)
        if not re.search(rf"\b{out}\b", comment):
            fail(f"it printed {out}, the README says: {comment}")
    if command.startswith("head"):
        with open("/etc/passwd", encoding="utf-8") as passwd:
            if out != passwd.readline().strip():
                fail(f"the snapshot's file begins with {out}")
    if command.startswith("zumastor status") and not re.search(r"^data\S* up$", out, re.M):
        fail("the volume is not up")


def main():
    text = chapter(sys.argv[1])
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    numbers = []
    for line in lines:
        if not line.startswith(INSTALLED):
            step(line, numbers)
    if numbers != ["0", "1"]:
        fail(f"snapshots {numbers}: the README makes two")
    before = run("cd /srv/data && find . -type f -print0 | sort -z | xargs -0 sha256sum")
    back = re.search(r"^And back:.*?\n\n", text + "\n", re.M | re.S)
    commands = re.findall(r"`([^`]+)`", back.group(0).split("Without systemd")[0] if back else "")
    if commands[:1] != ["umount /srv/data"] or "zumastor forget data" not in commands:
        fail(f"the way back is {commands}")
    for command in commands:
        run(command)
    run("sed -i '\\,^/dev/zumastor/data ,d' /etc/fstab && mount /dev/vdb /mnt")
    if run("cd /mnt && find . -type f -print0 | sort -z | xargs -0 sha256sum") != before:
        fail("the plain device has other data")
    run("umount /mnt")
    print("readme: PASS")


main()
