"""What stands where on the pages of a PDF."""

import pypdf


def left_edges(page: pypdf.PageObject) -> list[float]:
    """Where each piece of text begins, in points from the left edge of the page."""
    edges: list[float] = []

    def visit(text: str, _cm: list[float], tm: list[float], _font: object, _size: float) -> None:
        if text.strip():
            edges.append(tm[4])

    page.extract_text(visitor_text=visit)
    return edges
