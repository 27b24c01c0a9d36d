"""The papers' tables on the page, our numbers beside theirs where an entry has them."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.device_costs import count_parameters
from avbench.leaderboards.entries import Entry
from avbench.leaderboards.grid_html import grid_html
from avbench.leaderboards.paper_cells import filled
from avbench.leaderboards.paper_costs import counts_parameters, with_sizes
from avbench.leaderboards.paper_text import paper_grid
from avbench.leaderboards.published_tables import PublishedTable, published_tables
from avbench.opening import Progress, silent


def tables_for_page(entries: Sequence[Entry], progress: Progress = silent) -> tuple[dict[str, str], ...]:
    """Id, title, paper and HTML of each table; costs, which depend on the machine, are the papers' alone."""
    tables, found = published_tables(), []
    with progress("papers' tables", len(tables)) as advance:
        for table in tables:
            found.append(_for_page(table, entries))
            advance(1)
    return tuple(found)


def _for_page(table: PublishedTable, entries: Sequence[Entry]) -> dict[str, str]:
    found = filled(table, entries)
    if counts_parameters(table):
        found = with_sizes(found, count_parameters)
    html = grid_html(paper_grid(found, "html"))
    return {"id": table.id, "title": table.title, "paper": f"{table.paper.title}, {table.number}", "html": html}
