"""Draws the benchmark's figures that have a target as an SVG: one bar each, all on one scale, which is the share of what is allowed.

A bar that ends left of the line has met its target: at half of the width it takes half the time, or is twice as fast, as was asked for. Met is
filled and ticked, missed is hatched and crossed, so that it can be told without colours."""
from html import escape

LABEL, BAR, TEXT, MARGIN = 560, 320, 230, 16  # widths: the names, the bars, the figures behind them, the edge
TOP, ROW, BOTTOM, MOST = 64, 22, 14, 2.0
WIDTH = LABEL + BAR + TEXT
STYLE = """<style>
text { font: 12px "DejaVu Sans", Verdana, sans-serif; fill: #222 }
.title { font-size: 15px; font-weight: bold }
.less { fill: #666 }
</style>
<defs><pattern id="missed" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="6" height="6" fill="#fbe3d6"/><rect width="3" height="6" fill="#c4501b"/></pattern></defs>"""


def reached(line):
    """The number that is compared with the target; None if the figure could not be measured."""
    value = line["ratio"] if line["ratio"] is not None else line["value"]
    return value if isinstance(value, (int, float)) else None


def less_is_better(line):
    return line["met"] == (reached(line) <= line["target"])


def share(line):
    """How much of its target a figure takes: 1 is just met, less is better."""
    value, target = reached(line), line["target"]
    if value is None:
        return MOST
    if less_is_better(line):
        return value / target if target else 2 * MOST * (value > 0)
    return target / value if value else MOST


def told(line):
    """What stands behind a bar: the figure and what was wanted."""
    value, unit = reached(line), "" if line["ratio"] is not None else f" {line['unit']}"
    if value is None:
        return "failed"
    return f"{value}{unit}, wanted {'≤' if less_is_better(line) else '≥'} {line['target']}"


def bar(line, y):
    s, middle = share(line), y + ROW - 7
    width = min(s, MOST) / MOST * BAR
    against = f'<tspan class="less"> : {escape(line["against"])}</tspan>' if line["against"] else ""
    looks = 'fill="#2f7d6b"' if line["met"] else 'fill="url(#missed)" stroke="#c4501b"'
    out = [f'<text x="{LABEL - 10}" y="{middle}" text-anchor="end">{escape(line["figure"])}{against}</text>',
           f'<rect x="{LABEL}" y="{y + 4}" width="{max(width, 1):.1f}" height="{ROW - 8}" {looks}/>',
           f'<text x="{LABEL + BAR + 10}" y="{middle}">{"✓" if line["met"] else "✗"} {escape(told(line))}</text>']
    if s > MOST:  # it goes on
        x = LABEL + BAR
        out.append(f'<path d="M{x - 14} {y + 2} l8 {ROW / 2 - 2} l-8 {ROW / 2 - 2} h6 l8 {2 - ROW / 2} l-8 {2 - ROW / 2} z" fill="white"/>')
    return out


def svg(lines):
    bars = [line for line in lines if line["target"] is not None]
    height = TOP + ROW * len(bars) + BOTTOM
    end = height - BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">', STYLE,
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text class="title" x="{MARGIN}" y="26">What was reached, as a share of what is allowed</text>',
           f'<text class="less" x="{MARGIN}" y="46">shorter is better; up to the line is met</text>']
    for share_of, name in ((0, "0"), (0.5, "half"), (1, "target"), (1.5, ""), (MOST, "twice")):
        x, ink = LABEL + share_of / MOST * BAR, "#222" if share_of == 1 else "#ddd"
        out += [f'<line x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{end}" stroke="{ink}"/>', f'<text x="{x}" y="{TOP - 12}" text-anchor="middle">{name}</text>']
    for i, line in enumerate(bars):
        out += bar(line, TOP + ROW * i)
    x = LABEL + BAR / MOST  # again, over the bars
    out += [f'<line x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{end}" stroke="#222" stroke-width="2"/>', "</svg>"]
    return "\n".join(out) + "\n"
