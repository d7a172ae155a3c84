"""Numbers as people say them: sizes, counts, times. The same words on every page and in the terminal."""

from __future__ import annotations

from datetime import UTC, datetime


def size(size_bytes: float) -> str:
    """1.4 GB, 23 MB, 5 kB: decimal units, as disks are sold and browsers show downloads."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            value = size_bytes / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size_bytes:.0f} bytes"


def count(number: float) -> str:
    """4.9 M, 135 M, 7.2 B; small numbers as they are, with a comma for thousands."""
    for unit, factor in (("B", 1e9), ("M", 1e6)):
        if number >= factor:
            value = number / factor
            return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """40 s, 3 min, 2 h 10 min: as precise as anybody needs."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest and hours < 10 else f"{hours} h"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """just now, 5 min ago, 3 h ago, 2 days ago, then the date."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 36 * 3600:
        return f"{duration(seconds)} ago" if seconds < 5400 else f"{round(seconds / 3600)} h ago"
    if seconds < 14 * 86400:
        return f"{round(seconds / 86400)} days ago"
    return f"{moment:%Y-%m-%d}"


def percent(fraction: float, digits: int = 0) -> str:
    """92 %, with the narrow space that typographers ask for left out: it breaks copying."""
    return f"{100 * fraction:.{digits}f} %"
