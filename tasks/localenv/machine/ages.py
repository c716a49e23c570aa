"""Ages for people to read."""


def ago(seconds: float) -> str:
    """Return an age in short form: 12 s ago, 3 h ago."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
