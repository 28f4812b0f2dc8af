# SPDX-License-Identifier: GPL-2.0
"""Full stores, devices that fail, damage."""
import os
import random
import time

from testbed import META, ORIGIN, STORE, expect_refusal, linear, switch
from volume import DDSNAP, RUN, Volume, sh
from blocks import BLOCK, Dev, Load, block, digest, fill, seed_of, size_of, unreadable


def test_full_store():
    """Snapshots are given up in their order; the origin's writes go on."""
    small = linear("small", STORE, 0, 8 * 2048)
    v = Volume(ORIGIN, small, chunk="4k")
    path = v.add()
    fill(path, 1, v.sectors)
    for tag, priority in ((0, 10), (1, -5), (2, 0)):
        v.create(tag)
        v.tool("priority", v.sock, tag, priority)
    kept = digest(path)
    assert v.state(1) == "ok"
    fill(path, 2, v.sectors)            # more than the store can keep
    states = {tag: v.state(tag) for tag in range(3)}
    assert "given-up" in states.values(), states
    assert [states[t] for t in (1, 2, 0)] == sorted(states.values()), "order: %s" % states
    for tag in range(3):
        code = v.tool("status", v.sock, tag, "--state", check=False).returncode
        assert code == (2 if states[tag] == "given-up" else 0)
        if states[tag] == "ok":
            assert digest("/dev/mapper/" + v.dm(tag)) == kept
    assert "given up" in v.server.log(), v.server.log()
    s1 = Dev("/dev/mapper/" + v.dm(1), os.O_RDONLY)
    try:
        s1.read(0, BLOCK)
        raise AssertionError("a given-up snapshot was read")
    except OSError as e:
        assert e.errno == 5, e
    s1.close()
    v.close()
    sh("dmsetup", "remove", "--retry", "small")


def test_full_store_that_may_not_give_up():
    """Priority 127 alone makes a write fail, and a deletion ends that."""
    small = linear("small", STORE, 0, 8 * 2048)
    v = Volume(ORIGIN, small, chunk="4k")
    path = v.add()
    fill(path, 1, v.sectors)
    s0 = v.create(0)
    v.tool("priority", v.sock, 0, 127)
    kept = digest(path)
    try:
        fill(path, 2, v.sectors)
        raise AssertionError("the store has no end")
    except OSError as e:
        assert e.errno == 28, e
    assert v.state(0) == "ok" and digest(s0) == kept
    assert "full" in v.server.log(), v.server.log()
    events = int(sh("dmsetup", "info", "-c", "--noheadings", "-o", "events", v.dm(-1)).stdout)
    assert events > 0, "no dm event"
    v.delete(0)
    fill(path, 3, v.sectors)
    d = Dev(path)
    assert seed_of(d.read(BLOCK * 9, BLOCK)) == (3, 9)
    d.close()
    v.close()
    sh("dmsetup", "remove", "--retry", "small")


def error_table(device, first, count):
    total = size_of(device)
    lines = ["0 %d linear %s 0" % (first, device)] if first else []
    lines.append("%d %d error" % (first, count))
    if first + count < total:
        lines.append("%d %d linear %s %d" % (first + count, total - first - count, device,
                                             first + count))
    return "\n".join(lines) + "\n"


