#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Functional tests of the target ddsnap against fake_server.py.

Runs as root on a kernel where dm-ddsnap is loaded:
    test_target.py ORIGIN_DEV STORE_DEV [TEST...]
Prints TAP.  Each test begins with fresh devices.
"""
import faulthandler
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib")]
import fake_server as fs  # noqa: E402
from blocks import BLOCK, Dev, Load, block, digest, fill, seed_of, sh, size_of  # noqa: E402

ORIGIN, STORE = sys.argv[1:3]
SOCK = "/run/ddsnap-test.sock"
LIMIT = 300     # seconds a test may take, on a machine that is busy
os.environ["DM_DISABLE_UDEV"] = "1"


class Volume:
    def __init__(self, shift=3):
        self.sectors = size_of(ORIGIN)
        self.server = fs.FakeServer(SOCK, self.sectors, size_of(STORE), shift)
        self.shift = shift
        self.names = []

    def table(self, tag, store=STORE, origin=ORIGIN):
        return "0 %d ddsnap %s %s %s %d" % (self.sectors, store, origin, SOCK, tag)

    def add(self, name, tag=-1, **kw):
        sh("dmsetup", "create", name, "--table", self.table(tag, **kw))
        self.names.append(name)
        return "/dev/mapper/" + name

    def remove(self, name):
        sh("dmsetup", "remove", name)
        self.names.remove(name)

    def status(self, name):
        return sh("dmsetup", "status", name).stdout.split()[3:]

    def close(self):
        for n in reversed(list(self.names)):
            sh("dmsetup", "remove", "--retry", n, timeout=60)
        self.server.shutdown()
        assert not self.server.errors, self.server.errors[0]


def snapshot_under_load(v, load, tag):
    with load.lock:
        low = list(load.acked)
    v.server.create(tag)
    with load.lock:
        high = list(load.submitted)
    return low, high


# ---- tests ----

def test_lines():
    v = Volume()
    v.add("vol")
    v.server.link_up.wait(10)
    table = sh("dmsetup", "table", "vol").stdout.split()
    assert table[2] == "ddsnap" and table[-1] == "-1" and len(table) == 7, table
    assert sh("dmsetup", "create", "x", "--table", v.table(77), check=False).returncode
    s = v.status("vol")
    assert len(s) == 17 and s[2] == "8", s
    v.close()


def test_agent_restarts():
    v = Volume()
    v.server.hang_ups = 3
    v.add("vol")
    assert v.server.hang_ups == 0
    v.close()


def test_plain():
    v = Volume()
    path = v.add("vol")
    fill(path, 1, v.sectors)
    assert digest(path) == digest(ORIGIN)
    sh("blockdev", "--flushbufs", path)
    v.close()


def snapshot_keeps(shift):
    v = Volume(shift)
    path = v.add("vol")
    fill(path, 1, v.sectors)
    before = digest(path)
    v.server.create(0)
    s0 = v.add("s0", 0)
    assert digest(s0) == before
    d = Dev(path)
    d.write(0, block(2, 0))
    d.write(1 << 20, b"".join(block(2, 256 + i) for i in range(64)))
    d.write(BLOCK * 1000, b"".join(block(2, 1000 + i) for i in range(3)))
    assert digest(s0) == before
    middle = digest(path)
    assert middle != before
    v.server.create(1)
    s1 = v.add("s1", 1)
    fill(path, 3, v.sectors)
    assert digest(s0) == before
    assert digest(s1) == middle
    d.close()
    v.close()


def test_snapshot_4k():
    snapshot_keeps(3)


def test_snapshot_64k():
    snapshot_keeps(7)


def test_snapshot_writes():
    v = Volume(5)
    path = v.add("vol")
    fill(path, 1, v.sectors)
    origin = digest(path)
    v.server.create(0)
    v.server.create(1)
    s0, s1 = v.add("s0", 0), v.add("s1", 1)
    d = Dev(s0)
    model = {}

    def put(first, n, seed):
        d.write(first * BLOCK, b"".join(block(seed, first + i) for i in range(n)))
        for i in range(n):
            model[first + i] = seed

    put(0, 1, 10)          # part of a chunk
    put(1, 1, 11)          # the same chunk, private already
    put(8, 4, 12)          # a whole chunk
    put(17, 9, 13)         # parts and wholes
    d.write(30 * BLOCK, b"z" * 512)
    po = Dev(path)
    po.write(40 * BLOCK, block(20, 40))    # copied, then written in the snapshot
    put(40, 1, 14)
    put(60, 1, 15)                         # private, then the origin's is copied
    po.write(60 * BLOCK, block(21, 60))
    po.close()
    for i in range(200):
        if i == 30:
            data = d.read(i * BLOCK, BLOCK)
            assert data == b"z" * 512 + block(1, 30)[512:]
            continue
        assert seed_of(d.read(i * BLOCK, BLOCK)) == (model.get(i, 1), i), i
    assert digest(s1) == origin
    d.close()
    # private chunks survive a new device
    v.remove("s0")
    v.add("s0", 0)
    d = Dev(s0)
    assert seed_of(d.read(8 * BLOCK, BLOCK)) == (12, 8)
    d.close()
    v.close()


def load_test(seed, disturb, rounds=4, shift=3, writes=80):
    v = Volume(shift)
    path = v.add("vol")
    fill(path, 1, v.sectors)
    load = Load(path, v.sectors // 8, seed)
    bounds, sums = {}, {}
    for tag in range(rounds):
        load.wait_for(writes)
        disturb(v, tag)
        bounds[tag] = snapshot_under_load(v, load, tag)
        v.add("s%d" % tag, tag)
        load.wait_for(writes)
        load.check("/dev/mapper/s%d" % tag, *bounds[tag])
        sums[tag] = digest("/dev/mapper/s%d" % tag)
        for old in range(max(0, tag - 2), tag):
            assert digest("/dev/mapper/s%d" % old) == sums[old], "snapshot %d changed" % old
    v.server.reading = True
    load.finish()
    load.check(path, load.acked, load.submitted)
    for tag in range(rounds):
        assert digest("/dev/mapper/s%d" % tag) == sums[tag], "snapshot %d changed" % tag
    print("# %d writes, longest %.2f s, %d hellos" % (load.count, load.longest,
                                                      v.server.hellos))
    v.close()


def test_load():
    load_test(1, lambda v, tag: None)


def test_load_16k():
    load_test(2, lambda v, tag: None, shift=5)


def test_load_small_grants():
    def disturb(v, tag):
        v.server.grant_limit = 1 + tag % 3
    load_test(3, disturb, rounds=3)


def test_load_reconnect():
    def disturb(v, tag):
        for i in range(5):
            v.server.cut()
            time.sleep(0.05 * (i + 1))
        v.server.drop_after = tag * 3
    load_test(4, disturb, rounds=3)


def test_load_late_acks():
    def disturb(v, tag):
        v.server.ack_delay = 0.1
        v.server.drop_after = 5 + tag
    load_test(5, disturb, rounds=3, writes=60)


def test_load_lost_resume():
    """Reports and the snapshot after them are durable, but neither ACK nor RESUME comes."""
    servers = []

    def disturb(v, tag):
        servers.append(v.server)
        v.server.ack_delay = 0.3
        v.server.die_at_ready = True
    load_test(21, disturb, rounds=4, writes=40)
    assert servers[0].acks_lost, "no report was without its ACK"


class SlowVolume(Volume):
    """Its store is behind a device that can be held, so that copies take as long as one likes."""

    def __enter__(self):
        sh("dmsetup", "create", "slow", "--table", "0 %d linear %s 0" % (size_of(STORE), STORE))
        self.path = self.add("vol")
        fill(self.path, 1, self.sectors)
        self.server.create(0)
        self.origin = Dev(self.path)
        self.origin.write(0, block(2, 0))   # grants are there
        return self

    def add(self, name, tag=-1, **kw):
        return super().add(name, tag, store="/dev/mapper/slow", **kw)

    def hold(self):
        sh("dmsetup", "suspend", "--nolockfs", "slow")

    def go_on(self):
        sh("dmsetup", "resume", "slow")

    def await_copy(self):
        wait_until("no copy begins", lambda: self.status("vol")[8] != "0")

    def __exit__(self, failed, *_):
        self.origin.close()
        if failed:                          # that is what is to be told
            sh("dmsetup", "resume", "slow", check=False)
            return
        self.close()
        sh("dmsetup", "remove", "--retry", "slow", timeout=60)


def wait_until(what, condition, seconds=20):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, what
        time.sleep(0.02)


def test_copy_outlives_snapshots():
    """A copy for a snapshot that is gone is no copy for one that is made after its write."""
    with SlowVolume() as v:
        v.hold()
        writer = threading.Thread(target=v.origin.write, args=(9 * BLOCK, block(3, 9)), daemon=True)
        writer.start()
        v.await_copy()
        v.server.delete(0)
        writer.join(20)
        assert not writer.is_alive(), "a write waits for a copy that nobody needs"
        maker = threading.Thread(target=v.server.create, args=(1,), daemon=True)
        maker.start()
        maker.join(1)
        assert maker.is_alive(), "a snapshot was made while a copy was under way"
        v.go_on()
        maker.join(60)
        assert not maker.is_alive(), "no snapshot is made"
        v.origin.write(9 * BLOCK, block(4, 9))
        s = Dev(v.add("s1", 1), os.O_RDONLY)
        assert seed_of(s.read(9 * BLOCK, BLOCK)) == (3, 9), "the snapshot holds what was before it"
        s.close()


def test_unused_grant_of_an_earlier_link():
    """What a copy did not need after all, when its link was lost, is the server's again."""
    with SlowVolume() as v:
        s = Dev(v.add("s0", 0))
        v.hold()
        failed = []

        def overwrite():
            try:
                s.write(20 * BLOCK, block(5, 20))
            except OSError as e:
                failed.append(e.errno)
        writer = threading.Thread(target=overwrite, daemon=True)
        writer.start()
        v.await_copy()
        v.server.link_allowed = False
        v.server.delete(0)
        wait_until("no drop", lambda: v.status("s0")[1] != "normal")
        v.server.cut()
        time.sleep(0.3)
        v.go_on()
        writer.join(60)
        assert failed == [5], failed
        v.server.link_allowed = True
        assert v.server.link_up.wait(30)
        v.server.create(1)
        for i in range(100, 400):         # as many copies as would use it, twice
            v.origin.write(i * BLOCK, block(6, i))
        one = Dev(v.add("s1", 1), os.O_RDONLY)
        for i in range(100, 400):
            assert seed_of(one.read(i * BLOCK, BLOCK)) == (1, i), i
        one.close()
        s.close()


