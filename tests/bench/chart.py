"""Draws the benchmark's figures that have a target as an SVG: one bar each, as a share of what was wanted. Left of the line is better."""
from html import escape

WIDTH, LABEL, BAR, ROW, MOST = 900, 330, 400, 22, 2.0


def share(line):
    """How much of its target a figure takes: 1 is just met, less is better. None if it has none."""
    target, value = line["target"], line["ratio"] if line["ratio"] is not None else line["value"]
    if not target or not isinstance(value, (int, float)) or value < 0:
        return None
    if line["met"] == (value <= target):
        return value / target
    return target / value if value else MOST


def svg(lines):
    bars = [(line, s) for line in lines if (s := share(line)) is not None]
    height = ROW * (len(bars) + 2)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    for i, (line, s) in enumerate(bars):
        y, width = ROW * (i + 1), min(s, MOST) / MOST * BAR
        against = f" : {line['against']}" if line["against"] else ""
        value = line["ratio"] if line["ratio"] is not None else f"{line['value']} {line['unit']}"
        out += [f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(line["figure"] + against)}</text>',
                f'<rect x="{LABEL}" y="{y + 4}" width="{width:.1f}" height="{ROW - 8}" fill="{"#4a7" if s <= 1 else "#c66"}"/>',
                f'<text x="{LABEL + width + 6:.1f}" y="{y + 14}">{escape(str(value))} (wanted {escape(str(line["target"]))})</text>']
    x = LABEL + BAR / MOST
    out += [f'<line x1="{x}" y1="{ROW // 2}" x2="{x}" y2="{height - ROW // 2}" stroke="black"/>', "</svg>"]
    return "\n".join(out) + "\n"
