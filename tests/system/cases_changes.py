# SPDX-License-Identifier: GPL-2.0
"""Reverting and resizing."""
import json
import os
import random
import signal
import subprocess
import time

from testbed import META, ORIGIN, STORE, expect_refusal, linear, rounds, switch
from volume import DDSNAP, Volume, sh
from blocks import BLOCK, Dev, Load, block, digest, fill, size_of


def three_snapshots(v, path):
    """A snapshot before, one to go back to, one after; their sums."""
    fill(path, 1, v.sectors)
    sums = {}
    for tag in range(3):
        sums[tag] = digest(v.create(tag))
        load = Load(path, v.sectors // 8, 40 + tag, threads=2)
        load.wait_for(60)
        load.finish()
    return sums


def expect_snapshots(v, sums):
    for tag, digest_of in sums.items():
        assert digest("/dev/mapper/" + v.dm(tag)) == digest_of, "snapshot %d changed" % tag


def test_revert():
    v = Volume(ORIGIN, STORE, chunk="4k")
    path = v.add()
    sums = three_snapshots(v, path)
    now = digest(path)
    held = os.open(path, os.O_RDONLY)
    expect_refusal(DDSNAP, "revert", v.sock, "1", says="in use")
    assert digest(path) == now and "reverting" not in v.status()
    os.close(held)
    expect_refusal(DDSNAP, "revert", v.sock, "9", says="9")
    report = json.loads(v.tool("revert", v.sock, 1, "--json").stdout)
    assert report["written"] > 0, report
    assert digest(path) == sums[1]
    expect_snapshots(v, sums)
    v.remove(2)                           # forward again; its device has to be made
    v.tool("revert", v.sock, 2)
    assert digest(path) == sums[2]
    v.remove(-1)                          # and the origin's as well
    d = Dev("/dev/mapper/" + v.dm(0))     # its own changes are its content
    d.write(5 * BLOCK, block(77, 5))
    d.close()
    sums[0] = digest("/dev/mapper/" + v.dm(0))
    v.tool("revert", v.sock, 0)
    path, sums[2] = v.add(), digest(v.add(2))
    assert digest(path) == sums[0]
    expect_snapshots(v, sums)
    v.close()


def test_revert_kills():
    """kill -9 of the tool and of the server, then again: as if nothing had happened."""
    v = Volume(ORIGIN, STORE, chunk="4k")
    path = v.add()
    sums = three_snapshots(v, path)
    r = random.Random(41)
    interrupted = 0
    for i in range(rounds(6, least=3)):
        tag = r.randrange(3)
        tool = subprocess.Popen([DDSNAP, "revert", v.sock, str(tag)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        end = time.time() + 60            # it has begun, or is over already
        while tool.poll() is None and "reverting" not in v.status():
            assert time.time() < end
        time.sleep(r.random() * 0.2)
        if i % 3 != 1:
            v.server.restart(signal.SIGKILL)
        if i % 3 != 2:
            tool.kill()
        tool.wait()
        if v.status().get("reverting") == tag:
            interrupted += 1
            expect_refusal(DDSNAP, "create", v.sock, "9", says="reverted")
            v.remove(tag)
            expect_refusal(DDSNAP, "delete", v.sock, str(tag), says="reverted")
            v.add(tag)
            tag = r.choice([tag, (tag + 1) % 3])
        v.tool("revert", v.sock, tag)
        assert "reverting" not in v.status()
        assert digest(path) == sums[tag], "round %d: not as snapshot %d" % (i, tag)
        expect_snapshots(v, sums)
        fill(path, 50 + i, v.sectors // 4)
    print("# %d were cut off" % interrupted)
    v.close()


def test_revert_full_store():
    """Other snapshots are not given up for it: it is refused, and goes on when there is room."""
    small = linear("small", STORE, 0, 14 * 2048)
    v = Volume(ORIGIN, small, chunk="4k")
    path = v.add()
    fill(path, 1, v.sectors)
    sums = {0: digest(v.create(0))}
    fill(path, 2, v.sectors)
    sums[1] = digest(v.create(1))
    fill(path, 3, v.sectors // 4)
    expect_refusal(DDSNAP, "revert", v.sock, "0", says="free")
    assert "reverting" not in v.status()
    expect_snapshots(v, sums)
    v.delete(1)
    v.tool("revert", v.sock, 0)
    assert digest(path) == sums[0]
    v.close()
    sh("dmsetup", "remove", "--retry", "small")


def grow(name, device, sectors):
    """A device of linear() becomes larger or smaller."""
    switch(name, "0 %d linear %s 0\n" % (sectors, device))


def resized(v, *argv):
    v.tool("resize", v.sock, *argv)
    v.sectors = v.status()["origin_size"] // 512


def cut_origin_keeps_its_last_chunk(v, path):
    """The device is cut within a chunk, the kernel was last told of the longer one."""
    end = v.sectors // 32 * 32 - 16       # half of a chunk
    resized(v, "-o", str(end * 512))
    grow("ro", ORIGIN, end)
    before = digest(v.create(8))
    fill(path, 9, v.sectors)              # copies the last chunk, as far as it goes
    assert digest("/dev/mapper/" + v.dm(8)) == before
    assert v.state(8) == "ok"
    v.delete(8)


def test_resize_origin():
    """Grown and shrunk under load; snapshots of every size stay what they are."""
    full = size_of(ORIGIN)
    small = full // 2 + 24                # ends within a chunk
    linear("ro", ORIGIN, 0, small)
    v = Volume("/dev/mapper/ro", STORE)
    path = v.add()
    fill(path, 1, v.sectors)
    sums = {0: digest(v.create(0))}
    expect_refusal(DDSNAP, "resize", v.sock, "-o", str(full * 512), says="bytes")
    load = Load(path, v.sectors // 8, 51, threads=2)
    load.wait_for(30)
    grow("ro", ORIGIN, full)
    resized(v, "-o", "max")
    assert v.sectors == full == size_of(path)
    load.wait_for(30)
    load.finish()
    load.check(path, load.acked, load.submitted)
    fill(path, 3, v.sectors)              # the new part, and the chunk where the old one ended
    sums[1] = digest(v.create(1))
    assert digest(path) == sums[1]
    fill(path, 1, small // 16 * 8)        # what a load takes to be there
    load = Load(path, small // 16, 52, threads=2)   # the front; the end is not in use any more
    load.wait_for(30)
    v.server.restart(signal.SIGKILL)
    resized(v, "-o", str(small // 2 // 8 * 8 * 512))
    assert v.sectors == small // 2 // 8 * 8 == size_of(path)
    grow("ro", ORIGIN, v.sectors)
    load.wait_for(30)
    load.finish()
    load.check(path, load.acked, load.submitted)
    cut_origin_keeps_its_last_chunk(v, path)
    v.tool("create", v.sock, 2)
    sums[2] = digest(path)
    for tag in (0, 1):                    # of other sizes than the origin
        v.remove(tag)
        v.add(tag)
    assert digest(v.add(2)) == sums[2]
    expect_snapshots(v, sums)
    v.close()
    sh("dmsetup", "remove", "--retry", "ro")


def resize_store(meta):
    """A store that is too small grows under load until it is not."""
    full = size_of(STORE)
    # Room for one copy of all of the origin beside what the kernel was granted (up to 6 MiB), so that the
    # load gives no snapshot up, however fast it is; not for the second that comes at the end.
    start = 16 * 2048
    linear("rs", STORE, 0, start)
    metas = linear("rm", META, 0, 4 * 2048) if meta else None
    v = Volume(ORIGIN, "/dev/mapper/rs", metas, chunk="4k")
    path = v.add()
    fill(path, 1, v.sectors)
    sums = {0: digest(v.create(0))}
    load = Load(path, v.sectors // 8, 53, threads=2)
    load.wait_for(30)
    total = v.status()["store"]["total_chunks"]
    for step, size in enumerate((start + 8, 2 * start, min(full, 3 * start))):
        grow("rs", STORE, size)
        if step == 1:
            v.server.restart(signal.SIGKILL)
        resized(v, "-s", "max")
        assert v.status()["store"]["total_chunks"] == size // 8
        load.wait_for(20)
    if meta:
        grow("rm", META, 8 * 2048)
        resized(v, "-m", "max")
    load.finish()
    assert v.status()["store"]["total_chunks"] > total
    load.check(path, load.acked, load.submitted)
    fill(path, 2, v.sectors)
    sums[1] = digest(v.create(1))
    fill(path, 3, v.sectors)              # two times the origin: more than it could keep before
    assert v.state(0) == v.state(1) == "ok", v.status()
    expect_snapshots(v, sums)
    expect_refusal(DDSNAP, "resize", v.sock, "-s", "9M", says="in use")
    for tag in (0, 1, -1):
        v.remove(tag)
    v.server.restart()
    path = v.add()
    for tag in (0, 1):
        v.add(tag)
    expect_snapshots(v, sums)
    v.close()
    for name in ("rs", "rm") if meta else ("rs",):
        sh("dmsetup", "remove", "--retry", name)


def test_resize_store():
    resize_store(False)


def test_resize_store_meta_device():
    resize_store(True)


def test_resize_store_cut():
    """The store's device is cut after the store; copies go on in what is left."""
    linear("rs", STORE, 0, 24 * 2048)
    v = Volume(ORIGIN, "/dev/mapper/rs", None, chunk="4k")
    path = v.add()
    fill(path, 1, 4096)
    sums = {0: digest(v.create(0))}
    fill(path, 2, 2048)
    resized(v, "-s", "16M")
    grow("rs", STORE, 16 * 2048)
    fill(path, 3, 4096)
    sums[1] = digest(v.create(1))
    fill(path, 4, 4096)
    assert v.state(0) == v.state(1) == "ok", v.status()
    expect_snapshots(v, sums)
    v.close()
    sh("dmsetup", "remove", "--retry", "rs")


# ---- with file systems and fio, in virtual machines ----