def test_damaged_frames():
    r = random.Random(6)

    def disturb(v, tag):
        f = fs.frame
        s = fs.struct.pack
        bad = [os.urandom(64), f(99, b"12345678"), f(fs.ACK, s("<QQ", 1 << 60, 1)),
               f(fs.GRANT, s("<QQ", 1 << 61, 5)), f(fs.GRANT, s("<QQ", 5, 0)),
               f(fs.MAPPED, s("<QQQII", 1 << 50, 1, 1, 1, 0) + bytes(16)),
               f(fs.RESUME, s("<QQQ", 0, 1 << 40, 1)), f(fs.RESUME, s("<QQQ", 77, 1, 1)),
               f(fs.WELCOME, bytes(40)), f(fs.DROP, bytes(8)), f(fs.BARRIER, bytes(8)),
               f(fs.ABANDON, b"x" * 264), f(fs.ACK, b"x" * 8),
               fs.FRAME.pack(fs.MAGIC, fs.ACK, 65544, 0, 0),
               fs.FRAME.pack(fs.MAGIC, fs.ACK, 13, 0, 0)]
        for b in r.sample(bad, 6):
            v.server.link_up.wait(10)
            v.server.damage(b)
            time.sleep(0.1)
            v.server.cut()
    load_test(6, disturb, rounds=3, writes=60)


