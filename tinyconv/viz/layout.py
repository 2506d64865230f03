"""Layered drawing of a graph: places for boxes so that arrows point downwards and seldom cross.

Steps: a rank for every box (longest path), invisible boxes where an arrow passes a rank, an order within each rank with
few crossings (barycenters, back and forth), then coordinates that keep arrows straight.

Sources: K. Sugiyama, S. Tagawa and M. Toda, "Methods for visual understanding of hierarchical system structures", 1981;
weights of straight arrows as in E. Gansner et al., "A technique for drawing directed graphs", 1993.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

Point = tuple[float, float]
Edge = tuple[int, int]


class Layout(NamedTuple):
    """Where everything goes; y grows downwards.

    Attributes
    ----------
    centers : list of (x, y)
        Of the boxes, in the order in which they were given.
    routes : dict of edge to list of (x, y)
        Points of each arrow, from the source's lower to the target's upper border; in between, two for each rank that
        it passes, one above the other.
    size : (width, height)
        Of the whole drawing; its upper left corner is (0, 0).
    """

    centers: list[Point]
    routes: dict[Edge, list[Point]]
    size: tuple[float, float]


def layered(
    sizes: Sequence[tuple[float, float]], edges: Sequence[Edge], gap: tuple[float, float] = (16, 26)
) -> Layout:
    """Lay out boxes of given ``sizes`` (width, height), connected by ``edges`` (indices of source and target).

    Boxes come in an order of computation: edges from a later to an earlier one (layers that are used repeatedly) are
    drawn backwards, and edges from a box to itself are left to the caller. ``gap`` is the least distance between
    neighbours in a rank, and between ranks.

    Examples
    --------
    >>> layout = layered([(40, 20)] * 3, [(0, 1), (0, 2)])
    >>> layout.centers, layout.size
    ([(48.0, 10.0), (20.0, 56.0), (76.0, 56.0)], (96.0, 66.0))
    """
    if not sizes:
        return Layout([], {}, (0.0, 0.0))
    forward = sorted({(min(e), max(e)) for e in edges if e[0] != e[1]})
    rank = _ranks(len(sizes), forward)
    chains: dict[Edge, list[int]] = {}
    widths, ranks = [w for w, _ in sizes], list(rank)
    for source, target in forward:
        passed = list(range(len(ranks), len(ranks) + rank[target] - rank[source] - 1))
        chains[source, target] = [source, *passed, target]
        ranks += range(rank[source] + 1, rank[target])
        widths += [4.0] * len(passed)
    links = [link for chain in chains.values() for link in pairwise(chain)]
    rows = _ordered(ranks, links)
    xs = _coordinates(rows, links, widths, len(sizes), gap[0])
    low = min(x - w / 2 for x, w in zip(xs, widths, strict=True))
    xs = [x - low for x in xs]
    tops, heights, y = [], [], 0.0
    for row in rows:
        heights.append(max((sizes[i][1] for i in row if i < len(sizes)), default=0.0))
        tops.append(y)
        y += heights[-1] + gap[1]
    centers = [(xs[i], tops[rank[i]] + heights[rank[i]] / 2) for i in range(len(sizes))]
    routes = _routes(edges, chains, centers, sizes, xs, [tops[r] for r in ranks], [heights[r] for r in ranks])
    return Layout(centers, routes, (max(x + w / 2 for x, w in zip(xs, widths, strict=True)), y - gap[1]))


def _ranks(count: int, edges: list[Edge]) -> list[int]:
    """Longest path from a source; sources then move down to just above the first box that needs them."""
    rank = [0] * count
    for source, target in edges:  # sorted by source, and every edge points to a later box
        rank[target] = max(rank[target], rank[source] + 1)
    targets = {target for _, target in edges}
    for box in range(count):
        below = [rank[target] for source, target in edges if source == box]
        if box not in targets and below:
            rank[box] = min(below) - 1
    return rank


def _ordered(ranks: list[int], links: list[Edge]) -> list[list[int]]:
    """Boxes of each rank from left to right, with few crossings."""
    above: list[list[int]] = [[] for _ in ranks]
    below: list[list[int]] = [[] for _ in ranks]
    for source, target in links:
        above[target].append(source)
        below[source].append(target)
    rows: list[list[int]] = [[] for _ in range(max(ranks) + 1)]
    for box in _depth_first(above, below):
        rows[ranks[box]].append(box)
    best, least = [row[:] for row in rows], _crossings(rows, below)
    for sweep in range(24):
        if least == 0:
            break
        neighbours = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            place = {box: i for other in rows for i, box in enumerate(other)}
            row.sort(key=lambda box: _mean([place[n] for n in neighbours[box]], place[box]))
        _swap_neighbours(rows, above, below)
        crossings = _crossings(rows, below)
        if crossings < least:
            best, least = [row[:] for row in rows], crossings
    return best


def _depth_first(above: list[list[int]], below: list[list[int]]) -> list[int]:
    """All boxes, branch by branch, in the order in which the branches were made."""
    found: dict[int, None] = {}
    stack = [box for box in range(len(above)) if not above[box]][::-1]
    while stack:
        box = stack.pop()
        if box not in found:
            found[box] = None
            stack += sorted(below[box], reverse=True)
    return list(found)


def _mean(values: list[int], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    """Number of pairs of arrows that cross."""
    total = 0
    for row, following in pairwise(rows):
        place = {box: i for i, box in enumerate(following)}
        seen: list[int] = []
        for box in row:
            ends = [place[n] for n in below[box]]
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _swap_neighbours(rows: list[list[int]], above: list[list[int]], below: list[list[int]]) -> None:
    """Exchange neighbours as long as that removes crossings."""
    for number, row in enumerate(rows):
        place = {
            box: i for other in rows[max(number - 1, 0) : number + 2] for i, box in enumerate(other)
        }
        for _ in range(len(row)):
            swapped = False
            for i in range(len(row) - 1):
                left, right = row[i], row[i + 1]
                now = then = 0
                for side in (above, below):
                    a, b = ([place[n] for n in side[box]] for box in (left, right))
                    now += sum(p > q for p in a for q in b)
                    then += sum(p < q for p in a for q in b)
                if then < now:
                    row[i], row[i + 1], swapped = right, left, True
            if not swapped:
                break


def _coordinates(
    rows: list[list[int]], links: list[Edge], widths: list[float], boxes: int, gap: float
) -> list[float]:
    """Horizontal centers: the least weighted sum of the arrows' sideways ways, in order, with ``gap`` in between.

    A linear program: the absolute value of each way is a variable of its own, bounded from below by both of its signs.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    count, starts, ends = len(widths), [start for start, _ in links], [end for _, end in links]
    only = [starts.count(start) == 1 == ends.count(end) for start, end in links]  # branches are straight in themselves
    weights = [8.0 if min(link) >= boxes else 4.0 if alone else 1.0 for link, alone in zip(links, only, strict=True)]
    bounds: list[float] = []
    entries: list[tuple[int, int, float]] = []
    for row in rows:
        for left, right in pairwise(row):  # x_left - x_right <= -distance
            entries += [(len(bounds), left, 1.0), (len(bounds), right, -1.0)]
            bounds.append(-(widths[left] + widths[right]) / 2 - gap)
    for number, (source, target) in enumerate(links, count):  # +-(x_source - x_target) - way <= 0
        for sign in (1.0, -1.0):
            entries += [(len(bounds), source, sign), (len(bounds), target, -sign), (len(bounds), number, -1.0)]
            bounds.append(0.0)
    if not bounds:
        return [0.0] * count
    at_row, at_column, values = zip(*entries, strict=True)
    matrix = coo_array((values, (at_row, at_column)), shape=(len(bounds), count + len(links))).tocsr()
    limits = [(None, None)] * count + [(0, None)] * len(links)
    solved = linprog([0.0] * count + weights, A_ub=matrix, b_ub=bounds, bounds=limits, method="highs-ds")
    xs = [float(x) for x in solved.x[:count]]
    branching = [box for box in range(count) if max(starts.count(box), ends.count(box)) > 1]
    for _ in range(3):
        _center(xs, {box: box for box in branching}, rows, links, weights, widths, gap)
        _center(xs, _columns(xs, links), rows, links, weights, widths, gap)
    return xs


