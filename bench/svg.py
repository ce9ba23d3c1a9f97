"""Plain SVG bar charts, as text: nothing to install, and small enough to commit."""

import html
import math

LABEL_WIDTH = 270
PLOT_WIDTH = 430
VALUE_WIDTH = 80
BAR_HEIGHT = 14
GAP_HEIGHT = 10
TITLE_HEIGHT = 34
COLOURS = ("#1f6feb", "#9aa4b2")
STYLE = ("text{font:12px sans-serif;fill:#24292f}.t{font-size:14px;font-weight:bold}"
         ".v{font-size:11px}.g{stroke:#d0d7de}.one{stroke:#24292f}.want{stroke:#d1242f;stroke-width:2}")


def _text(x, y, words, kind="", anchor="start"):
    attributes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{attributes}>{html.escape(words)}</text>'


def _bar(y, width, colour):
    return (f'<rect x="{LABEL_WIDTH}" y="{y:.1f}" width="{max(width, 1):.1f}" '
            f'height="{BAR_HEIGHT}" fill="{colour}"/>')


def _line(x, top, bottom, kind):
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" class="{kind}"/>'


def _document(title, height, parts):
    width = LABEL_WIDTH + PLOT_WIDTH + VALUE_WIDTH
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" height="{height:.0f}" role="img">',
        f"<title>{html.escape(title)}</title>", f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height:.0f}" fill="#ffffff"/>',
        _text(10, 20, title, "t"), *parts, "</svg>", ""])


def _short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.1f}"


def ratios(title, rows):
    """A bar each of (label, ratio, wanted or None); a line at 1, and a mark where it should be."""
    rows = [row for row in rows if row[1] is not None]
    largest = max([1.0] + [max(ratio, wanted or 0) for _, ratio, wanted in rows]) * 1.05
    scale = PLOT_WIDTH / largest
    bottom = TITLE_HEIGHT + len(rows) * (BAR_HEIGHT + GAP_HEIGHT)
    parts = [_line(LABEL_WIDTH + n * scale, TITLE_HEIGHT, bottom, "one" if n == 1 else "g")
             for n in range(1, math.floor(largest) + 1)]
    for i, (label, ratio, wanted) in enumerate(rows):
        y = TITLE_HEIGHT + i * (BAR_HEIGHT + GAP_HEIGHT) + GAP_HEIGHT / 2
        parts.append(_text(LABEL_WIDTH - 8, y + 11, label, anchor="end"))
        parts.append(_bar(y, ratio * scale, COLOURS[0]))
        if wanted:
            parts.append(_line(LABEL_WIDTH + wanted * scale, y - 3, y + BAR_HEIGHT + 3, "want"))
        end = LABEL_WIDTH + max(ratio, wanted or 0) * scale
        parts.append(_text(end + 5, y + 11, f"{ratio:.2f}", "v"))
    parts.append(_text(LABEL_WIDTH, bottom + 16, "red: the target; black: as fast as etcd", "v"))
    return _document(title, bottom + 26, parts)


def pairs(title, names, rows):
    """Two bars each of (label, [first, second]), on a logarithmic scale."""
    rows = [row for row in rows if all(row[1])]
    values = [value for _, both in rows for value in both] or [1.0]
    low = math.floor(math.log10(min(values)))
    high = max(math.log10(max(values)), low + 1)
    scale = PLOT_WIDTH / (high - low)
    row_height = 2 * BAR_HEIGHT + GAP_HEIGHT
    bottom = TITLE_HEIGHT + len(rows) * row_height
    parts = []
    for power in range(low, math.floor(high) + 1):
        x = LABEL_WIDTH + (power - low) * scale
        parts.append(_line(x, TITLE_HEIGHT, bottom, "g"))
        parts.append(_text(x, bottom + 14, f"{10.0 ** power:,g}", "v", "middle"))
    for i, (label, both) in enumerate(rows):
        y = TITLE_HEIGHT + i * row_height + GAP_HEIGHT / 2
        parts.append(_text(LABEL_WIDTH - 8, y + BAR_HEIGHT + 4, label, anchor="end"))
        for value, colour in zip(both, COLOURS):
            width = (math.log10(value) - low) * scale
            parts.append(_bar(y, width, colour))
            parts.append(_text(LABEL_WIDTH + width + 5, y + 11, _short(value), "v"))
            y += BAR_HEIGHT
    for i, name in enumerate(names):
        x = LABEL_WIDTH + i * 90
        parts.append(f'<rect x="{x}" y="{bottom + 22}" width="10" height="10" fill="{COLOURS[i]}"/>')
        parts.append(_text(x + 15, bottom + 31, name, "v"))
    return _document(title, bottom + 42, parts)
