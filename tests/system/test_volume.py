#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The whole system on real devices: target, agent, server, tool.

Runs as root where dm-ddsnap is loaded, in a virtual machine or user-mode Linux:
    test_volume.py ORIGIN STORE META [TEST...]
Prints TAP.  Each test begins with a fresh store.  Everything on the devices is lost.
"""
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from volume import RUN, Agent, sh  # noqa: E402
import cases_changes  # noqa: E402
import cases_failures  # noqa: E402
import cases_file_systems  # noqa: E402
import cases_load  # noqa: E402
import cases_streams  # noqa: E402
import testbed  # noqa: E402

CASES = (cases_load, cases_failures, cases_streams, cases_changes, cases_file_systems)
NEED_MACHINE = ("ext4", "xfs", "fio_verify", "fio_kills")


def main():
    known = {n[5:]: test for cases in CASES for n, test in vars(cases).items()
             if n.startswith("test_")}
    names = sys.argv[4:] or list(known)
    if names == ["core"]:
        names = [n for n in known if n not in NEED_MACHINE]
    testbed.agent = Agent()
    print("1..%d" % len(names))
    for i, name in enumerate(names, 1):
        start = time.time()
        try:
            known[name]()
            print("ok %d - %s # %.1f s" % (i, name, time.time() - start), flush=True)
        except Exception:
            why = traceback.format_exc()
            print(sh("dmsetup", "status", check=False).stdout)
            for log in os.listdir(RUN):
                if log.endswith(".log"):
                    with open(RUN + "/" + log) as f:
                        print("".join("# %s: %s" % (log, line) for line in f.readlines()[-15:]))
            for line in why.splitlines():
                print("# " + line)
            print("not ok %d - %s" % (i, name), flush=True)
            return 1
    testbed.agent.stop()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
