#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""RBD diffs of files, for the tests of replication, by Ceph's description of the format.

    rbd.py volume SEED SIZE FILE            random content, partly zero
    rbd.py change SEED BASE TARGET DIFF     TARGET is BASE with changes, DIFF says which
    rbd.py apply DIFF FILE                  makes FILE what DIFF says; "-" begins from nothing
"""
import random
import struct
import sys

CHUNK = 4096


def volume(seed, size, path):
    rng = random.Random(int(seed))
    with open(path, "wb") as out:
        left = int(size)
        while left > 0:
            n = min(left, CHUNK * rng.randint(1, 40))
            kind = rng.randint(0, 2)
            out.write([bytes(n), rng.randbytes(n), (b"%08d" % rng.randint(0, 9999) * n)[:n]][kind])
            left -= n


def change(seed, base, target, diff):
    rng = random.Random(int(seed))
    with open(base, "rb") as f:
        content = bytearray(f.read())
    records = b""
    at = 0
    while True:
        at += rng.randint(0, 60 * CHUNK)
        n = min(rng.randint(1, 12 * CHUNK), len(content) - at)
        if n <= 0:
            break
        kind = rng.randint(0, 3)
        if kind == 0:
            content[at:at + n] = bytes(n)
            records += struct.pack("<cQQ", b"z", at, n)
        else:
            if kind == 1:
                content[at:at + n] = rng.randbytes(n)
            else:
                for _ in range(5):
                    content[at + rng.randrange(n)] ^= rng.randint(1, 255)
            records += struct.pack("<cQQ", b"w", at, n) + bytes(content[at:at + n])
        at += n
    with open(target, "wb") as f:
        f.write(content)
    head = b"rbd diff v1\n"
    for tag, name in ((b"f", b"one"), (b"t", b"two")):
        head += struct.pack("<cI", tag, len(name)) + name
    with open(diff, "wb") as f:
        f.write(head + struct.pack("<cQ", b"s", len(content)) + records + b"e")


def apply(diff, path):
    with open(diff, "rb") as f:
        assert f.read(12) == b"rbd diff v1\n"
        with open(path, "r+b") as out:
            while (tag := f.read(1)) != b"e":
                if tag in (b"f", b"t"):
                    f.read(struct.unpack("<I", f.read(4))[0])
                elif tag == b"s":
                    out.truncate(struct.unpack("<Q", f.read(8))[0])
                else:
                    assert tag in (b"w", b"z"), tag
                    offset, length = struct.unpack("<QQ", f.read(16))
                    out.seek(offset)
                    out.write(f.read(length) if tag == b"w" else bytes(length))
        assert f.read(1) == b""


{"volume": volume, "change": change, "apply": apply}[sys.argv[1]](*sys.argv[2:])
