"""Byte quantities and how they are written for people. Owns no limits and no settings."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def format_bytes(n: int) -> str:
    """`n` bytes as people read them: "1.0 GB", "640 MB", "12 KB", "80 bytes" (1 GB is 1024**3 bytes)."""
    size = abs(n)
    if round(size / MIB) >= 1024:
        return f"{n / GIB:.1f} GB"
    if round(size / KIB) >= 1024:
        return f"{n / MIB:.0f} MB"
    if size >= KIB:
        return f"{n / KIB:.0f} KB"
    return f"{n} bytes"
