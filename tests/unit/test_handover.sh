#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The real server under a service manager that is played here, on files: what it puts into the store when it
# is asked to end, and what its successor makes of it.  Runs where the programs were built.
command -v python3 >/dev/null || { echo "python3 is not there"; exit 77; }
exec python3 - "${DDSNAP_BUILD:-.}" <<'END'
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import uuid

BUILD = sys.argv[1]
FRAME = struct.Struct("<IIIIQ")
HELLO, MAP, WELCOME, MAPPED, REQUEST, REPLY = 16, 20, 32, 35, 64, 65
LIMIT = 60


def frame(kind, payload):
    return FRAME.pack(0x70736464, kind, len(payload), 0, 0) + payload


def receive(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def next_frame(sock):
    _, kind, length, _, _ = FRAME.unpack(receive(sock, FRAME.size))
    return kind, receive(sock, length)


def ask(sock, verb):
    sock.sendall(frame(REQUEST, json.dumps({"verb": verb}).encode()))


def reply(sock):
    kind, payload = next_frame(sock)
    assert kind == REPLY, kind
    return json.loads(payload)


def ended(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


class Manager:
    """The service manager: a store of descriptors, and notifications."""

    def __init__(self, folder):
        self.path = folder + "/notify"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.path)
        self.store, self.ready = {}, threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            data, fds, _, _ = socket.recv_fds(self.notify, 4096, 8)
            lines = dict(x.split("=", 1) for x in data.decode().split("\n") if "=" in x)
            if "FDSTORE" in lines:
                self.store[lines["FDNAME"]] = fds[0]
                continue
            if "FDSTOREREMOVE" in lines:
                os.close(self.store.pop(lines["FDNAME"]))
            if "READY" in lines:
                self.ready.set()
            for fd in fds:  # BARRIER: closed when all before it was done
                os.close(fd)

    def start(self, listener, argv):
        """A process that gets the listener and what is in the store."""
        passed = [("server.socket", listener)] + list(self.store.items())
        self.ready.clear()
        pid = os.fork()
        if pid:
            return pid
        # High numbers first, so that none is overwritten before it is moved.
        moved = [os.dup2(fd, 100 + i) for i, (_, fd) in enumerate(passed)]
        for i, fd in enumerate(moved):
            os.dup2(fd, 3 + i)
        os.closerange(3 + len(passed), 256)
        os.execve(argv[0], argv, dict(os.environ, NOTIFY_SOCKET=self.path, LISTEN_PID=str(os.getpid()),
                                      LISTEN_FDS=str(len(passed)),
                                      LISTEN_FDNAMES=":".join(n for n, _ in passed)))

    def await_ready(self):
        assert self.ready.wait(LIMIT), "the server does not get ready"


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(LIMIT)
    s.connect(path)
    return s


def main(folder):
    os.environ["ZUMASTOR_STATEDIR"] = folder + "/state"
    paths = {}
    for name, size in (("store", 64 << 20), ("origin", 16 << 20)):
        paths[name] = folder + "/" + name
        with open(paths[name], "wb") as f:
            f.truncate(size)
    subprocess.run([BUILD + "/ddsnap", "initialize", "-y", paths["store"], paths["origin"]], check=True,
                   stdout=subprocess.DEVNULL)
    sock = folder + "/server"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sock)
    listener.listen(8)
    manager = Manager(folder)
    argv = [BUILD + "/ddsnap-server", "-f", paths["store"], paths["origin"], folder + "/agent", sock]

    first = manager.start(listener.fileno(), argv)
    manager.await_ready()
    tool, kernel = connect(sock), connect(sock)
    ask(tool, "status")
    volume = uuid.UUID(reply(tool)["volume_uuid"])
    kernel.sendall(frame(HELLO, struct.pack("<II16s16sQQ", 1, 0, volume.bytes, b"b" * 16, (16 << 20) // 512,
                                            (64 << 20) // 512)))
    assert next_frame(kernel)[0] == WELCOME
    question = frame(MAP, struct.pack("<QQQII", 7, 1, 0, 1, 0))
    kernel.sendall(question[:20])
    os.kill(first, signal.SIGTERM)
    assert os.waitpid(first, 0)[1] == 0
    assert sorted(manager.store) == ["connection-0", "connection-1", "connections"], manager.store
    description = os.dup(manager.store["connections"])
    assert os.fstat(description).st_size > 0

    # Nobody is there, and nobody notices.
    kernel.sendall(question[20:])
    ask(tool, "status")
    second = manager.start(listener.fileno(), argv)
    manager.await_ready()
    kind, payload = next_frame(kernel)
    assert kind == MAPPED and struct.unpack_from("<Q", payload)[0] == 7
    assert reply(tool)["link"] == "connected"
    assert not manager.store, manager.store
    assert os.fstat(description).st_size == 0

    # Who is killed leaves nothing.
    os.kill(second, signal.SIGKILL)
    os.waitpid(second, 0)
    assert not manager.store and ended(kernel) and ended(tool)

    # What was used up is not used again, whatever the store has.
    ours, theirs = socket.socketpair()
    ours.settimeout(LIMIT)
    manager.store = {"connections": description, "connection-0": theirs.detach()}
    third = manager.start(listener.fileno(), argv)
    manager.await_ready()
    assert ended(ours) and not manager.store
    tool = connect(sock)
    ask(tool, "status")
    assert reply(tool)["link"] == "waiting"
    os.kill(third, signal.SIGTERM)
    assert os.waitpid(third, 0)[1] == 0


with tempfile.TemporaryDirectory() as folder:
    main(folder)
print("handover: PASS")
END
