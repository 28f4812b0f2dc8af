#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Load that survives power cuts with a memory of what must be true.

    powercut.py begin ORIGIN STORE NOTES     a fresh store
    powercut.py load ORIGIN STORE NOTES      after `begin` or a cut: verifies
                                             everything, then loads until killed

What must be true is written to the disk NOTES before or after each deed, with
O_DIRECT.  Within an era (one `load`) write number i goes to a block that the
era's seed decides, so that the notes need not name each write.
"""
import json
import mmap
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from volume import DDSNAP, Agent, Volume  # noqa: E402
from blocks import BLOCK, Dev, block, digest, fill, seed_of, sh, size_of  # noqa: E402

WRITES_PER_FLUSH = 32
KEPT = 4        # snapshots alive at once
BASE_AT, BASE_SIZE = 8 << 20, 4 << 20


class Notes:
    """Lines of JSON, one to a sector, in order."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.at = 0
        self.buffer = mmap.mmap(-1, 512)

    def read(self):
        lines = []
        while True:
            os.preadv(self.fd, [self.buffer], self.at)
            text = bytes(self.buffer).rstrip(b"\0")
            if not text:
                return lines
            lines.append(json.loads(text))
            self.at += 512

    def put_base(self, slot, versions):
        """What the origin held when an era began, in one of two places."""
        data = json.dumps(versions).encode()
        size = (len(data) + 16 + 4095) // 4096 * 4096
        assert size <= BASE_SIZE
        buffer = mmap.mmap(-1, size)
        buffer[:len(data) + 16] = b"%016d" % len(data) + data
        os.pwrite(self.fd, buffer, BASE_AT + slot * BASE_SIZE)

    def get_base(self, slot):
        buffer = mmap.mmap(-1, BASE_SIZE)
        os.preadv(self.fd, [buffer], BASE_AT + slot * BASE_SIZE)
        return json.loads(buffer[16:16 + int(buffer[:16])])

    def add(self, **line):
        text = json.dumps(line).encode()
        assert len(text) < 512, text
        self.buffer[:] = text.ljust(512, b"\0")
        os.pwrite(self.fd, self.buffer, self.at)
        self.at += 512


class Era:
    """Which block each write goes to."""

    def __init__(self, seed, first, blocks):
        self.random, self.next, self.blocks = random.Random(seed), first, blocks

    def step(self):
        self.next += 1
        return self.next - 1, self.random.randrange(self.blocks)