def test_server_away():
    """I/O waits while nobody is there; a noflush suspend gives it back."""
    v = Volume()
    path = v.add("vol")
    fill(path, 1, v.sectors)
    v.server.create(0)
    s0 = v.add("s0", 0)
    v.server.link_allowed = False
    v.server.cut()
    d, done = Dev(path), []

    def write():
        d.write(BLOCK * 7, block(2, 7))
        done.append(1)

    t = threading.Thread(target=write)
    t.start()
    snap = Dev(s0, os.O_RDONLY)
    got = []
    t2 = threading.Thread(target=lambda: got.append(snap.read(BLOCK * 9, BLOCK)))
    t2.start()
    time.sleep(0.5)
    assert not done and not got
    assert seed_of(d.read(BLOCK * 7, BLOCK)) == (1, 7)      # reads go on
    assert v.status("vol")[0] == "waiting" and v.status("vol")[6] == "2", v.status("vol")
    sh("dmsetup", "suspend", "--noflush", "--nolockfs", "vol", timeout=20)
    assert v.status("vol")[6] == "1", v.status("vol")
    sh("dmsetup", "load", "vol", "--table", v.table(-1))
    sh("dmsetup", "resume", "vol")
    time.sleep(0.3)
    assert not done
    v.server.link_allowed = True
    t.join(20)
    t2.join(20)
    assert done and seed_of(got[0]) == (1, 9)
    assert seed_of(d.read(BLOCK * 7, BLOCK)) == (2, 7)
    assert seed_of(snap.read(BLOCK * 7, BLOCK)) == (1, 7)
    d.close()
    snap.close()
    v.close()


