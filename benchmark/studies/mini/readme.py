"""Sections of the subjects' README that commands rewrite."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).parents[2] / "models" / "mini" / "README.md"


def replace_section(name: str, text: str, path: Path = README) -> None:
    """Replace what stands between the marks of a section."""
    opening, closing = f"<!-- {name}: made by its command -->", f"<!-- end of {name} -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(opening)
    _, _, after = rest.partition(closing)
    path.write_text(f"{before}{opening}\n\n{text}\n\n{closing}{after}", encoding="utf-8")
