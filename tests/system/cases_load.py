# SPDX-License-Identifier: GPL-2.0
"""Snapshots under load, while processes are killed and devices come and go."""
import os
import random
import signal
import subprocess
import time

import testbed
from testbed import META, ORIGIN, STORE, bounds_of, linear, rounds, under_load
from volume import DDSNAP, Volume, sh
from blocks import BLOCK, Dev, Load, block, digest, fill, seed_of, size_of


def test_load_4k():
    v = Volume(ORIGIN, STORE, chunk="4k")
    under_load(v, lambda tag: None, rounds(4, 3), 1)
    v.close()


def test_load_64k_meta_device():
    v = Volume(ORIGIN, STORE, META, chunk="64k")
    under_load(v, lambda tag: None, rounds(4, 3), 2)
    v.close()


def test_load_1m():
    v = Volume(ORIGIN, STORE, chunk="1M")
    under_load(v, lambda tag: None, rounds(4, least=3), 31)
    d = Dev("/dev/mapper/" + v.dm(0))   # a small part of a chunk becomes the snapshot's own
    d.write(3 * BLOCK, block(7, 3))
    assert seed_of(d.read(3 * BLOCK, BLOCK)) == (7, 3)
    assert seed_of(d.read(4 * BLOCK, BLOCK))[1] == 4
    d.close()
    v.close()


def test_kill_server():
    """kill -9 under full load, some of it between the barrier's messages."""
    v = Volume(ORIGIN, STORE)
    r = random.Random(3)

    def disturb(tag):
        for _ in range(2):
            time.sleep(r.random() * 0.2)
            v.server.restart(signal.SIGKILL)
    sums = under_load(v, disturb, rounds(5), 3)
    for tag in sums:
        assert digest("/dev/mapper/" + v.dm(tag)) == sums[tag]
    v.close()


