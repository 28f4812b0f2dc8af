# SPDX-License-Identifier: GPL-2.0
"""What is refused, and streams between two volumes."""
import json
import os
import signal
import subprocess
import time

from testbed import META, ORIGIN, STORE, expect_refusal, linear
from volume import DDSNAP, RUN, Volume, sh
from blocks import BLOCK, Dev, Load, digest, fill, size_of


def test_refusals():
    v = Volume(ORIGIN, STORE)
    path = v.add()
    fill(path, 1, v.sectors)
    v.create(0)
    fill(path, 2, v.sectors // 4)
    v.create(1)
    expect_refusal(DDSNAP, "create", v.sock, "1", says="1")
    expect_refusal(DDSNAP, "delete", v.sock, "1", says="in use")
    expect_refusal(DDSNAP, "delete", v.sock, "9", says="9")
    expect_refusal(DDSNAP, "initialize", "-y", STORE, ORIGIN, says="in use")
    expect_refusal(DDSNAP, "check", STORE, says="in use")
    v.tool("delta", "changelist", v.sock, RUN + "/cl", 0, 1)
    v.tool("delta", "create", "-r", RUN + "/cl", RUN + "/delta",
           "/dev/mapper/" + v.dm(0), "/dev/mapper/" + v.dm(1))
    target = digest("/dev/mapper/" + v.dm(1))
    # The target is not the base: nothing is written.
    changed = linear("other", META, 0, size_of(META))
    expect_refusal(DDSNAP, "apply-delta", RUN + "/delta", changed, says=changed)
    sh("dmsetup", "remove", "--retry", "other")
    expect_refusal(DDSNAP, "apply-delta", RUN + "/delta", ORIGIN, says="in use")
    # A cut delta is refused with the place, and the rest is good.
    with open(RUN + "/delta", "rb") as f:
        whole = f.read()
    with open(RUN + "/cut", "wb") as f:
        f.write(whole[:len(whole) // 2])
    v.remove(0)
    d = v.add(0)                          # writable: it is the base
    expect_refusal(DDSNAP, "apply-delta", RUN + "/cut", d, says="byte")
    v.tool("apply-delta", RUN + "/delta", d)
    assert digest(d) == target
    v.close()


def send(v, file, *argv):
    with open(file, "wb") as out:
        subprocess.run([DDSNAP, "delta", "send", *map(str, argv[:-1]), v.sock, str(argv[-1])], stdout=out,
                       env={**os.environ, "TMPDIR": RUN}, check=True, timeout=120)


def receive(v, file, device, says=None):
    """Takes the stream; or is refused, with these words."""
    with open(file, "rb") as stream:
        server = ["--server", v.sock] if v else []
        result = subprocess.run([DDSNAP, "delta", "receive", *server, device], stdin=stream,
                                capture_output=True, text=True, timeout=120)
    assert result.returncode == (1 if says else 0), result.stderr
    assert not says or says in result.stderr, result.stderr


def same(v, a, b):
    sh("cmp", "-n", str(v.sectors * 512), a, b)


def change(device, block):
    """The block becomes another one; gives what it is now."""
    d = Dev(device)
    changed = bytes(a ^ 1 for a in d.read(block * BLOCK, BLOCK))
    d.write(block * BLOCK, changed)
    d.close()
    return changed


def two_volumes(mib):
    """Upstream and downstream; each has so much of the store's device, as "up" and "down"."""
    up = Volume(ORIGIN, linear("up", STORE, 0, mib * 2048), chunk="4k")
    return up, Volume(META, linear("down", STORE, mib * 2048, mib * 2048), name="w")


def test_bookmark():
    """Two volumes: the base goes upstream, and what changed since is still known."""
    up, down = two_volumes(40)
    path, replica, stream = up.add(), down.add(), RUN + "/stream"
    fill(path, 1, up.sectors)
    snapshot = up.create(0)
    fill(path, 2, up.sectors // 8)
    send(up, stream, "0")
    receive(down, stream, replica)
    same(up, snapshot, replica)
    expect_refusal(DDSNAP, "bookmark", up.sock, "0", says="in use")
    up.remove(0)
    up.tool("bookmark", up.sock, 0)
    assert up.state(0) == "bookmark", up.status()
    assert up.tool("status", up.sock, 0, "--state", check=False).returncode == 3
    expect_refusal(DDSNAP, "create", up.sock, "0", says="exists")
    assert sh("dmsetup", "create", "no", "--table", up.table(0), check=False).returncode != 0
    up.server.restart(signal.SIGKILL)     # it goes on freeing what only the snapshot kept
    load = Load(path, up.sectors // 8, 71, threads=2)
    load.wait_for(100)
    load.finish()
    snapshot = up.create(1)
    send(up, stream, "--from", "0", "1")
    plain = RUN + "/plain"
    with open(plain, "wb") as f:
        f.truncate(up.sectors * 512)
    expect_refusal(DDSNAP, "apply-delta", stream, plain, says="no base sums")
    expect_refusal(DDSNAP, "delta", "verify", stream, plain, says="no base sums")
    up.tool("delta", "verify", stream)
    receive(None, stream, plain, says="only on the origin of a ddsnap volume")
    os.unlink(plain)
    # The downstream origin was written to: a sum would have told, so its snapshot has to.
    change(replica, 5)
    receive(down, stream, replica, says="revert it")
    down.tool("revert", down.sock, 0)
    receive(down, stream, replica)
    same(up, snapshot, replica)
    # The next one, from the next bookmark.
    up.remove(1)
    up.tool("bookmark", up.sock, 1)
    up.tool("delete", up.sock, 0)
    fill(path, 3, up.sectors // 3)
    snapshot = up.create(2)
    send(up, stream, "--from", "1", "2")
    receive(down, stream, replica)
    same(up, snapshot, replica)
    up.delete(2)
    end = time.time() + 60                # bookmarks hold no chunks
    while [s["tag"] for s in up.status()["snapshots"]] != [1]:
        assert time.time() < end, up.status()
        time.sleep(0.05)
    down.close()
    up.close()
    dump = json.loads(sh(DDSNAP, "dump", "--json", "/dev/mapper/up").stdout)
    assert dump["exceptions"] and not any("address" in e for e in dump["exceptions"]), "kept"
    sh("dmsetup", "remove", "--retry", "up")
    sh("dmsetup", "remove", "--retry", "down")


def test_who_vouches():
    """A stream without base sums wants a snapshot that says what the origin holds.  Whatever could
    say it for another content, says nothing: neither is it written, nor called the new snapshot."""
    up, down = two_volumes(36)
    plain = linear("plain", STORE, 72 * 2048, up.sectors)
    path, replica, stream = up.add(), down.add(), RUN + "/stream"
    # Far from what changes upstream: no extent of a stream lies there.
    unchanged = up.sectors // 8 - 1

    def refused(device, says):
        before = digest(device)
        receive(down, stream, device, says=says)
        assert digest(device) == before, "a stream that was refused wrote"
        assert down.state(base + 1) is None, down.status()

    def next_stream():
        up.remove(base)
        up.tool("bookmark", up.sock, base)
        fill(path, 10 + base, up.sectors // 8)
        snapshot = up.create(base + 1)
        send(up, stream, "--from", base, base + 1)
        return snapshot

    def everything():
        """Takes a full stream: nobody has to vouch for anything."""
        send(up, stream, base + 1)
        receive(down, stream, replica)
        same(up, snapshot, replica)

    base = 0
    fill(path, 1, up.sectors)
    snapshot = up.create(0)
    send(up, stream, 0)
    receive(down, stream, replica)
    # Another device than the server's own origin, which has what the stream is made from but for one block.
    sh("dd", "if=" + snapshot, "of=" + plain, "bs=1M", "oflag=direct")
    change(plain, unchanged)
    snapshot = next_stream()
    refused(plain, "only on the origin of a ddsnap volume")
    # A tag that another snapshot has by now, which is what the origin is.
    down.tool("delete", down.sock, 0)
    change(replica, unchanged)
    down.tool("create", down.sock, 0)
    refused(replica, "is gone, which said what it holds")
    everything()
    # A snapshot that was written to, so that it is what the origin is.
    base = 1
    snapshot = next_stream()
    content = change(replica, unchanged)
    d = Dev(down.add(1))
    d.write(unchanged * BLOCK, content)
    d.close()
    same(up, "/dev/mapper/" + down.dm(1), replica)
    refused(replica, "was written to")
    down.remove(1)
    everything()
    down.close()
    up.close()
    for name in ("plain", "up", "down"):
        sh("dmsetup", "remove", "--retry", name)


def written_while_read(up, base, target, write):
    """The stream, which has no end: the pipe is full, and the sender waits with most of it before
    it, when the base is written to."""
    sender = subprocess.Popen(
        [DDSNAP, "delta", "send", "-r", "--rate-limit", "64M", "--from", str(base), up.sock, str(target)],
        bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": RUN})
    head = sender.stdout.read(64 << 10)
    write()
    rest, told = sender.communicate(timeout=120)
    assert sender.returncode == 1 and b"was written to while it was read" in told, told
    return head + rest


def test_base_that_was_written():
    """Snapshots can be written to: what was sent of a base is then not what it is now."""
    up, down = two_volumes(36)
    path, replica, stream = up.add(), down.add(), RUN + "/stream"
    fill(path, 1, up.sectors)
    base = up.create(0)
    send(up, stream, 0)
    receive(down, stream, replica)
    # One block of the base becomes what the origin is later, as a replayed journal does: they are
    # equal, and the replica has neither.  Another one becomes what nobody else has.
    content = change(base, 40)
    d = Dev(path)
    d.write(40 * BLOCK, content)
    d.close()
    change(base, 50)
    change(path, 60)
    snapshot = up.create(1)
    send(up, stream, "--from", 0, 1)
    receive(down, stream, replica)
    same(up, snapshot, replica)
    # Or while it is read.
    fill(path, 2, up.sectors)
    snapshot = up.create(2)
    rest = written_while_read(up, 1, 2, lambda: change("/dev/mapper/" + up.dm(1), up.sectors // 8 - 1))
    with open(stream, "wb") as f:
        f.write(rest)
    receive(down, stream, replica, says="ddsnap: ")    # cut off, or not the base that it was
    down.tool("revert", down.sock, 1)
    send(up, stream, "--from", 1, 2)
    receive(down, stream, replica)
    same(up, snapshot, replica)
    down.close()
    up.close()
    for name in ("up", "down"):
        sh("dmsetup", "remove", "--retry", name)


def test_stream_of_a_written_base_begins_again():
    """A stream was cut off because its base was written to, and had left out what base and target had
    in common by then: what comes next brings it."""
    up, down = two_volumes(36)
    path, replica, stream = up.add(), down.add(), RUN + "/stream"
    blocks = up.sectors // 8
    fill(path, 1, up.sectors)
    up.create(0)
    send(up, stream, 0)
    receive(down, stream, replica)

    def change_all():
        """Every other block: an extent each, of which a sender holds only a few."""
        for block in range(0, blocks, 2):
            change(path, block)

    def cut(base):
        """Until where the replica has it, and less, what was left out."""
        target = Dev("/dev/mapper/" + up.dm(base + 1))
        late = (blocks - 64) * BLOCK
        content = target.read(late, BLOCK)
        target.close()

        def write():
            d = Dev("/dev/mapper/" + up.dm(base))
            d.write(late, content)
            d.close()
        part = written_while_read(up, base, base + 1, write)
        result = subprocess.run([DDSNAP, "delta", "receive", "--server", down.sock, replica], input=part,
                                capture_output=True, timeout=120)
        assert result.returncode == 1 and b"truncated" in result.stderr, result.stderr
        token = down.tool("delta", "receive", "--status", "--server", down.sock, replica).stdout.strip()
        assert int(token.split(":")[4]) > late, token
        r = Dev(replica)
        assert r.read(late, BLOCK) != content, "it was not left out"
        r.close()
        return token

    change_all()
    snapshot = up.create(1)
    token = cut(0)
    expect_refusal(DDSNAP, "delta", "send", "--resume", token, "--from-device", "/dev/mapper/" + up.dm(0), up.sock,
                   says="was written to")
    with open(stream, "wb") as out:
        told = subprocess.run([DDSNAP, "delta", "send", "--resume", token, up.sock], stdout=out, stderr=subprocess.PIPE,
                              env={**os.environ, "TMPDIR": RUN}, check=True, timeout=120).stderr
    assert told.count(b"\n") == 1 and b"all is sent again" in told, told
    receive(down, stream, replica)
    same(up, snapshot, replica)
    # The same over TCP.
    change_all()
    snapshot = up.create(2)
    cut(1)
    listener = subprocess.Popen([DDSNAP, "delta", "listen", "--server", down.sock, "0", replica], text=True,
                                stdout=subprocess.PIPE)
    port = listener.stdout.readline().split()[-1]
    sent = subprocess.run([DDSNAP, "delta", "transmit", "--from", "1", "127.0.0.1:" + port, up.sock, "2"], text=True,
                          capture_output=True, env={**os.environ, "TMPDIR": RUN}, timeout=120)
    assert sent.returncode == 0 and "all is sent again" in sent.stderr, sent.stderr
    assert listener.wait(60) == 0
    same(up, snapshot, replica)
    down.close()
    up.close()
    for name in ("up", "down"):
        sh("dmsetup", "remove", "--retry", name)