def read_versions(path, blocks):
    d = Dev(path, os.O_RDONLY)
    versions = []
    for at in range(0, blocks, 256):
        data = d.read(at * BLOCK, min(256, blocks - at) * BLOCK)
        for i in range(len(data) // BLOCK):
            version, number = seed_of(data[i * BLOCK:(i + 1) * BLOCK])
            assert number == at + i, "block %d holds %d" % (at + i, number)
            versions.append(version)
    d.close()
    return versions


class Past:
    """What the notes say of the last era, played again."""

    def __init__(self, lines, blocks):
        self.base = [1] * blocks
        self.digests, self.models = {}, {}
        self.sure, self.gone, self.going = set(), set(), set()
        starts = [i for i, line in enumerate(lines) if line["deed"] == "era"]
        self.tag = max([line["tag"] for line in lines if "tag" in line], default=-1) + 1
        self.first = 2
        for line in lines:
            if line["deed"] == "digest":
                self.digests[line["tag"]] = line["sum"]
                self.sure.add(line["tag"])
            elif line["deed"] == "created":
                self.sure.add(line["tag"])
            elif line["deed"] == "delete":
                self.going.add(line["tag"])
            elif line["deed"] == "deleted":
                self.gone.add(line["tag"])
        if starts:
            self.play(lines[starts[-1]:], blocks)

    def play(self, lines, blocks):
        era = Era(lines[0]["seed"], lines[0]["first"], blocks)
        low, self.flushed = {}, 0
        for line in lines:
            if line["deed"] not in ("flushed", "create"):
                continue
            while era.next <= line["version"]:
                version, number = era.step()
                low[number] = version
            if line["deed"] == "create":
                self.models[line["tag"]] = dict(low)
        self.low = low
        # What may have been written after the last note: a flush's worth, and some.
        self.high = {}
        for _ in range(WRITES_PER_FLUSH * 2):
            version, number = era.step()
            self.high.setdefault(number, []).append(version)
        self.first = era.next

    def check_origin(self, versions, base):
        for number, version in enumerate(versions):
            least = self.low.get(number, base[number])
            allowed = [least] + self.high.get(number, [])
            assert version in allowed, "origin, block %d: version %d, may be %s" % (
                number, version, allowed)

    def check_snapshot(self, tag, versions, base):
        model = self.models[tag]
        for number, version in enumerate(versions):
            want = model.get(number, base[number])
            assert version == want, "snapshot %d, block %d: version %d, not %d" % (
                tag, number, version, want)


def verify(volume, notes, lines, path, blocks):
    """Returns the origin's versions, the next version, the next tag, the live tags."""
    past = Past(lines, blocks)
    versions = read_versions(path, blocks)
    eras = [line for line in lines if line["deed"] == "era"]
    if not eras:
        return versions, past
    base = notes.get_base(eras[-1]["slot"])
    past.check_origin(versions, base)
    there = {s["tag"]: s["state"] for s in volume.status()["snapshots"]}
    for tag in past.sure - past.going:
        assert there.get(tag) == "ok", "snapshot %d is %s" % (tag, there.get(tag))
    for tag in past.gone:
        assert there.get(tag) in (None, "deleting"), "snapshot %d is back" % tag
    for tag, state in there.items():
        if state != "ok":
            continue
        device = volume.add(tag)
        if tag in past.digests:
            assert digest(device) == past.digests[tag], "snapshot %d changed" % tag
        else:
            past.check_snapshot(tag, read_versions(device, blocks), base)
            notes.add(deed="digest", tag=tag, sum=digest(device))
        volume.remove(tag)
    print("verified the origin and %d snapshots" % len(there), flush=True)
    return versions, past


def run_load(volume, notes, path, versions, past, eras, blocks):
    seed = random.SystemRandom().randrange(1 << 30)
    first = max(max(versions), past.first) + 1
    slot = eras % 2
    notes.put_base(slot, versions)
    notes.add(deed="era", seed=seed, first=first, slot=slot)
    era = Era(seed, first, blocks)
    d = Dev(path)
    tags = [s["tag"] for s in volume.status()["snapshots"] if s["state"] == "ok"]
    tag = past.tag
    print("loading", flush=True)
    rounds = 0
    while True:
        for _ in range(WRITES_PER_FLUSH):
            version, number = era.step()
            d.write(number * BLOCK, block(version, number))
        os.fsync(d.fd)
        notes.add(deed="flushed", version=era.next - 1)
        rounds += 1
        if rounds % 8 == 0:
            notes.add(deed="create", tag=tag, version=era.next - 1)
            volume.tool("create", volume.sock, tag)
            notes.add(deed="created", tag=tag)
            tags.append(tag)
            tag += 1
            if len(tags) > KEPT:
                old = tags.pop(random.randrange(len(tags)))
                notes.add(deed="delete", tag=old)
                volume.tool("delete", volume.sock, old)
                notes.add(deed="deleted", tag=old)


def main():
    what, origin, store, notes_path = sys.argv[1:5]
    blocks = size_of(origin) // 8
    if what != "begin":
        print(sh(DDSNAP, "check", store).stdout.strip(), flush=True)
    Agent()
    if what == "begin":
        fill(origin, 1, blocks * 8)
        Volume(origin, store, chunk="4k").close()
        return
    volume = Volume(origin, store, initialize=False)
    notes = Notes(notes_path)
    lines = notes.read()
    path = volume.add()
    versions, past = verify(volume, notes, lines, path, blocks)
    eras = sum(line["deed"] == "era" for line in lines)
    run_load(volume, notes, path, versions, past, eras, blocks)


if __name__ == "__main__":
    main()