def test_reload_under_load():
    v = Volume()
    path = v.add("vol")
    fill(path, 1, v.sectors)
    v.server.create(0)
    s0 = v.add("s0", 0)
    before = digest(s0)
    load = Load(path, v.sectors // 8, 7)
    for i in range(12):
        load.wait_for(20)
        for name, tag in (("vol", -1), ("s0", 0)):
            sh("dmsetup", "load", name, "--table", v.table(tag))
            flags = ["--noflush"] if i % 2 else []
            sh("dmsetup", "suspend", "--nolockfs", *flags, name, timeout=60)
            sh("dmsetup", "resume", name)
    assert digest(s0) == before
    load.finish()
    load.check(path, load.acked, load.submitted)
    assert digest(s0) == before
    v.close()


def test_drop():
    v = Volume()
    path = v.add("vol")
    fill(path, 1, v.sectors)
    e0 = v.server.create(0)
    v.server.create(1)
    s0, s1 = v.add("s0", 0), v.add("s1", 1)
    d = Dev(s0, os.O_RDONLY)
    d.read(0, BLOCK)
    stop = []
    errors = []

    def read():
        while not stop:
            try:
                d.read(BLOCK * random.randrange(1000), BLOCK)
            except OSError as e:
                errors.append(e)
                break
    t = threading.Thread(target=read)
    t.start()
    time.sleep(0.2)
    v.server.delete(0)
    t.join(20)
    assert errors, "reads of a dropped snapshot go on"
    for _ in range(100):
        if e0 in v.server.dropped:
            break
        time.sleep(0.05)
    assert e0 in v.server.dropped
    assert v.status("s0")[1] == "dropped"
    d.close()
    fill(path, 2, v.sectors)
    c = Dev(s1, os.O_RDONLY)
    assert seed_of(c.read(0, BLOCK)) == (1, 0)
    c.close()
    # a snapshot that nobody has open
    v.remove("s1")
    time.sleep(0.2)
    e1 = v.server.delete(1).epoch
    for _ in range(100):
        if e1 in v.server.dropped:
            break
        time.sleep(0.05)
    assert e1 in v.server.dropped
    v.close()


def test_drop_with_answer():
    """The snapshot goes between the answer to a whole-chunk write's MAP and the write."""
    v = Volume()
    path = v.add("vol")
    fill(path, 1, v.sectors)
    v.server.create(0)
    v.server.create(1)
    s0, s1 = v.add("s0", 0), v.add("s1", 1)
    chunk = 512 << v.server.chunk_shift
    d = Dev(s0)
    d.write(0, bytes(chunk))            # so that there are grants at hand
    d.close()
    v.server.held_maps = []
    errors = []

    def write():
        d = Dev(s0)
        try:
            d.write(64 * chunk, bytes(chunk))
        except OSError as e:
            errors.append(e.errno)
        d.close()
    t = threading.Thread(target=write)
    t.start()
    for _ in range(400):
        if v.server.held_maps:
            break
        time.sleep(0.05)
    e0 = v.server.answer_and_delete(0).epoch
    t.join(20)
    assert errors == [5], errors
    for _ in range(100):
        if e0 in v.server.dropped:
            break
        time.sleep(0.05)
    assert e0 in v.server.dropped
    fill(path, 2, v.sectors)
    c = Dev(s1, os.O_RDONLY)
    assert seed_of(c.read(64 * chunk, BLOCK)) == (1, 64 * chunk // BLOCK)
    c.close()
    v.close()


def test_full_and_abandon():
    v = Volume()
    v.server.deny = True                  # from the first question on, which a new link asks
    path = v.add("vol")
    fill(path, 1, v.sectors)
    v.server.create(0)
    s0 = v.add("s0", 0)
    d = Dev(path)
    try:
        d.write(0, block(2, 0))
        raise AssertionError("write without space")
    except OSError as e:
        assert e.errno == 28, e
    assert seed_of(d.read(0, BLOCK)) == (1, 0)
    assert v.status("vol")[16] == "1"
    v.server.deny = False
    d.write(0, block(2, 0))
    v.server.abandon()
    v.server.deny = True
    d.write(BLOCK * 5, block(3, 5))
    for _ in range(100):
        if v.status("s0")[1] == "dropped":
            break
        time.sleep(0.05)
    assert v.status("s0")[1] == "dropped"
    assert v.status("vol")[1] == "abandoned", v.status("vol")
    gone = Dev(s0, os.O_RDONLY)
    try:
        gone.read(0, BLOCK)
        raise AssertionError("read of a snapshot given up")
    except OSError as e:
        assert e.errno == 5, e
    gone.close()
    # a snapshot made later is good again
    v.server.deny = False
    v.server.create(2)
    s2 = v.add("s2", 2)
    now = digest(path)
    fill(path, 4, v.sectors)
    assert digest(s2) == now
    d.close()
    v.close()


def test_discard_and_zeroes():
    v = Volume(5)
    path = v.add("vol")
    fill(path, 1, v.sectors)
    v.server.create(0)
    s0 = v.add("s0", 0)
    before = digest(s0)
    d = Dev(path)
    p = sh("blkdiscard", "-o", "0", "-l", str(1 << 20), path, check=False)
    assert seed_of(d.read(0, BLOCK)) == (1, 0) or p.returncode
    assert digest(s0) == before
    sh("blkdiscard", "-z", "-o", str(1 << 20), "-l", str((6 << 20) + 4096), path)
    assert d.read(1 << 20, BLOCK) == bytes(BLOCK)
    assert d.read((7 << 20), BLOCK) == bytes(BLOCK)
    assert seed_of(d.read((7 << 20) + BLOCK, BLOCK))[0] == 1
    assert digest(s0) == before
    sh("blkdiscard", "-z", "-o", "0", "-l", str((1 << 20) + 4096), s0)
    c = Dev(s0)
    assert c.read(0, 1 << 20) == bytes(1 << 20)
    assert seed_of(d.read(0, BLOCK)) == (1, 0)
    c.close()
    d.close()
    v.close()


def io_stat(group, dev, key):
    """A figure of the control group's io.stat for the device, 0 if it has none."""
    number = os.stat(os.path.realpath(dev)).st_rdev
    for line in open(group + "/io.stat"):
        name, *figures = line.split()
        if name == "%d:%d" % (os.major(number), os.minor(number)):
            return int(dict(f.split("=") for f in figures)[key])
    return 0


def test_cgroup():
    """What the worker passes on is still counted as its submitter's."""
    top = tempfile.mkdtemp()
    if sh("mount", "-t", "cgroup2", "cgroup2", top, check=False).returncode or \
            "io" not in open(top + "/cgroup.controllers").read().split():
        print("# this kernel counts no I/O of control groups")
        return
    v = Volume(5)
    path = v.add("vol")
    fill(path, 1, v.sectors)
    v.server.create(0)
    s0 = v.add("s0", 0)
    group = top + "/ddsnap-test"
    with open(top + "/cgroup.subtree_control", "w") as f:
        f.write("+io")
    os.makedirs(group, exist_ok=True)
    inside = "echo $$ >%s/cgroup.procs && dd bs=4k count=64 status=none " % group
    sh("sh", "-c", inside + "if=%s of=/dev/null iflag=direct" % s0)
    assert io_stat(group, ORIGIN, "rbytes") == 64 * 4096
    sh("sh", "-c", inside + "if=/dev/zero of=%s oflag=direct" % path)
    assert io_stat(group, ORIGIN, "wbytes") == 64 * 4096
    sh("sh", "-c", inside + "seek=512 if=/dev/zero of=%s oflag=direct" % s0)
    assert io_stat(group, STORE, "wbytes") == 64 * 4096
    os.rmdir(group)
    sh("umount", top)
    os.rmdir(top)
    v.close()


def error_table(dev, first, count):
    n = size_of(dev)
    return "0 %d linear %s 0\n%d %d error\n%d %d linear %s %d\n" % (
        first, dev, first, count, first + count, n - first - count, dev, first + count)


def make_bad(name, dev, first, count):
    subprocess.run(["dmsetup", "create", name], input=error_table(dev, first, count), text=True,
                   check=True)
    return "/dev/mapper/" + name


def test_store_errors():
    """Bad sectors of the store: other addresses are taken."""
    v = Volume()
    bad = make_bad("bad", STORE, 8 * 20, 8 * 3)
    path = v.add("vol", store=bad)
    fill(path, 1, v.sectors)
    v.server.create(0)
    s0 = v.add("s0", 0, store=bad)
    before = digest(path)
    fill(path, 2, v.sectors)
    assert digest(s0) == before
    assert int(v.status("vol")[15]) > 0
    v.close()
    sh("dmsetup", "remove", "bad")


def test_origin_errors():
    """A bad sector of the origin is lost to the snapshots, alone."""
    v = Volume()
    bad = make_bad("bad", ORIGIN, 8 * 100, 8)
    fill(ORIGIN, 1, v.sectors)
    path = v.add("vol", origin=bad)
    v.server.create(0)
    s0 = v.add("s0", 0, origin=bad)
    d, c = Dev(path), Dev(s0, os.O_RDONLY)
    try:
        d.write(BLOCK * 90, b"".join(block(2, 90 + i) for i in range(20)))
        raise AssertionError("write to a bad sector")
    except OSError as e:
        assert e.errno == 5
    for i in range(85, 115):
        try:
            assert seed_of(c.read(i * BLOCK, BLOCK)) == (1, i)
            assert i != 100
        except OSError:
            assert i == 100, i
    d.close()
    c.close()
    v.close()
    sh("dmsetup", "remove", "bad")


def test_snapshot_write_load():
    """Writes to origin and snapshot at once, with links breaking."""
    v = Volume(4)
    path = v.add("vol")
    fill(path, 1, v.sectors)
    v.server.create(0)
    s0 = v.add("s0", 0)
    a = Load(path, v.sectors // 8, 8, threads=2)
    b = Load(s0, v.sectors // 8, 9, threads=2)
    for i in range(10):
        a.wait_for(40)
        b.wait_for(20)
        if i % 2:
            v.server.cut()
    a.finish()
    b.finish()
    a.check(path, a.acked, a.submitted)
    b.check(s0, b.acked, b.submitted)
    v.close()


def main():
    names = sys.argv[3:] or [n[5:] for n in globals() if n.startswith("test_")]
    failed = 0
    print("1..%d" % len(names))
    for i, name in enumerate(names, 1):
        start = time.time()
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        try:
            globals()["test_" + name]()
            print("ok %d - %s # %.1f s" % (i, name, time.time() - start), flush=True)
        except Exception:
            failed += 1
            for line in traceback.format_exc().splitlines():
                print("# " + line)
            print("not ok %d - %s" % (i, name), flush=True)
            print(sh("dmsetup", "status", check=False).stdout, flush=True)
            break
    return 1 if failed else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
