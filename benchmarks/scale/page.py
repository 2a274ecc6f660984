"""The page of results: each benchmark writes its own section and leaves the others."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "results" / "scale.md"


def write_section(heading: str, text: str, page: Path = PAGE) -> None:
    """Replace the section of a heading, or add it at the end."""
    before = page.read_text(encoding="utf-8") if page.exists() else "# Bigger than memory\n"
    sections = [part for part in re.split(r"(?m)^(?=## )", before) if not part.startswith(f"## {heading}\n")]
    page.write_text("".join(sections).rstrip() + f"\n\n## {heading}\n\n{text.strip()}\n", encoding="utf-8")


def write_top(text: str, page: Path = PAGE) -> None:
    """Replace what stands before the first section."""
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    sections = re.split(r"(?m)^(?=## )", before)[1:]
    page.write_text("\n".join([text.rstrip() + "\n", *sections]), encoding="utf-8")