def test_store_fails():
    """A store that dies costs the snapshots, never the origin."""
    bad = linear("bad", STORE, 0, size_of(STORE))
    v = Volume(ORIGIN, bad)
    path = v.add()
    fill(path, 1, v.sectors)
    v.create(0)
    load = Load(path, v.sectors // 8, 12)
    load.wait_for(30)
    switch("bad", "0 %d error\n" % size_of(STORE))
    load.wait_for(100)
    load.finish()
    load.check(path, load.acked, load.submitted)
    status = sh("dmsetup", "status", v.dm(-1)).stdout
    assert v.server.log().strip(), "the server says nothing"
    assert "normal" not in status, status
    s0 = Dev("/dev/mapper/" + v.dm(0), os.O_RDONLY)
    try:
        s0.read(0, BLOCK)
        raise AssertionError("a snapshot without its store was read")
    except OSError as e:
        assert e.errno == 5, e
    s0.close()
    switch("bad", "0 %d linear %s 0\n" % (size_of(STORE), STORE))
    for tag in (0, -1):
        v.remove(tag)
    v.server.stop(code=1)               # what it knows could not be written
    # The writes that went on have made the snapshot worthless: it says so for good.
    v.server.start()
    assert v.state(0) == "given-up", v.status()
    v.close()
    sh("dmsetup", "remove", "--retry", "bad")


def test_store_fails_below_its_mark():
    """What must be remembered of it lies on the volume itself, whose writes wait."""
    folder = RUN + "/below"
    os.makedirs(folder, exist_ok=True)
    states = os.environ["ZUMASTOR_STATEDIR"]
    os.environ["ZUMASTOR_STATEDIR"] = folder + "/state"
    bad = linear("bad", STORE, 0, size_of(STORE))
    try:
        v = Volume(ORIGIN, bad)
    finally:
        os.environ["ZUMASTOR_STATEDIR"] = states
    path = v.add()
    sh("mkfs.ext4", "-q", "-F", path)
    sh("mount", path, folder)
    v.create(0)
    switch("bad", "0 %d error\n" % size_of(STORE))
    with open(folder + "/file", "wb") as f:
        f.write(os.urandom(1 << 20))
    sh("sync", "-f", folder, timeout=60)
    end = time.time() + 60
    uuid = v.status()["volume_uuid"]
    while not os.path.exists(folder + "/state/abandoned/" + uuid):
        assert time.time() < end, "no mark: " + v.server.log()
        time.sleep(0.1)
    sh("cp", "-r", folder + "/state/abandoned", states)
    sh("umount", folder)
    switch("bad", "0 %d linear %s 0\n" % (size_of(STORE), STORE))
    for tag in (0, -1):
        v.remove(tag)
    v.server.stop(code=1)
    mark = states + "/abandoned/" + uuid
    sh("cp", mark, RUN + "/old-mark")
    v.server.start()
    assert v.state(0) == "given-up" and not os.path.exists(mark), v.status()
    # Another copy of it comes to light when there are newer snapshots: they are good.
    v.add()
    v.create(1)
    v.server.stop()
    sh("cp", RUN + "/old-mark", mark)
    v.server.start()
    assert v.state(1) == "ok" and not os.path.exists(mark), v.status()
    v.close()
    sh("dmsetup", "remove", "--retry", "bad")


def test_metadata_device_fails():
    bad = linear("badmeta", META, 0, size_of(META))
    v = Volume(ORIGIN, STORE, bad)
    path = v.add()
    fill(path, 1, v.sectors)
    v.create(0)
    load = Load(path, v.sectors // 8, 13)
    load.wait_for(30)
    switch("badmeta", "0 %d error\n" % size_of(META))
    load.wait_for(100)
    load.finish()
    load.check(path, load.acked, load.submitted)
    assert "badmeta" in v.server.log(), v.server.log()
    switch("badmeta", "0 %d linear %s 0\n" % (size_of(META), META))
    for tag in (0, -1):
        v.remove(tag)
    v.server.stop(code=1)               # what it knows could not be written
    # The writes that went on have made the snapshot worthless: it says so for good.
    v.server.start()
    assert v.state(0) == "given-up", v.status()
    v.close()
    sh("dmsetup", "remove", "--retry", "badmeta")


def test_flaky_store():
    """dm-flakey below the store: it fails and comes back, the origin never fails."""
    sectors = size_of(STORE)
    sh("dmsetup", "create", "flaky", "--table", "0 %d linear %s 0" % (sectors, STORE))
    v = Volume(ORIGIN, "/dev/mapper/flaky", META)
    path = v.add()
    fill(path, 1, v.sectors)
    s0 = v.create(0)
    switch("flaky", "0 %d flakey %s 0 1 1 1 error_writes\n" % (sectors, STORE))
    load = Load(path, v.sectors // 8, 14)
    load.wait_for(150)
    load.finish()
    load.check(path, load.acked, load.submitted)
    switch("flaky", "0 %d linear %s 0\n" % (sectors, STORE))
    if "failed" in v.status():          # a commit fell into a bad second
        for tag in (0, -1):
            v.remove(tag)
        v.server.stop(code=1)
        v.server.start()
        assert v.state(0) == "given-up", v.status()
    elif v.state(0) == "ok":            # what could not be copied is lost, alone
        write_errors = int(sh("dmsetup", "status", v.dm(-1)).stdout.split()[18])
        assert unreadable(s0, 1, v.sectors) == 0 or write_errors
    assert "link broken" not in v.server.log(), v.server.log()
    v.close()
    sh("dmsetup", "remove", "--retry", "flaky")


def test_flaky_origin():
    """dm-flakey below the origin: who asked is told, nothing else is lost, nothing hangs."""
    sectors = size_of(ORIGIN)
    linear("flakyo", ORIGIN, 0, sectors)
    v = Volume("/dev/mapper/flakyo", STORE, chunk="4k")
    path = v.add()
    fill(path, 1, v.sectors)
    s0 = v.create(0)
    # A second of errors after each good one.
    switch("flakyo", "0 %d flakey %s 0 1 1\n" % (sectors, ORIGIN))
    d = Dev(path)
    blocks = list(range(v.sectors // 8))
    random.Random(21).shuffle(blocks)
    good, bad, created = set(), set(), None
    end = time.time() + 90
    while blocks and (len(good) < 50 or len(bad) < 5):
        assert time.time() < end, "%d writes were good, %d failed" % (len(good), len(bad))
        i = blocks.pop()
        try:
            d.write(i * BLOCK, block(2, i))
            good.add(i)
        except OSError as e:
            assert e.errno == 5, e
            bad.add(i)
        if bad and created is None:
            created = v.tool("create", v.sock, 1, check=False, timeout=100).returncode
    assert good and bad
    switch("flakyo", "0 %d linear %s 0\n" % (sectors, ORIGIN))
    assert v.state(1) == ("ok" if created == 0 else None), (created, v.status())
    for i in range(v.sectors // 8):
        seed, number = seed_of(d.read(i * BLOCK, BLOCK))
        may = {2} if i in good else {1, 2} if i in bad else {1}
        assert number == i and seed in may, i
    d.close()
    read_errors = int(sh("dmsetup", "status", v.dm(-1)).stdout.split()[17])
    assert unreadable(s0, 1, v.sectors) == 0 or read_errors
    v.close()
    sh("dmsetup", "remove", "--retry", "flakyo")


def test_origin_error():
    """A sector that cannot be read is lost to the snapshot, alone."""
    first = 4096
    linear("bado", ORIGIN, 0, size_of(ORIGIN))
    v = Volume("/dev/mapper/bado", STORE, chunk="4k")
    path = v.add()
    fill(path, 1, v.sectors)
    s0 = v.create(0)
    switch("bado", error_table(ORIGIN, first, 8))
    d, s = Dev(path), Dev(s0, os.O_RDONLY)
    bad = first // 8
    for i in range(bad - 4, bad + 5):
        try:
            d.write(i * BLOCK, block(2, i))
            assert i != bad, "a bad sector was written"
        except OSError as e:
            assert i == bad and e.errno == 5, (i, e)
    for i in range(bad - 4, bad + 5):
        try:
            assert seed_of(s.read(i * BLOCK, BLOCK)) == (1, i)
            assert i != bad, "a bad sector was read"
        except OSError as e:
            assert i == bad and e.errno == 5, (i, e)
    d.close()
    s.close()
    switch("bado", "0 %d linear %s 0\n" % (v.sectors, ORIGIN))
    v.close()
    sh("dmsetup", "remove", "--retry", "bado")


def test_discard():
    v = Volume(ORIGIN, STORE)
    path = v.add()
    fill(path, 1, v.sectors)
    s0 = v.create(0)
    before = digest(s0)
    if sh("blkdiscard", path, check=False).returncode == 0:
        assert digest(s0) == before
    sh("blkdiscard", "-z", "-o", str(1 << 20), "-l", str(3 << 20), path)
    d = Dev(path)
    assert d.read(1 << 20, 3 << 20) == bytes(3 << 20)
    assert digest(s0) == before
    d.close()
    v.close()


def test_damaged_store_is_found():
    """check names a snapshot that damage touches; the server refuses a dead store."""
    v = Volume(ORIGIN, STORE)
    path = v.add()
    fill(path, 1, v.sectors)
    v.create(5)
    fill(path, 2, v.sectors)
    v.close()
    dump = sh(DDSNAP, "dump", "--json", STORE).stdout
    assert '"tag": 5' in dump or '"tag":5' in dump, dump[:500]
    d = Dev(STORE)
    for number in (1, 2):
        kept = d.read(number * BLOCK, BLOCK)
        d.write(number * BLOCK, bytes(a ^ 0x40 for a in kept[:64]) + kept[64:])
        result = v.check()
        assert result.returncode == 1 and result.stdout + result.stderr, "damage was not found"
        d.write(number * BLOCK, kept)
    assert v.check().returncode == 0
    for number in (1, 2):
        d.write(number * BLOCK, bytes(BLOCK))
    d.close()
    expect_refusal(DDSNAP, "check", STORE, says=STORE)
    result = sh(DDSNAP, "server", "-f", STORE, ORIGIN, RUN + "/agent", RUN + "/x.sock", check=False)
    assert result.returncode == 1 and STORE in result.stderr, result.stderr
