# SPDX-License-Identifier: GPL-2.0
"""From samples to ratios: the median of one side over the median of the other.
The spread is that of the ratios of neighbours in time, repetition i of one side
over repetition i of the other."""

from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True)
class Goal:
    """One row of the table: `ours` over `theirs` must reach `target`; None: it is told, nothing is promised."""

    row: str
    work: str
    ours: str
    theirs: str
    target: float | None
    lower_is_better: bool = False  # times: then the ratio is theirs over ours
    measure: str = "kib_per_s"


GOALS = [
    Goal("read", "origin reads, no snapshot", "ddsnap", "linear", 0.97),
    Goal("write", "origin writes, no snapshot", "ddsnap", "linear", 0.97),
    Goal("copied", "writes to chunks already copied", "ddsnap", "linear", 0.95),
    Goal("first1", "first writes, 1 snapshot", "ddsnap", "snapshot", 1.0),
    Goal("first8", "first writes, 8 snapshots", "ddsnap", "snapshot", 4.0),
    Goal("first64", "first writes, 64 snapshots", "ddsnap", "ddsnap1", 0.9),
    Goal("first1000", "first writes, 1000 snapshots", "ddsnap", "ddsnap1", 0.9),
    Goal("seqread-shared", "sequential read of a snapshot, chunks on the origin", "ddsnap", "snapshot", 0.9),
    Goal("seqread-copied", "sequential read of a snapshot, chunks in the store", "ddsnap", "snapshot", 0.9),
    Goal("pause", "snapshot creation under load: longest pause of a write", "ddsnap", "thin", 1.0,
         True, "longest_us"),
    Goal("changelist", "changelist of 1 % of 2 million chunks", "ddsnap", "thin_delta", 10.0,
         True, "seconds"),
    Goal("delta-create", "delta create, uncompressed", "ddsnap", "dd", 0.8, True, "seconds"),
    Goal("delta-apply", "delta apply, uncompressed", "ddsnap", "dd", 0.8, True, "seconds"),
    *(Goal(f"transfer{percent}", f"send and receive, {percent} % changed, {how}", ours, theirs, None, True, "seconds")
      for percent in (1, 10, 100)
      for how, ours, theirs in (("uncompressed", "ddsnap", "dd"), ("uncompressed", "ddsnap", "thin_dd"),
                                ("uncompressed", "ddsnap", "rsync"), ("compressed", "ddsnap_b", "rsync"))),
]  # fmt: skip

SIDES = {
    "ddsnap": "ddsnap",
    "ddsnap1": "ddsnap, 1 snapshot",
    "linear": "dm-linear",
    "snapshot": "dm-snapshot",
    "thin": "dm-thin",
    "thin_delta": "thin_delta",
    "dd": "plain copy",
    "ddsnap_b": "ddsnap, compressed",
    "thin_dd": "thin_delta and plain copy",
    "rsync": "rsync --inplace",
}


@dataclass
class Figure:
    """What one side of a row did."""

    row: str
    chunk: int
    side: str
    median: float
    low: float
    high: float
    values: list
    longest_us: float  # median of the longest completion latencies


@dataclass
class Verdict:
    row: str
    work: str
    chunk: int
    ours: str
    theirs: str
    target: float | None
    ratio: float
    low: float  # quartiles of the pairwise ratios
    high: float
    pairs: int
    passed: bool | None  # None: nothing is promised


def quartiles(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4 - (len(ordered) % 4 == 0)]


def by_repetition(samples, row, chunk, side, measure):
    return {
        s.rep: getattr(s, measure)
        for s in samples
        if (s.row, s.chunk, s.side) == (row, chunk, side) and s.rep > 0
    }


def figures(samples):
    out = []
    for row, chunk, side in dict.fromkeys((s.row, s.chunk, s.side) for s in samples):
        measure = next((g.measure for g in GOALS if g.row == row), "kib_per_s")
        values = list(by_repetition(samples, row, chunk, side, measure).values())
        if not values:
            continue
        longest = [
            getattr(s, "longest_us", 0.0)
            for s in samples
            if (s.row, s.chunk, s.side) == (row, chunk, side) and s.rep > 0
        ]
        out.append(Figure(row, chunk, side, median(values), *quartiles(values), values, median(longest)))
    return out


def verdicts(samples):
    out = []
    for goal in GOALS:
        for chunk in sorted({s.chunk for s in samples if s.row == goal.row}):
            ours = by_repetition(samples, goal.row, chunk, goal.ours, goal.measure)
            theirs = by_repetition(samples, goal.row, chunk, goal.theirs, goal.measure)
            ratios = [
                theirs[rep] / ours[rep] if goal.lower_is_better else ours[rep] / theirs[rep]
                for rep in sorted(ours.keys() & theirs.keys())
            ]
            if not ratios:
                continue
            # Of neighbours in time: what the machine does meanwhile meets both.
            ratio = median(ratios)
            out.append(Verdict(goal.row, goal.work, chunk, goal.ours, goal.theirs, goal.target, ratio,
                               *quartiles(ratios), len(ratios),
                               None if goal.target is None else ratio >= goal.target))  # fmt: skip
    return out


def as_json(results):
    return [asdict(r) for r in results]
