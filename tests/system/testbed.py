# SPDX-License-Identifier: GPL-2.0
"""What the cases share: devices that may be overwritten, the agent, load, and what it proves."""
import os
import subprocess
import sys

from volume import sh
from blocks import digest, fill, Load

ORIGIN, STORE, META = sys.argv[1:4]
EFFORT = int(os.environ.get("SYSTEM_EFFORT", 100))  # percent of the rounds
BIG = os.environ.get("SYSTEM_BIG", ORIGIN)    # an origin for file systems
agent = None    # the one of the machine, while tests run


def rounds(full, least=2):
    return max(least, full * EFFORT // 100)


def bounds_of(volume, load, tag):
    """Creates a snapshot under load: what each of its blocks may hold."""
    with load.lock:
        low = list(load.acked)
    volume.tool("create", volume.sock, tag)
    with load.lock:
        high = list(load.submitted)
    return low, high


def under_load(volume, disturb, tags, seed, writes=60):
    """Snapshots are made and deleted while writes go on; each is proven."""
    path = volume.add()
    fill(path, 1, volume.sectors)
    load = Load(path, volume.sectors // 8, seed, threads=3)
    sums = {}
    for tag in range(tags):
        load.wait_for(writes)
        disturb(tag)
        low, high = bounds_of(volume, load, tag)
        device = volume.add(tag)
        disturb(tag)
        load.wait_for(writes)
        load.go.clear()                 # the interpreter is needed here
        load.check(device, low, high)
        load.go.set()
        sums[tag] = digest(device)
        if tag % 3 == 2:
            volume.delete(tag - 1)
            del sums[tag - 1]
        for old in sums:
            assert digest("/dev/mapper/" + volume.dm(old)) == sums[old], "snapshot %d changed" % old
    load.finish()
    load.check(path, load.acked, load.submitted)
    print("# %d writes, the longest took %.2f s" % (load.count, load.longest))
    return sums


def expect_refusal(*argv, says):
    result = sh(*argv, check=False)
    assert result.returncode == 1, "%s: exit %d" % (argv, result.returncode)
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("ddsnap: ") and says in lines[0], result.stderr


def linear(name, device, start, sectors):
    sh("dmsetup", "create", name, "--table", "0 %d linear %s %d" % (sectors, device, start))
    return "/dev/mapper/" + name


def switch(name, table):
    subprocess.run(["dmsetup", "load", name], input=table, text=True, check=True)
    sh("dmsetup", "resume", "--noudevsync", name)
