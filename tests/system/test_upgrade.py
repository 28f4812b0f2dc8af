# SPDX-License-Identifier: GPL-2.0
"""Installed packages are replaced, and their daemons restarted, stopped and killed, below a volume that is written to.

  test_upgrade.py ORIGIN STORE DEB...

Run in a virtual machine that has an older version of the packages; the DEBs are the newer one.
"""
import glob
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from blocks import Load, fill, sh, size_of  # noqa: E402

NAME = "vol"
SERVER = "zumastor-server@%s.service" % NAME
PATH = "/dev/zumastor/" + NAME
SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
RESTARTS = int(os.environ.get("RESTARTS", "12"))


def links():
    """How often the kernel has reached a server."""
    return int(sh("dmsetup", "status", "zumastor-" + NAME).stdout.split()[3 + 13])


def linked():
    return sh("dmsetup", "status", "zumastor-" + NAME).stdout.split()[3] == "connected"


def pid(unit=SERVER):
    return int(sh("systemctl", "show", "-P", "MainPID", unit).stdout)


def journal(pattern, unit=SERVER):
    return len(re.findall(pattern, sh("journalctl", "-b", "-o", "cat", "-u", unit).stdout))


def await_link(seconds=60):
    end = time.time() + seconds
    while not linked():
        assert time.time() < end, "no link in %d s" % seconds
        time.sleep(0.05)


def is_connected():
    """The server says so too, and answers at once."""
    out = sh("zumastor", "status", NAME, "--json").stdout
    assert '"connected"' in out, out


class Snapshots(threading.Thread):
    """Creates and deletes snapshots all the time.  Each one is of a moment of the load, which is checked."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load, self.stop, self.error, self.count = load, False, None, 0
        self.go = threading.Event()
        self.go.set()
        self.start()

    def run(self):
        try:
            while not self.stop:
                self.go.wait()
                self.one()
        except Exception as e:  # told by whoever joins
            self.error = e

    def one(self):
        with self.load.lock:
            low = list(self.load.acked)
        tag = sh("zumastor", "snapshot", NAME).stdout.strip()
        with self.load.lock:
            high = list(self.load.submitted)
        self.load.check(PATH + "@" + tag, low, high)
        sh("zumastor", "delete", NAME, tag)
        self.count += 1

    def finish(self):
        self.stop = True
        self.go.set()
        self.join(120)
        assert not self.is_alive(), "a snapshot hangs"
        if self.error:
            raise self.error


def phase(name, load, snapshots, work, keeps_link):
    """Does `work` under load; the link must (or may) stay what it was."""
    before, pids, load.longest, made = links(), pid(), 0, snapshots.count
    begun = time.time()
    work()
    load.wait_for(200)
    await_link()
    is_connected()
    assert not load.error, load.error
    assert not snapshots.error, snapshots.error
    if keeps_link:
        assert links() == before, "the link was dropped: %d links, then %d" % (before, links())
        assert pid() != pids, "the server is still the same process"
    print("%s: %.1f s, longest pause of a write %.0f ms, links %d -> %d, %d snapshots" %
          (name, time.time() - begun, load.longest * 1000, before, links(),
           snapshots.count - made), flush=True)


def upgrade(debs):
    p = subprocess.run(["apt-get", "-y", "--no-install-recommends", "install", *debs], capture_output=True,
                       text=True, timeout=900, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
    assert p.returncode == 0, p.stdout + p.stderr
    version = sh("dpkg-query", "-W", "-f", "${Version}", "zumastor").stdout
    assert version != "0.9", version


def restarts():
    for i in range(RESTARTS):
        sh("systemctl", "restart", SERVER, *(["zumastor-agent.service"] if i % 3 == 0 else []))


def kills():
    """At any instant: also while the store has the connections of an orderly end."""
    rnd = random.Random(SEED)
    for i in range(RESTARTS):
        restart = None
        if i % 2:
            restart = subprocess.Popen(["systemctl", "restart", SERVER], stderr=subprocess.DEVNULL)
            time.sleep(rnd.random() * 0.2)
        victim = pid()
        if victim:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if restart:
            restart.wait(60)
        await_link()


def stop():
    """No successor: the store must let the connection go, and the kernel gets a server by the socket."""
    before = links()
    sh("systemctl", "stop", SERVER)
    end = time.time() + 60
    while links() == before:
        assert time.time() < end, "the kernel still believes in the link of a server that was stopped"
        time.sleep(0.05)


def devices(load):
    """Devices are made while the agent is restarted: none fails."""
    tag = sh("zumastor", "snapshot", NAME).stdout.strip()
    table = sh("dmsetup", "table", "zumastor-%s@%s" % (NAME, tag)).stdout.strip()
    done = []

    def make():
        for i in range(RESTARTS):
            sh("dmsetup", "create", "again%d" % i, "--table", table)
            sh("dmsetup", "remove", "--retry", "again%d" % i)
        done.append(True)

    maker = threading.Thread(target=make, daemon=True)
    maker.start()
    while maker.is_alive():
        sh("systemctl", "restart", "zumastor-agent.service")
        time.sleep(0.05)
    assert done, "a device could not be made"
    sh("zumastor", "delete", NAME, tag)
    load.wait_for(100)


def main():
    origin, store, debs = sys.argv[1], sys.argv[2], sys.argv[3:]
    print("seed %d" % SEED, flush=True)
    sh("zumastor", "define", "volume", NAME, origin, store, "--initialize")
    fill(PATH, 1, size_of(PATH))
    load = Load(PATH, size_of(PATH) // 8, SEED)
    snapshots = Snapshots(load)
    load.wait_for(500)
    taken = journal("kernel link taken over")
    phase("upgrade", load, snapshots, lambda: upgrade(debs), True)
    assert journal("kernel link taken over") > taken, "the link was not taken over"
    phase("restarts", load, snapshots, restarts, True)
    snapshots.go.clear()  # a killed server cannot answer
    time.sleep(2)
    phase("kills", load, snapshots, kills, False)
    phase("stop", load, snapshots, stop, False)
    snapshots.go.set()
    devices(load)
    load.wait_for(200)
    snapshots.finish()
    load.finish()
    load.check(PATH, load.acked, load.submitted)
    assert journal("kernel link broken") == 0 and not glob.glob("/var/lib/zumastor/abandoned/*")
    sh("zumastor", "stop", NAME)
    sh("ddsnap", "check", store)
    sh("zumastor", "start", NAME)
    load.check(PATH, load.acked, load.submitted)
    print("upgrade: PASS", flush=True)


if __name__ == "__main__":
    main()