def _columns(xs: list[float], links: list[Edge]) -> dict[int, int]:
    """The number of its column for every box; a column is connected boxes that stand straight above each other."""
    column = list(range(len(xs)))
    for source, target in links:
        if abs(xs[source] - xs[target]) < 1e-6 and column[source] != column[target]:
            old, new = column[target], column[source]
            column = [new if name == old else name for name in column]
    return dict(enumerate(column))


def _center(
    xs: list[float],
    group: dict[int, int],
    rows: list[list[int]],
    links: list[Edge],
    weights: list[float],
    widths: list[float],
    gap: float,
) -> None:
    """Where a group of boxes may stand in several equally good places, move it to their middle."""
    for name in dict.fromkeys(group.values()):
        inside = {box for box in group if group[box] == name}
        ways = [  # how far the group is from what it is connected to
            (xs[target] - xs[source] if source in inside else xs[source] - xs[target], weight)
            for (source, target), weight in zip(links, weights, strict=True)
            if (source in inside) != (target in inside)
        ]
        if not ways:
            continue
        low, high = _median(ways)
        for row in rows:
            for left, right in pairwise(row):
                room = xs[right] - xs[left] - (widths[left] + widths[right]) / 2 - gap
                if left in inside and right not in inside:
                    high = min(high, room)
                elif right in inside and left not in inside:
                    low = max(low, -room)
        if low < high:
            for box in inside:
                xs[box] += (low + high) / 2


