# SPDX-License-Identifier: GPL-2.0
"""Bytes on the wire of the modes of deltas, over the history of a real file
system: a kernel's source tree is unpacked, brought to a later release, and
compiled.  Runs on the host; sizes do not depend on how fast it is."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

PACKAGE = "linux-source-6.1"
IMAGE_MIB = 3072
MODES = ["-r", "-x", "-b"]
COMPILE_SECONDS = 1200


class LeftOut(Exception):
    """What this machine lacks for the row."""


def output(*command, **options):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def releases():
    """The oldest and the newest version that apt offers."""
    listed = [line.split("|")[1].strip() for line in output("apt-cache", "madison", PACKAGE).splitlines()]
    if len(set(listed)) < 2:
        raise LeftOut(f"apt offers fewer than two versions of {PACKAGE}")
    return listed[-1], listed[0]


def package(version, cache):
    cache.mkdir(parents=True, exist_ok=True)
    deb = cache / f"{PACKAGE}_{version.replace(':', '%3a')}_all.deb"
    if not deb.exists():
        fetched = cache / "fetch"
        shutil.rmtree(fetched, ignore_errors=True)
        fetched.mkdir()
        subprocess.run(["apt-get", "-q", "download", f"{PACKAGE}={version}"], check=True, cwd=fetched,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        next(fetched.glob("*.deb")).rename(deb)
        fetched.rmdir()
    return deb


def unpack(deb, where):
    """The tree of the package's tar file, without the folder that it is in there."""
    where.mkdir(exist_ok=True)
    script = ('dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards "./usr/src/*.tar.xz" | '
              'tar -xJ --no-same-owner --strip-components=1 -C "$2"')  # fmt: skip
    subprocess.run(["bash", "-o", "pipefail", "-c", script, "bash", deb, where], check=True)


@contextmanager
def mounted(image, where):
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def compile_tree(tree, log):
    """The smallest kernel: it is about what it leaves on the disk, not what it can do."""
    command = f"make tinyconfig && make -j{os.cpu_count()} vmlinux"
    environment = {**os.environ, "KBUILD_BUILD_TIMESTAMP": "1", "KBUILD_BUILD_USER": "bench", "KBUILD_BUILD_HOST": "bench"}
    with open(log, "w", encoding="utf-8") as out:
        subprocess.run(["sh", "-c", command], check=True, cwd=tree, env=environment, timeout=COMPILE_SECONDS,
                       stdout=out, stderr=subprocess.STDOUT)  # fmt: skip


def steps(work, cache):
    """What happens to the file system, in order: a name, and what does it."""
    versions = releases()
    old, new = (package(version, cache) for version in versions)
    old_name, new_name = (version.partition("-")[0] for version in versions)

    def upgrade(mount):
        # As a patch does it: files that are the same stay as they are, their times too.
        later = work / "later"
        unpack(new, later)
        subprocess.run(["rsync", "-rlp", "--checksum", "--delete", "--exclude=/lost+found", f"{later}/", f"{mount}/"],
                       check=True)  # fmt: skip
        shutil.rmtree(later)

    return [
        (f"{old_name} unpacked", lambda mount: unpack(old, mount)),
        (f"patched to {new_name}", upgrade),
        ("compiled", lambda mount: compile_tree(mount, work / "compile.log")),
    ]


def wire_bytes(build, mode, changelist, old, new):
    """The size of a delta that is written nowhere."""
    command = [build / "ddsnap", "delta", "create", mode, changelist, "-", old, new]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as ddsnap:
        size = int(output("wc", "-c", stdin=ddsnap.stdout))
    if ddsnap.returncode != 0:
        raise RuntimeError(f"ddsnap delta create {mode}: exit status {ddsnap.returncode}")
    return size


def compare(build, work, step, chunks):
    old, new, changelist = work / "old.img", work / "new.img", work / "changelist"
    rows = []
    for chunk in chunks:
        changed = int(output(build / "tests/bench/bench-compare-images", old, new, chunk * 1024, changelist))
        sizes = {mode: wire_bytes(build, mode, changelist, old, new) for mode in MODES}
        rows.append({"step": step, "chunk": chunk, "changed": changed, "bytes": sizes})
        print(f"bench: history: {step}, {chunk} KiB: changed {changed}, {sizes}", flush=True)
    return rows


def run(build, work, chunks):
    """The rows; needs root, loop devices and 7 GiB in `work`."""
    cache = Path(os.environ.get("ZUMASTOR_CACHE", "/var/cache/zumastor-tests")) / "bench"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    image, rows = work / "new.img", []
    try:
        with open(image, "wb") as file:
            file.truncate(IMAGE_MIB << 20)
        # All of it now: what the kernel would write later would be taken for a change.
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image], check=True)
        for step, action in steps(work, cache):
            subprocess.run(["cp", "--sparse=always", image, work / "old.img"], check=True)
            with mounted(image, work / "mnt") as mount:
                action(mount)
            rows += compare(build, work, step, chunks)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return rows
