# SPDX-License-Identifier: GPL-2.0
"""One volume of the real programs, started by hand as in the README."""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from blocks import sh, size_of  # noqa: E402

# A build tree's programs, if there is one; else the installed ones.
BUILD = os.environ.get("DDSNAP_BUILD", "")
DDSNAP = os.path.join(BUILD, "ddsnap") if BUILD else "ddsnap"
if BUILD:
    os.environ["ZUMASTOR_LIBEXECDIR"] = BUILD
RUN = "/run/zumastor-test"
AGENT = RUN + "/agent"
os.makedirs(RUN, exist_ok=True)
os.makedirs(RUN + "/state", exist_ok=True)
os.environ["ZUMASTOR_STATEDIR"] = RUN + "/state"


class Daemon:
    """A program in the foreground that can be killed and started again."""

    def __init__(self, log, *argv, socket):
        self.argv, self.socket = argv, socket
        self.log_path = RUN + "/" + log
        self.process = None
        open(self.log_path, "w").close()
        self.start()

    def start(self):
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, cwd=RUN)
        end = time.time() + 60
        while not self.answers():
            assert self.process.poll() is None, "%s ended: %s" % (self.argv, self.log())
            assert time.time() < end, "%s does not listen: %s" % (self.argv, self.log())
            time.sleep(0.02)

    def answers(self):
        if self.socket == AGENT:
            with open("/proc/net/unix") as f:
                return any(line.split()[-1] == AGENT and line.split()[3] == "00010000" for line in f)
        return subprocess.run([DDSNAP, "status", self.socket], capture_output=True,
                              timeout=30).returncode == 0

    def stop(self, how=signal.SIGTERM, code=0):
        """`code`: what a daemon that is asked to end should exit with."""
        self.process.send_signal(how)
        ended = self.process.wait(60)
        assert ended == (code if how == signal.SIGTERM else -how), "%s ended with %d: %s" % (
            self.argv, ended, self.log())

    def restart(self, how=signal.SIGTERM):
        self.stop(how)
        self.start()

    def log(self):
        with open(self.log_path) as log:
            return log.read()


class Agent(Daemon):
    def __init__(self):
        super().__init__("agent.log", DDSNAP, "agent", "-f", AGENT, socket=AGENT)


class Volume:
    def __init__(self, origin, store, meta=None, chunk="16k", name="v", initialize=True):
        self.origin, self.store, self.meta, self.name = origin, store, meta, name
        self.sectors = size_of(origin)
        self.names = []
        self.sock = "%s/%s.sock" % (RUN, name)
        self.metas = [meta] if meta else []
        if initialize:
            sh(DDSNAP, "initialize", "-y", "-c", chunk, store, origin, *self.metas)
        self.server = Daemon(name + ".log", DDSNAP, "server", "-f", store, origin, *self.metas,
                             AGENT, self.sock, socket=self.sock)

    def tool(self, *argv, check=True, timeout=120):
        return sh(DDSNAP, *[str(a) for a in argv], check=check, timeout=timeout)

    def dm(self, tag):
        return self.name if tag == -1 else "%s@%d" % (self.name, tag)

    def table(self, tag):
        of = [] if tag == -1 else [tag]
        sectors = int(self.tool("status", self.sock, *of, "--size").stdout)
        return "0 %d ddsnap %s %s %s %d" % (sectors, self.store, self.origin, AGENT, tag)

    def add(self, tag=-1):
        sh("dmsetup", "create", self.dm(tag), "--table", self.table(tag))
        self.names.append(self.dm(tag))
        return "/dev/mapper/" + self.dm(tag)

    def remove(self, tag=-1):
        sh("dmsetup", "remove", "--retry", self.dm(tag))
        self.names.remove(self.dm(tag))

    def create(self, tag):
        self.tool("create", self.sock, tag)
        return self.add(tag)

    def delete(self, tag):
        if self.dm(tag) in self.names:
            self.remove(tag)
        self.tool("delete", self.sock, tag)

    def status(self):
        return json.loads(self.tool("status", self.sock, "--json").stdout)

    def state(self, tag):
        return {s["tag"]: s["state"] for s in self.status()["snapshots"]}.get(tag)

    def check(self):
        """What `ddsnap check` says of a store that is not in use."""
        return sh(DDSNAP, "check", self.store, *self.metas, check=False)

    def close(self, sound=True):
        for name in reversed(list(self.names)):
            sh("dmsetup", "remove", "--retry", name)
            self.names.remove(name)
        self.server.stop()
        result = self.check()
        assert (result.returncode == 0) == sound, result.stdout + result.stderr
