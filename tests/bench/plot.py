# SPDX-License-Identifier: GPL-2.0
"""A bar for each ratio, over the line that it has to reach, as SVG."""

from html import escape

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 900, 400, 70, 14, 8, 50
TARGET_AT = 0.5  # where the line of the target stands, as a part of the width
REACHED, MISSED, INK, PALE = "#2f7d4f", "#c0392b", "#222222", "#dddddd"


def ratios(verdicts):
    verdicts = [v for v in verdicts if v["target"] is not None]
    room = WIDTH - LEFT - RIGHT
    height = TOP + len(verdicts) * (BAR + GAP) + 20

    def across(v, value):
        """In units of the target; what is more than twice as good ends at the edge."""
        return LEFT + room * min(value / v["target"] * TARGET_AT, 1.0)

    line = LEFT + room * TARGET_AT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-size="15">Ratios reached, in units of what is to be reached</text>',
        f'<text x="{line}" y="{TOP - 8}" text-anchor="middle">at least</text>',
    ]
    for at, v in enumerate(verdicts):
        y = TOP + at * (BAR + GAP)
        middle = y + BAR - 3
        label = f"{v['work']}, {v['chunk']} KiB"
        out += [
            f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{room}" height="{BAR}" fill="{PALE}" opacity="0.4"/>',
            f'<rect x="{LEFT}" y="{y}" width="{across(v, v["ratio"]) - LEFT:.1f}" height="{BAR}" '
            f'fill="{REACHED if v["passed"] else MISSED}"/>',
            f'<path d="M{across(v, v["low"]):.1f} {y + BAR / 2}H{across(v, v["high"]):.1f}" stroke="{INK}" stroke-width="2"/>',
            f'<text x="{WIDTH - RIGHT + 6}" y="{middle}">{v["ratio"]:.2f} / {v["target"]:g}</text>',
        ]
    out.append(f'<path d="M{line} {TOP - 4}V{height - 14}" stroke="{INK}" stroke-dasharray="4 3"/>')
    return "\n".join(out + ["</svg>"]) + "\n"
