# SPDX-License-Identifier: GPL-2.0
"""Blocks that say who wrote them, and load that knows what each may hold."""
import hashlib
import mmap
import os
import random
import subprocess
import threading
import time
import traceback

BLOCK = 4096


def sh(*argv, check=True, timeout=120):
    p = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    if check and p.returncode:
        raise RuntimeError("%s: %s" % (" ".join(argv), p.stderr.strip()))
    return p


def size_of(dev):
    return int(sh("blockdev", "--getsz", dev).stdout)


class Dev:
    """O_DIRECT I/O on a device; may be shared by threads."""

    def __init__(self, path, flags=os.O_RDWR):
        self.fd = os.open(path, flags | os.O_DIRECT)

    def write(self, offset, data):
        buf = mmap.mmap(-1, len(data))
        buf.write(data)
        n = os.pwrite(self.fd, buf, offset)
        assert n == len(data), n

    def read(self, offset, length):
        buf = mmap.mmap(-1, length)
        n = os.preadv(self.fd, [buf], offset)
        assert n == length, n
        return bytes(buf)

    def close(self):
        os.close(self.fd)


def digest(path, step=1 << 20):
    d = Dev(path, os.O_RDONLY)
    h = hashlib.sha256()
    left, at = size_of(path) * 512, 0
    while left:
        n = min(step, left)
        h.update(d.read(at, n))
        at, left = at + n, left - n
    d.close()
    return h.hexdigest()


def block(seed, number):
    return (b"%016d:%015d" % (seed, number)) * (BLOCK // 32)


def seed_of(data):
    assert data == data[:32] * (BLOCK // 32), "torn block"
    return int(data[:16]), int(data[17:32])


def fill(path, seed, sectors):
    d = Dev(path)
    per = 1 << 20
    try:
        for at in range(0, sectors * 512, per):
            n = min(per, sectors * 512 - at)
            d.write(at, b"".join(block(seed, (at + i) // BLOCK) for i in range(0, n, BLOCK)))
    finally:
        d.close()


def unreadable(path, seed, sectors):
    """How many blocks cannot be read; the others must hold what fill() wrote."""
    d = Dev(path, os.O_RDONLY)
    lost, per = 0, 1 << 20

    def look(at, n):
        data = d.read(at, n)
        for i in range(0, n, BLOCK):
            assert data[i:i + BLOCK] == block(seed, (at + i) // BLOCK), (at + i) // BLOCK

    for at in range(0, sectors * 512, per):
        n = min(per, sectors * 512 - at)
        try:
            look(at, n)
        except OSError as e:
            assert e.errno == 5, e
            for i in range(at, at + n, BLOCK):
                try:
                    look(i, BLOCK)
                except OSError as e2:
                    assert e2.errno == 5, e2
                    lost += 1
    d.close()
    return lost


class Load(threading.Thread):
    """Random writes; knows what each block may hold."""

    def __init__(self, path, blocks, seed, most=8, threads=4):
        super().__init__(daemon=True)
        self.path, self.blocks, self.most = path, blocks, most
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.version = 1
        self.acked = [1] * blocks
        self.submitted = [1] * blocks
        self.busy = set()
        self.stop = False
        self.go = threading.Event()
        self.go.set()
        self.count = 0
        self.longest = 0
        self.error = None
        self.workers = [threading.Thread(target=self.work, daemon=True)
                        for _ in range(threads)]
        for w in self.workers:
            w.start()

    def pick(self):
        while True:
            with self.lock:
                n = self.random.choice([1, 1, 1, 2, self.most])
                b = self.random.randrange(self.blocks - n + 1)
                if self.busy & set(range(b, b + n)):
                    continue
                self.busy |= set(range(b, b + n))
                self.version += 1
                for i in range(b, b + n):
                    self.submitted[i] = self.version
                return b, n, self.version

    def work(self):
        d = Dev(self.path)
        try:
            while not self.stop:
                self.go.wait()
                b, n, v = self.pick()
                start = time.time()
                d.write(b * BLOCK, b"".join(block(v, i) for i in range(b, b + n)))
                self.longest = max(self.longest, time.time() - start)
                with self.lock:
                    for i in range(b, b + n):
                        self.acked[i] = v
                    self.busy -= set(range(b, b + n))
                    self.count += 1
        except Exception:
            self.error = traceback.format_exc()
        d.close()

    def wait_for(self, writes, timeout=100):
        goal, end = self.count + writes, time.time() + timeout
        while self.count < goal and not self.error:
            assert time.time() < end, "load stands still at %d" % self.count
            time.sleep(0.02)
        assert not self.error, self.error

    def finish(self):
        self.stop = True
        self.go.set()
        for w in self.workers:
            w.join(60)
            assert not w.is_alive(), "a write hangs"
        assert not self.error, self.error

    def check(self, path, low, high):
        d = Dev(path, os.O_RDONLY)
        step = 64
        for b in range(0, self.blocks, step):
            data = d.read(b * BLOCK, min(step, self.blocks - b) * BLOCK)
            for i in range(len(data) // BLOCK):
                v, number = seed_of(data[i * BLOCK:(i + 1) * BLOCK])
                assert number == b + i, "block %d holds %d" % (b + i, number)
                assert low[b + i] <= v <= high[b + i], \
                    "%s block %d: version %d not in %d..%d" % (path, b + i, v, low[b + i],
                                                               high[b + i])
        d.close()