def _median(weighted: list[tuple[float, float]]) -> tuple[float, float]:
    """All values that minimise the weighted sum of distances to the given ones: an interval."""
    half, total = sum(weight for _, weight in weighted) / 2, 0.0
    low: float | None = None
    for value, weight in sorted(weighted):
        if low is not None:
            return low, value
        total += weight
        if total > half + 1e-9:
            return value, value
        if abs(total - half) <= 1e-9:
            low = value
    raise AssertionError("some value lies at half of the weight")


def _routes(
    edges: Sequence[Edge],
    chains: dict[Edge, list[int]],
    centers: list[Point],
    sizes: Sequence[tuple[float, float]],
    xs: list[float],
    tops: list[float],
    heights: list[float],
) -> dict[Edge, list[Point]]:
    """Points of every arrow; arrows that share a border keep a distance there."""
    starts = _ports([(chain[0], chain[1], key) for key, chain in chains.items()], sizes, xs)
    ends = _ports([(chain[-1], chain[-2], key) for key, chain in chains.items()], sizes, xs)
    routes = {}
    for edge in dict.fromkeys(edges):
        if edge[0] == edge[1]:
            continue
        key = (min(edge), max(edge))
        (source, target), passed = key, chains[key][1:-1]
        points = [(starts[key], centers[source][1] + sizes[source][1] / 2)]
        for i in passed:
            points += [(xs[i], tops[i]), (xs[i], tops[i] + heights[i])]
        points.append((ends[key], centers[target][1] - sizes[target][1] / 2))
        routes[edge] = points if edge == key else points[::-1]
    return routes


def _ports(
    ends: list[tuple[int, int, Edge]], sizes: Sequence[tuple[float, float]], xs: list[float]
) -> dict[Edge, float]:
    """Where arrows touch a border: in the order of their other ends, around its middle."""
    found: dict[Edge, float] = {}
    position: Callable[[tuple[int, int, Edge]], float] = lambda end: xs[end[1]]  # noqa: E731
    for box in sorted({box for box, _, _ in ends}):
        here = sorted((end for end in ends if end[0] == box), key=position)
        step = min(12.0, 0.8 * sizes[box][0] / len(here))
        for i, (_, _, edge) in enumerate(here):
            found[edge] = xs[box] + (i - (len(here) - 1) / 2) * step
    return found
