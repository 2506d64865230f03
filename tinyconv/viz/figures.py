"""What all pictures share: figures without a display, the files that they are saved to, images ready to be shown."""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = ("png", "svg", "pdf")
LARGEST = 30_000  # pixels of one side: what image viewers and matplotlib still take
OTHER_FONTS = (  # for letters that matplotlib's own font lacks, where one of them is installed
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans", "WenQuanYi Micro Hei", "Droid Sans Fallback",
    "Hiragino Sans", "PingFang SC", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS",
    "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai",
)  # fmt: skip


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` x ``height`` inches that belongs to no window."""
    return matplotlib("figure").Figure(figsize=(width, height))


def matplotlib(module: str) -> Any:
    """A module of matplotlib, which is imported only when something is drawn."""
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Pictures need matplotlib: pip install matplotlib") from error


def check_ending(path: str | Path) -> str:
    """The kind of picture that the ending of ``path`` asks for; PNG without one.

    Examples
    --------
    >>> check_ending("lenet.SVG"), check_ending("lenet")
    ('svg', 'png')
    """
    ending = Path(path).suffix[1:].lower() or "png"
    if ending not in ENDINGS:
        raise ValueError(f"A picture's file name must end in {', '.join('.' + e for e in ENDINGS)}. Received: {path}")
    return ending


def save(figure: Figure, path: str | Path | None, dpi: float | None = None) -> Figure:
    """Write ``figure`` to ``path`` (nothing for ``None``) and return it.

    A PNG has ``dpi`` pixels per inch, by default the figure's own, or fewer if it would become larger than 30,000
    pixels.
    """
    _complete_fonts(figure)
    if path is not None:
        ending = check_ending(path)
        # Without dates, equal figures give equal files.
        facts: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[ending]
        data = io.BytesIO()  # what matplotlib leaves on a full disk is not always a file, nor the error an OSError
        dpi = min(dpi or figure.get_dpi(), int(LARGEST / max(figure.get_size_inches())))
        figure.savefig(data, format=ending, dpi=dpi, metadata=facts)
        with replacing(path) as part:
            part.write_bytes(data.getvalue())
    return figure


def _complete_fonts(figure: Figure) -> None:
    """Let texts in any script take the letters that their font lacks from others that are installed."""
    texts = [text for text in figure.findobj(matplotlib("text").Text) if not text.get_text().isascii()]
    if texts:
        installed = set(matplotlib("font_manager").get_font_names())
        others = [name for name in OTHER_FONTS if name in installed]
        for text in texts:
            text.set_fontfamily([*text.get_fontfamily(), *others])


def show(figure: Figure) -> None:
    """Open a window with ``figure`` and wait until it is closed; raises ``RuntimeError`` where there is no display."""
    pyplot = matplotlib("pyplot")
    window = pyplot.figure()
    manager = window.canvas.manager
    if manager is None or pyplot.get_backend().lower() in ("agg", "svg", "pdf", "ps", "cairo", "template"):
        pyplot.close(window)
        raise RuntimeError("Showing a figure needs a display; give a path to save it to a file instead")
    manager.canvas.figure = figure
    figure.set_canvas(manager.canvas)
    pyplot.show()


def as_picture(image: Any) -> np.ndarray:
    """``image`` as matplotlib shows it: (H, W) for gray, (H, W, 3) for colour, floats in [0, 1].

    Integers are taken as 0..255; floats outside [0, 1] (images of which a mean was subtracted) are stretched to it.

    Parameters
    ----------
    image : array_like, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)

    Examples
    --------
    >>> as_picture([[[0], [255]]]).tolist()
    [[0.0, 1.0]]
    """
    values = np.asarray(image)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3, 4)):
        raise ValueError(f"An image must have shape (H, W) or (H, W, 1, 3 or 4). Received: {values.shape}")
    values = values.astype(float) / (255 if values.dtype.kind in "ui" else 1)
    if values.ndim == 3:
        values = values[..., 0] if values.shape[2] == 1 else values[..., :3]
    return values if values.size == 0 or (values.min() >= 0 and values.max() <= 1) else stretch(values)


def stretch(values: np.ndarray) -> np.ndarray:
    """``values`` moved and scaled to [0, 1]; 0.5 where they are all equal, 0 where they are not finite."""
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, values[finite].min() if finite.any() else 0)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)


def mosaic(tiles: Sequence[np.ndarray] | np.ndarray, columns: int, gap: int = 1, between: float = 1.0) -> np.ndarray:
    """Pictures of equal size as one, row by row, with ``gap`` pixels of brightness ``between`` around them.

    Examples
    --------
    >>> mosaic(np.zeros((3, 4, 4)), columns=2).shape
    (11, 11)
    """
    tiles = np.asarray(tiles, float)
    n, h, w = tiles.shape[:3]
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, *tiles.shape[3:]), float(between))
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * (h + gap) + gap, (i % columns) * (w + gap) + gap
        sheet[y : y + h, x : x + w] = tile
    return sheet


def columns_for(count: int, columns: int | None = None) -> int:
    """Columns of a grid for ``count`` pictures: about as many as rows, unless the number is given."""
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1. Received: {columns}")
    return max(1, min(columns or math.ceil(math.sqrt(count)), count))


def draw_picture(axes: Axes, picture: np.ndarray, title: str = "", cmap: str = "gray", **options: Any) -> None:
    """Show a picture without ticks; values in [0, 1] are not stretched."""
    axes.imshow(picture, cmap=cmap, **{"vmin": 0, "vmax": 1, "interpolation": "nearest", **options})
    axes.set_axis_off()
    axes.set_anchor("S")  # room that is left goes to the title
    if title:
        axes.set_title(title, fontsize=9, parse_math=False)
