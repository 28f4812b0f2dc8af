#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Agent and server in one, in memory, to test the kernel target by itself.

It speaks the protocol of kernel/uapi/dm-ddsnap.h, keeps exceptions in a dict
and can misbehave on demand: close the link, stop reading, answer late, send
damaged frames, refuse grants.
"""
import os
import select
import socket
import struct
import subprocess
import threading
import time
import traceback

MAGIC = 0x70736464
(IDENTIFY, NEED_SERVER, IDENTIFIED, REFUSED) = (1, 2, 3, 4)
(HELLO, ATTACH, DETACH, REPORT, MAP, GRANT_WANTED, RETURN, READY, DROPPED) = range(16, 25)
(WELCOME, ATTACHED, ACK, MAPPED, GRANT, DENIED, BARRIER, RESUME, DROP, ABANDON) = range(32, 42)
ORIGIN_TAG = 0xFFFFFFFF
(ON_ORIGIN, SHARED, PRIVATE, UNREADABLE) = (0, 1, 2, 3)
UUID = bytes(range(16))
FRAME = struct.Struct("<IIIIQ")


def frame(kind, payload=b"", sequence=0):
    return FRAME.pack(MAGIC, kind, len(payload), 0, sequence) + payload


def refused(error, reason):
    return struct.pack("<II256s", error, 0, reason.encode())


class Snapshot:
    def __init__(self, epoch, chunks):
        self.epoch = epoch
        self.chunks = chunks
        self.private = {}


class FakeServer(threading.Thread):
    """One volume.  Public methods may be called from any thread."""

    def __init__(self, path, origin_sectors, store_sectors, chunk_shift):
        super().__init__(daemon=True)
        self.lock = threading.RLock()
        self.path = path
        self.origin_sectors = origin_sectors
        self.chunk_shift = chunk_shift
        self.chunks = -(-origin_sectors // (1 << chunk_shift))
        self.free = list(range((store_sectors >> chunk_shift) - 1, 15, -1))
        self.granted = set()
        self.epoch = 0
        self.snaps = {}          # tag -> Snapshot
        self.exceptions = {}     # chunk -> [(label, address or None)]
        self.boot_id = None
        self.log = []
        self.errors = []
        # misbehaviour
        self.link_allowed = True
        self.reading = True
        self.ack_delay = 0.0
        self.deny = False
        self.grant_limit = 1 << 30
        self.hang_ups = 0        # IDENTIFY that gets no answer, so many times
        self.drop_after = None   # frames until the link breaks
        self.die_at_ready = False   # the snapshot is durable, and nobody hears of that
        self.acks_lost = 0       # that were due when it died so
        self.held_maps = None    # a list: answers to MAP stay there
        # link
        self.link = None
        self.link_up = threading.Event()
        self.out = b""
        self.buf = b""
        self.waiting = []        # agent connections that want a server
        self.barrier_id = 0
        self.ready = threading.Event()
        self.dropped = set()
        self.hellos = 0
        self.delayed = []        # (when, bytes)
        self.stop = False
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        self.agents = {}
        self.wake_r, self.wake_w = os.pipe()
        self.start()

    # ---- what tests ask for ----

    def wake(self):
        os.write(self.wake_w, b"x")

    def live(self):
        return len(self.snaps)

    def create(self, tag, timeout=60):
        """A snapshot by a barrier.  Tries again when the link breaks."""
        end = time.time() + timeout
        while time.time() < end:
            if not self.link_up.wait(0.2):
                continue
            with self.lock:
                if not self.link:
                    continue
                self.ready.clear()
                self.barrier_id += 1
                self.send(frame(BARRIER, struct.pack("<Q", self.barrier_id)))
            while time.time() < end and not self.ready.wait(0.05):
                if not self.link_up.is_set():
                    break
            with self.lock:
                if not self.ready.is_set() or not self.link:
                    continue
                self.epoch += 1
                self.snaps[tag] = Snapshot(self.epoch, self.chunks)
                if self.die_at_ready:
                    self.acks_lost += len(self.delayed)
                    self.close_link()
                    return self.epoch
                self.send(frame(RESUME, struct.pack("<QQQ", self.barrier_id, self.epoch,
                                                    self.live())))
                return self.epoch
        raise TimeoutError("no barrier")

    def delete(self, tag, drop=True):
        with self.lock:
            snap = self.snaps.pop(tag)
            if self.link and drop:
                self.send(frame(DROP, struct.pack("<Q", snap.epoch)))
                self.send(frame(RESUME, struct.pack("<QQQ", 0, self.epoch, self.live())))
            return snap

    def answer_and_delete(self, tag):
        """The held answers and DROP, for the kernel to find both at once."""
        with self.lock:
            self.out += b"".join(self.held_maps)
            self.held_maps = None
            return self.delete(tag)

    def abandon(self):
        with self.lock:
            self.snaps.clear()
            self.send(frame(ABANDON, refused(5, "metadata device failed")))

    def cut(self):
        """The server dies: what it has not read is lost."""
        with self.lock:
            self.close_link()
        self.wake()

    def damage(self, data):
        with self.lock:
            self.send(data)

    def shutdown(self):
        self.stop = True
        self.wake()
        self.join()

    # ---- the thread ----

    def send(self, data):
        self.out += data
        self.wake()

    def close_link(self):
        if self.link:
            self.link.close()
        self.link = None
        self.link_up.clear()
        self.ready.clear()       # READY of a link that is gone says nothing
        self.out = b""
        self.buf = b""
        self.delayed = []

    def run(self):
        while not self.stop:
            try:
                self.step()
            except Exception:        # a test must see it
                self.errors.append(traceback.format_exc())
                print(self.errors[-1], flush=True)
                with self.lock:
                    self.close_link()
                    self.link_allowed = False
        self.close_link()
        self.listener.close()
        for a in list(self.agents):
            a.close()

    def step(self):
        with self.lock:
            r = [self.listener, self.wake_r] + list(self.agents)
            w = []
            if self.link:
                if self.reading:
                    r.append(self.link)
                if self.out:
                    w.append(self.link)
            link = self.link
        try:
            r, w, _ = select.select(r, w, [], 0.02 if self.delayed or self.waiting else 0.5)
        except (OSError, ValueError):
            with self.lock:          # cut() may be in the midst of closing it
                if link is self.link:
                    raise
            return
        with self.lock:
            if self.wake_r in r:
                os.read(self.wake_r, 65536)
            if self.listener in r:
                a, _ = self.listener.accept()
                self.agents[a] = b""
            for a in [a for a in self.agents if a in r]:
                self.agent_data(a)
            self.hand_over()
            now = time.time()
            while self.delayed and self.delayed[0][0] <= now:
                self.out += self.delayed.pop(0)[1]
            if link is not self.link or not link:
                return
            if link in w and self.out:
                try:
                    n = self.link.send(self.out)
                    self.out = self.out[n:]
                except (BrokenPipeError, ConnectionResetError):
                    self.close_link()
                    return
            if link in r:
                self.link_data()

    # ---- agent ----

    def agent_data(self, a):
        data = a.recv(4096)
        if not data:
            a.close()
            del self.agents[a]
            self.waiting = [x for x in self.waiting if x[0] is not a]
            return
        self.agents[a] += data
        buf = self.agents[a]
        if len(buf) < 24:
            return
        magic, kind, length, _, _ = FRAME.unpack_from(buf)
        assert magic == MAGIC
        if len(buf) < 24 + length:
            return
        payload, self.agents[a] = buf[24:24 + length], buf[24 + length:]
        if kind == IDENTIFY and self.hang_ups:
            self.hang_ups -= 1
            a.close()
            del self.agents[a]
        elif kind == IDENTIFY:
            smaj, smin, omaj, omin, sectors, tag, _ = struct.unpack("<IIIIQII", payload)
            a.sendall(self.identified(sectors, tag))
        elif kind == NEED_SERVER:
            smaj, smin, omaj, omin, dmaj, dmin = struct.unpack_from("<IIIIII", payload)
            assert payload[24:40] == UUID
            self.waiting.append((a, dmaj, dmin))
        else:
            raise AssertionError("agent got frame %d" % kind)

    def identified(self, sectors, tag):
        if tag == ORIGIN_TAG:
            epoch = 0
        elif tag in self.snaps:
            epoch = self.snaps[tag].epoch
        else:
            return frame(REFUSED, refused(2, "no snapshot of tag %d" % tag))
        return frame(IDENTIFIED, UUID + struct.pack("<QQII", epoch, self.origin_sectors,
                                                    self.chunk_shift, 0))

    def hand_over(self):
        if not self.waiting or not self.link_allowed or self.link:
            return
        a, major, minor = self.waiting.pop(0)
        ours, theirs = socket.socketpair()
        self.link = ours
        self.out = self.buf = b""
        p = subprocess.run(["dmsetup", "message", "-j", str(major), "-m", str(minor), "0",
                            "connect", str(theirs.fileno())],
                           pass_fds=[theirs.fileno()], capture_output=True, text=True)
        theirs.close()
        if p.returncode:
            self.log.append(p.stderr)
            self.close_link()
            self.waiting.append((a, major, minor))
            return
        a.close()
        self.agents.pop(a, None)

    # ---- server ----

    def link_data(self):
        try:
            data = self.link.recv(262144)
        except ConnectionResetError:
            data = b""
        if not data:
            self.close_link()
            return
        self.buf += data
        acked = None
        while len(self.buf) >= 24:
            magic, kind, length, _, sequence = FRAME.unpack_from(self.buf)
            assert magic == MAGIC and length <= 65536 and length % 8 == 0
            if len(self.buf) < 24 + length:
                break
            payload, self.buf = self.buf[24:24 + length], self.buf[24 + length:]
            if self.drop_after is not None:
                self.drop_after -= 1
                if self.drop_after < 0:
                    self.drop_after = None
                    self.close_link()
                    return
            if kind == REPORT:
                acked = self.on_report(payload, sequence)
            else:
                self.handle(kind, payload)
            if not self.link:
                return
        if acked is not None:
            ack = frame(ACK, struct.pack("<QQ", acked, self.epoch))
            if self.ack_delay:
                self.delayed.append((time.time() + self.ack_delay, ack))
            else:
                self.out += ack

    def handle(self, kind, payload):
        if kind == HELLO:
            version, _, uuid, boot, osec, ssec = struct.unpack("<II16s16sQQ", payload)
            assert version == 1 and uuid == UUID
            self.boot_id = boot
            self.hellos += 1
            self.returned = set(self.granted)   # but what is reported again
            self.next_sequence = 1
            self.attached = set()
            self.out += frame(WELCOME, struct.pack("<II16sQQ", 1, self.chunk_shift, UUID,
                                                   self.epoch, self.live()))
        elif kind == ATTACH:
            epoch, = struct.unpack("<Q", payload)
            known = not epoch or any(s.epoch == epoch for s in self.snaps.values())
            self.attached.add(epoch)
            self.out += frame(ATTACHED, struct.pack("<QII", epoch, 0 if known else 2, 0))
            self.link_up.set()
        elif kind == DETACH:
            self.attached.discard(struct.unpack("<Q", payload)[0])
        elif kind == MAP:
            for i in range(0, len(payload), 32):
                self.on_map(*struct.unpack_from("<QQQII", payload, i))
        elif kind == GRANT_WANTED:
            self.on_grant_wanted(struct.unpack("<Q", payload)[0])
        elif kind == RETURN:
            for i in range(0, len(payload), 16):
                address, count = struct.unpack_from("<QQ", payload, i)
                for x in range(address, address + count):
                    assert x in self.granted, "returned what was not granted"
                    self.granted.remove(x)
                    self.free.append(x)
        elif kind == READY:
            assert struct.unpack("<Q", payload)[0] == self.barrier_id
            self.ready.set()
        elif kind == DROPPED:
            self.dropped.add(struct.unpack("<Q", payload)[0])
        else:
            raise AssertionError("server got frame %d" % kind)

    def on_grant_wanted(self, chunks):
        for x in self.returned:
            self.granted.discard(x)
            self.free.append(x)
        self.returned = set()
        if self.deny or not self.free:
            self.out += frame(DENIED)
            return
        ranges = []
        for _ in range(min(chunks, len(self.free), self.grant_limit)):
            x = self.free.pop()
            self.granted.add(x)
            if ranges and ranges[-1][0] + ranges[-1][1] == x:
                ranges[-1][1] += 1
            else:
                ranges.append([x, 1])
            if len(ranges) == 4000:
                break
        self.out += frame(GRANT, b"".join(struct.pack("<QQ", *r) for r in ranges))

    def on_report(self, payload, sequence):
        assert sequence == self.next_sequence, "report numbers have a gap"
        for i in range(0, len(payload), 32):
            self.next_sequence += 1
            self.one_report(*struct.unpack_from("<QQQII", payload, i))
        return self.next_sequence - 1

    def one_report(self, epoch, chunk, address, count, flags):
        for c, a in zip(range(chunk, chunk + count), range(address, address + count)):
            self.returned.discard(a)
            mine = a in self.granted
            if epoch:
                snap = next((s for s in self.snaps.values() if s.epoch == epoch), None)
                if snap and snap.private.get(c) == a:
                    continue
                assert mine, "private chunk %d in %d, not granted" % (c, a)
                self.granted.remove(a)
                if snap is None or c in snap.private:
                    self.free.append(a)
                else:
                    snap.private[c] = a
                continue
            assert c < self.chunks
            labels = self.exceptions.setdefault(c, [])
            if labels and labels[-1][0] >= self.epoch:
                if labels[-1][1] != a and mine:
                    self.granted.remove(a)
                    self.free.append(a)
                continue
            if any(x[1] == a for x in labels):
                # acknowledged under an older epoch before the link broke
                assert False, "address %d used twice for chunk %d" % (a, c)
            assert mine, "chunk %d copied to %d, not granted" % (c, a)
            self.granted.remove(a)
            if flags & 1:
                self.free.append(a)
                a = None
            labels.append((self.epoch, a))

    def resolve(self, snap, chunk):
        if chunk in snap.private:
            return PRIVATE, snap.private[chunk]
        for label, address in self.exceptions.get(chunk, ()):
            if label >= snap.epoch:
                return (UNREADABLE, 0) if address is None else (SHARED, address)
        return ON_ORIGIN, 0

    def on_map(self, ident, epoch, chunk, count, _):
        snap = next((s for s in self.snaps.values() if s.epoch == epoch), None)
        if snap is None:
            self.out += frame(MAPPED, struct.pack("<QQQII", ident, epoch, chunk, 0, 2))
            return
        runs = []
        for c in range(chunk, chunk + count):
            kind, address = self.resolve(snap, c)
            if runs and runs[-1][2] == kind and (kind in (ON_ORIGIN, UNREADABLE) or
                                                 runs[-1][0] + runs[-1][1] == address):
                runs[-1][1] += 1
            else:
                runs.append([address, 1, kind])
        answer = frame(MAPPED, struct.pack("<QQQII", ident, epoch, chunk, len(runs), 0) +
                       b"".join(struct.pack("<QII", *r) for r in runs))
        if self.held_maps is not None:
            self.held_maps.append(answer)
        else:
            self.out += answer
