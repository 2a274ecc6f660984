"""What mkdocs calls while it builds the documentation: formulas, and a name that the theme's search dialog lacks."""

import html
import re

from latex2mathml.converter import convert

# What pymdownx.arithmatex (generic) leaves on the page: \(inline\) in a span, \[display\] in a div.
FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', flags=re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    """Turn LaTeX into MathML, which browsers set without a script."""
    return FORMULA.sub(_mathml, content)


def on_post_page(output: str, **_: object) -> str:
    """Name the search dialog for screen readers."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def _mathml(formula: re.Match[str]) -> str:
    tag, latex = formula[1], html.unescape(formula[2]).strip()
    if tag == "span":
        return f'<span class="formula">{convert(latex)}</span>'
    return f'<div class="formula" tabindex="0">{convert(latex, display="block")}</div>'  # it scrolls: the keyboard must reach it