def test_kill_while_creating():
    """A snapshot whose creation the server did not survive is whole or absent."""
    v = Volume(ORIGIN, STORE)
    r = random.Random(4)
    path = v.add()
    fill(path, 1, v.sectors)
    load = Load(path, v.sectors // 8, 4)
    for tag in range(rounds(8)):
        load.wait_for(20)
        with load.lock:
            low = list(load.acked)
        creation = subprocess.Popen([DDSNAP, "create", v.sock, str(tag)], stderr=subprocess.DEVNULL)
        time.sleep(r.random() * 0.1)
        v.server.restart(signal.SIGKILL)
        told = creation.wait(60) == 0
        with load.lock:
            high = list(load.submitted)
        if v.state(tag) is None:
            assert not told, "a snapshot that was reported is gone"
            continue
        load.wait_for(20)
        load.check(v.add(tag), low, high)
    load.finish()
    load.check(path, load.acked, load.submitted)
    v.close()


def test_kill_agent():
    """The agent's death is not noticed while links stand, nor when both die."""
    v = Volume(ORIGIN, STORE)

    def disturb(tag):
        if tag % 2:
            testbed.agent.stop(signal.SIGKILL)
            v.server.stop(signal.SIGKILL)
            time.sleep(0.3)
            v.server.start()
            testbed.agent.start()
        else:
            testbed.agent.restart(signal.SIGKILL)
    under_load(v, disturb, rounds(4), 5)
    v.close()


def test_orderly_restarts():
    v = Volume(ORIGIN, STORE)

    def disturb(tag):
        v.server.restart()
        testbed.agent.restart()
    under_load(v, disturb, rounds(3), 6)
    v.close()


def test_snapshot_writes():
    """A snapshot that is written to, the origin and another snapshot stay apart."""
    v = Volume(ORIGIN, STORE)
    path = v.add()
    fill(path, 1, v.sectors)
    whole = digest(path)
    s0, s1 = v.create(0), v.create(1)
    a = Load(path, v.sectors // 8, 7, threads=2)
    b = Load(s0, v.sectors // 8, 8, threads=2)
    for i in range(rounds(4)):
        a.wait_for(40)
        b.wait_for(40)
        if i == 1:
            v.server.restart(signal.SIGKILL)
    a.finish()
    b.finish()
    a.check(path, a.acked, a.submitted)
    b.check(s0, b.acked, b.submitted)
    assert digest(s1) == whole
    # Private chunks are there after everything was taken down.
    v.remove(0)
    v.server.restart()
    b.check(v.add(0), b.acked, b.submitted)
    v.close()


def test_reload_suspend_remove():
    v = Volume(ORIGIN, STORE)
    path = v.add()
    fill(path, 1, v.sectors)
    s0 = v.create(0)
    before = digest(s0)
    load = Load(path, v.sectors // 8, 9)
    for i in range(rounds(6)):
        load.wait_for(20)
        sh("dmsetup", "suspend", *(["--noflush"] if i % 2 else []), v.dm(-1))
        sh("dmsetup", "load", v.dm(-1), "--table", v.table(-1))
        sh("dmsetup", "resume", v.dm(-1))
        load.wait_for(20)
        v.remove(0)
        v.add(0)
    for _ in range(3):  # a suspended origin does not keep a snapshot's device from its work
        sh("dmsetup", "suspend", "--nolockfs", v.dm(0))
        load.wait_for(10)
        sh("dmsetup", "resume", v.dm(0))
    assert sh("dmsetup", "remove", v.dm(-1), check=False).returncode != 0, "removed while in use"
    load.finish()
    load.check(path, load.acked, load.submitted)
    assert digest(s0) == before
    v.remove()
    path = v.add()
    load.check(path, load.acked, load.submitted)
    v.close()


def test_two_volumes():
    half = v_sectors = size_of(ORIGIN) // 2
    half_store = size_of(STORE) // 2
    parts = [(linear("o%d" % i, ORIGIN, i * half, v_sectors),
              linear("st%d" % i, STORE, i * half_store, half_store)) for i in range(2)]
    volumes = [Volume(o, s, name="two%d" % i) for i, (o, s) in enumerate(parts)]
    loads = []
    for i, v in enumerate(volumes):
        path = v.add()
        fill(path, 1, v.sectors)
        loads.append(Load(path, v.sectors // 8, 10 + i, threads=2))
    bounds = {}
    for tag in range(3):
        for v, load in zip(volumes, loads):
            load.wait_for(20)
            bounds[v, tag] = bounds_of(v, load, tag)
            v.add(tag)
        volumes[tag % 2].server.restart(signal.SIGKILL)
    for v, load in zip(volumes, loads):
        load.wait_for(20)
        load.finish()
        for tag in range(3):
            load.check("/dev/mapper/" + v.dm(tag), *bounds[v, tag])
        v.close()
    for i in range(2):
        sh("dmsetup", "remove", "--retry", "o%d" % i)
        sh("dmsetup", "remove", "--retry", "st%d" % i)


def test_many_snapshots():
    """More than the 64 of old, a number of them active at once."""
    v = Volume(ORIGIN, STORE, chunk="4k")
    path = v.add()
    fill(path, 1, v.sectors)
    d = Dev(path)
    for tag in range(70):
        v.tool("create", v.sock, tag)
        d.write(tag * BLOCK, block(tag + 2, tag))
    active = list(range(0, 70, 5))
    for tag in active:
        s = Dev(v.add(tag), os.O_RDONLY)
        for i in range(72):
            want = i + 2 if i < tag else 1
            assert seed_of(s.read(i * BLOCK, BLOCK)) == (want, i), "snapshot %d block %d" % (tag, i)
        s.close()
    assert len(v.status()["snapshots"]) == 70
    for tag in random.Random(11).sample(range(70), 70):
        v.delete(tag)
    d.close()
    end = time.time() + 60
    while v.status()["snapshots"]:
        assert time.time() < end, "deletion does not end"
        time.sleep(0.1)
    v.close()
