#!/usr/bin/env python3
"""Makes the machine-made part of `examples/site`: the chart (over 5 MB), its preview, the tide curve and 6,000 tide
readings, a folder so large that it is stored as a shard.

The results are committed, so nobody needs to run this; it is here to show where they come from. It needs only Python's
own library, takes about two minutes, and the same script always makes the same bytes (with the same zlib).
"""
import math
import struct
import zlib
from datetime import datetime, timedelta
from pathlib import Path

SITE = Path(__file__).parent / "site"

# ---- the chart ------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 2400, 1800


def lattice(x, y, seed):
    """A repeatable number in 0..1 for a lattice point."""
    h = (x * 374761393 + y * 668265263 + seed * 2147483647) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFFFF) / 0xFFFFFF


def noise_rows(cell, seed):
    """Smooth value noise over the whole picture, a row at a time."""
    columns = []
    for x in range(WIDTH):
        t = x % cell / cell
        columns.append((x // cell, t * t * (3 - 2 * t)))
    row_of = {}
    for y in range(HEIGHT):
        cy, t = y // cell, y % cell / cell
        t = t * t * (3 - 2 * t)
        for line in (cy, cy + 1):
            if line not in row_of:
                points = [lattice(x, line, seed) for x in range(WIDTH // cell + 2)]
                row_of[line] = [points[cx] + (points[cx + 1] - points[cx]) * tx for cx, tx in columns]
        upper, lower = row_of[cy], row_of[cy + 1]
        row_of.pop(cy - 1, None)
        yield [a + (b - a) * t for a, b in zip(upper, lower)]


# Height above low water in metres (the sea floor is negative) and the colour there.
COLOURS = [
    (-60, (9, 30, 66)), (-30, (14, 58, 106)), (-12, (21, 101, 144)), (-5, (40, 150, 170)),
    (-2, (94, 196, 192)), (-0.4, (168, 226, 206)), (0.1, (240, 226, 184)), (1.2, (226, 208, 158)),
    (2.0, (126, 160, 92)), (5.0, (62, 112, 70)), (9.0, (44, 88, 60)),
]


def colour(height):
    for (low, a), (high, b) in zip(COLOURS, COLOURS[1:]):
        if height < high:
            t = max(0.0, (height - low) / (high - low))
            return tuple(p + (q - p) * t for p, q in zip(a, b))
    return COLOURS[-1][1]


def heights():
    """The ring of reef, its islets, a pass to the south-west, the lagoon inside."""
    layers = [(noise_rows(cell, seed), weight) for seed, (cell, weight) in
              enumerate([(400, 1.0), (160, 0.55), (64, 0.3), (27, 0.16), (11, 0.08), (4, 0.05)], 1)]
    total = sum(weight for _, weight in layers)
    for y in range(HEIGHT):
        rows = [(next(rows), weight) for rows, weight in layers]
        line = []
        for x in range(WIDTH):
            n = sum(row[x] * weight for row, weight in rows) / total - 0.5
            dx, dy = (x / WIDTH - 0.5) * 2.5, (y / HEIGHT - 0.5) * 2.25
            angle = math.atan2(dy, dx)
            rim = 0.74 + 0.07 * math.sin(3 * angle + 0.6) + 0.05 * math.sin(5 * angle)
            r = math.hypot(dx, dy * 1.12) + n * 0.22
            passage = math.exp(-((angle - 2.35) / 0.06) ** 2)
            reef = math.exp(-((r - rim) / 0.075) ** 2) * (1 - 0.85 * passage)
            inside = r < rim
            floor = -9 - 22 * max(0.0, rim - r) if inside else -6 - 130 * (r - rim)
            islets = max(0.0, math.sin(angle * 4.5 + 1.1) + 0.55 * math.sin(angle * 11)) * 7
            patch = 13 * max(0.0, n - 0.13) * 8 if inside else 0
            line.append(floor * (1 - reef) + reef * (0.4 + islets * (0.55 + n * 2)) + patch + n * 2.4)
        yield line


def render():
    """Colours with the light from the north-west; returns rows of RGB bytes."""
    rows, before = [], None
    for y, line in enumerate(heights()):
        before = before or line
        row = bytearray()
        for x, height in enumerate(line):
            slope = height - before[x - 1 if x else 0]
            steep = 14 if height > -0.4 else 4
            light = 1 + max(-0.32, min(0.32, slope * steep / 40))
            grain = (lattice(x, y, 99) - 0.5) * 8
            row.extend(max(0, min(255, int(c * light + grain))) for c in colour(height))
        rows.append(row)
        before = line
    return rows


def png(path, rows, width):
    """Writes an RGB picture; each row holds differences to the row above, which compresses well."""
    above, raw = bytes(3 * width), bytearray()
    for row in rows:
        raw.append(2)
        raw.extend((a - b) & 255 for a, b in zip(row, above))
        above = row

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                     + chunk(b"IDAT", zlib.compress(bytes(raw), 9)) + chunk(b"IEND", b""))


def smaller(rows, factor):
    """Averages squares of pixels."""
    out = []
    for y in range(0, len(rows) - factor + 1, factor):
        block = rows[y:y + factor]
        row = bytearray()
        for x in range(0, WIDTH - factor + 1, factor):
            for c in range(3):
                row.append(sum(line[3 * (x + i) + c] for line in block for i in range(factor)) // factor ** 2)
        out.append(row)
    return out


# ---- the tides ------------------------------------------------------------------------------------------------------

START, HOURS = datetime(2031, 1, 1), 6000
# Harmonic constituents: degrees an hour, metres, degrees.
CONSTITUENTS = [
    (28.9841042, 0.412, 41), (30.0, 0.163, 77), (28.4397295, 0.088, 18),  # M2 S2 N2
    (30.0821373, 0.045, 74), (15.0410686, 0.121, 203), (13.9430356, 0.079, 186), (14.9589314, 0.038, 199),  # K2 K1 O1 P1
]


def tide(hours):
    """Metres above low water."""
    return 0.95 + sum(a * math.cos(math.radians(speed * hours - phase)) for speed, a, phase in CONSTITUENTS)


def readings():
    folder = SITE / "readings"
    folder.mkdir(exist_ok=True)
    days = {}
    for hour in range(HOURS):
        at = START + timedelta(hours=hour)
        name = at.strftime("%Y-%m-%dT%H.txt")
        trend = "rising" if tide(hour + 0.05) > tide(hour - 0.05) else "falling"
        (folder / name).write_text(
            f"Lantern Atoll, north jetty\n{at:%Y-%m-%d %H:00} UTC\n{tide(hour):.2f} m above low water, {trend}\n")
        days.setdefault(f"{at:%Y-%m-%d}", []).append(name)
    lines = [f"<tr><th>{day}<td>" + " ".join(f'<a href="{name}">{name[11:13]}</a>' for name in names)
             for day, names in days.items()]
    (folder / "index.html").write_text(
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>Readings · Lantern Atoll</title>\n'
        '<link rel="icon" href="../images/lantern.svg">\n<link rel="stylesheet" href="../style.css">\n'
        '<header class="bar"><a class="home" href="../index.html">Lantern Atoll</a><nav><a href="../lighthouse.html">'
        'The light</a> <a href="../chart.html">Chart</a> <a href="../tides.html">Tides</a></nav></header>\n<main>\n'
        f'<h1>All {HOURS:,} readings</h1>\n<p>One small file for each hour of {len(days)} days, '
        'named by its hour in UTC.</p>\n<table class="hours">\n' + "\n".join(lines) + "\n</table>\n</main>\n</html>\n")


def curve():
    """Two weeks of tide as a picture: springs and neaps are plain to see."""
    width, height, hours = 900, 220, 24 * 15
    points = " ".join(f"{x * width / hours:.1f},{height - 20 - tide(x) * 95:.1f}" for x in range(hours + 1))
    marks = "".join(f'<path d="M{d * 24 * width / hours:.1f} {height - 18}v8"/>' for d in range(16))
    (SITE / "images" / "tide.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        '<title>Height of the tide over the first fifteen days of 2031</title>\n'
        f'<polygon points="0,{height - 20} {points} {width},{height - 20}" fill="#7fc8c4" fill-opacity=".35"/>\n'
        f'<polyline points="{points}" fill="none" stroke="#0e6b78" stroke-width="2"/>\n'
        f'<g stroke="#6b7f86">{marks}<path d="M0 {height - 20}h{width}"/></g>\n</svg>\n')


if __name__ == "__main__":
    (SITE / "images").mkdir(parents=True, exist_ok=True)
    readings()
    curve()
    picture = render()
    png(SITE / "images" / "chart.png", picture, WIDTH)
    preview = smaller(picture, 4)
    png(SITE / "images" / "chart-small.png", preview, WIDTH // 4)
