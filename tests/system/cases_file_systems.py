# SPDX-License-Identifier: GPL-2.0
"""Real file systems, and fio: they need a whole machine."""
import os
import random
import signal
import subprocess
import time

import testbed
from testbed import BIG, STORE
from volume import RUN, Volume, sh
from blocks import digest, size_of


def file_system(kind, mkfs, fsck, *snapshot_options):
    v = Volume(BIG, STORE)
    path = v.add()
    sh(*mkfs, path)
    a, b = RUN + "/a", RUN + "/b"
    for folder in (a, b):
        os.makedirs(folder, exist_ok=True)
    sh("mount", path, a)
    for i in range(3):
        sh("cp", "-r", "/etc", "%s/etc%d" % (a, i))
        sh("sync")
        v.create(i)                       # while it is mounted
        sh("rm", "-rf", "%s/etc%d" % (a, max(0, i - 1)))
    for i in range(3):
        s = "/dev/mapper/" + v.dm(i)
        sh("mount", "-o", ",".join(("rw",) + snapshot_options), s, b)
        sh("diff", "-r", "--no-dereference", "/etc", "%s/etc%d" % (b, i))
        with open(b + "/note", "w") as f:
            f.write("written to snapshot %d" % i)
        sh("umount", b)
        sh(*fsck, s)
    sh("umount", a)
    sh(*fsck, path)
    assert not os.path.exists(a + "/note")
    v.close()


def test_ext4():
    file_system("ext4", ["mkfs.ext4", "-q", "-F"], ["e2fsck", "-f", "-n"])


def test_xfs():
    # The smallest file system that xfs makes is larger than the test's origin
    # was before xfsprogs 5.19; --unsupported asks it to be content.
    mkfs = ["mkfs.xfs", "-q", "-f"]
    if "--unsupported" in sh("mkfs.xfs", check=False).stderr or size_of(BIG) < 300 * 2048:
        mkfs.append("--unsupported")
    file_system("xfs", mkfs, ["xfs_repair", "-n"], "nouuid")


def fio(path, seconds, name):
    return subprocess.Popen(
        ["fio", "--name=" + name, "--filename=" + path, "--rw=randwrite", "--bs=4k",
         "--iodepth=16", "--ioengine=libaio", "--direct=1", "--verify=crc32c",
         "--verify_fatal=1", "--verify_backlog=512", "--time_based", "--runtime=%d" % seconds,
         "--randseed=7", "--output=%s/%s.fio" % (RUN, name)])


def test_fio_verify():
    v = Volume(BIG, STORE)
    path = v.add()
    job = fio(path, 30, "verify")
    sums = {}
    tag = 0
    while job.poll() is None:
        v.create(tag)
        sums[tag] = digest("/dev/mapper/" + v.dm(tag))
        if tag >= 2:
            old = tag - 2
            assert digest("/dev/mapper/" + v.dm(old)) == sums.pop(old), "snapshot %d changed" % old
            v.delete(old)
        tag += 1
        assert tag < 1000
    with open(RUN + "/verify.fio") as f:
        assert job.returncode == 0, f.read()
    assert tag >= 3, "only %d snapshots" % tag
    print("# %d snapshots" % tag)
    v.close()


def test_fio_kills():
    """Many kills of server and agent under fio: a pause, never an error."""
    v = Volume(BIG, STORE)
    path = v.add()
    v.create(0)
    before = digest("/dev/mapper/" + v.dm(0))
    job = fio(path, 30, "kills")
    r = random.Random(15)
    kills = 0
    while job.poll() is None:
        time.sleep(r.random())
        if r.random() < 0.3:
            testbed.agent.restart(signal.SIGKILL)
        v.server.restart(signal.SIGKILL)
        kills += 1
    with open(RUN + "/kills.fio") as f:
        assert job.returncode == 0, f.read()
    assert digest("/dev/mapper/" + v.dm(0)) == before
    print("# %d kills" % kills)
    assert kills >= 5
    v.close()
