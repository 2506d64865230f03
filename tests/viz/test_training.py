"""Pictures of training, without a display."""

import numpy as np
import pytest
from matplotlib import image, rc_context

import tinyconv as tc

HISTORY = {"loss": [0.9, 0.5, 0.4], "acc": [0.5, 0.7, 0.8], "val_loss": [1.0, 0.6, 0.5], "val_acc": [0.4, 0.6, 0.7]}


def curves(figure):
    return {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in figure.axes[0].lines}


def test_the_four_curves_against_epochs_from_0():
    figure = tc.viz.plot_history(HISTORY)
    axes = figure.axes[0]
    labels = {"train_loss": "loss", "val_loss": "val_loss", "train_acc": "acc", "val_acc": "val_acc"}
    assert curves(figure) == {label: ([0, 1, 2], HISTORY[key]) for label, key in labels.items()}
    assert list(curves(figure)) == list(labels), "in this order"
    assert axes.get_title() == "Training Loss and Accuracy"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Epoch #", "Loss/Accuracy")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(labels)


def test_from_fit_with_either_spelling_of_accuracy(tmp_path):
    model = tc.Sequential([tc.layers.Dense(2, activation="softmax", input_shape=(3,))])
    model.compile("sgd", "categorical_crossentropy", ["accuracy"])
    history = model.fit(np.ones((4, 3)), np.eye(2)[[0, 1, 0, 1]], epochs=2, verbose=0)
    figure = tc.viz.plot_history(history, tmp_path / "curve.png", title="Two epochs")
    assert list(curves(figure)) == ["train_loss", "train_acc"], "missing curves are left out"
    assert figure.axes[0].get_title() == "Two epochs"
    pixels = image.imread(tmp_path / "curve.png")
    assert pixels.shape[:2] == (600, 800)
    assert pixels.std() > 0.01, "something is drawn"


def test_a_single_epoch_is_visible():
    figure = tc.viz.plot_history({"loss": [0.5]})
    assert figure.axes[0].lines[0].get_marker() == "o"


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_other_formats(tmp_path, ending):
    tc.viz.plot_history(HISTORY, str(tmp_path / f"curve.{ending}"))
    assert (tmp_path / f"curve.{ending}").stat().st_size > 1000


def test_bad_input():
    with pytest.raises(ValueError, match="history must have some of.*Received: \\['lr'\\]"):
        tc.viz.plot_history({"lr": [1.0]})


def test_show_without_a_display(monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    with pytest.raises(RuntimeError, match="needs a display; give a path"):
        tc.viz.show(tc.viz.plot_history(HISTORY))


def test_show_without_a_display_keeps_other_windows(monkeypatch):
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    mine = pyplot.figure()
    try:
        with pytest.raises(RuntimeError, match="needs a display"):
            tc.viz.show(tc.viz.plot_history({"loss": [1.0, 0.5]}))
        assert pyplot.get_fignums() == [mine.number]
    finally:
        pyplot.close(mine)


def test_style_does_not_leak():
    import matplotlib

    before = dict(matplotlib.rcParams)
    tc.viz.plot_history(HISTORY)
    assert dict(matplotlib.rcParams) == before


def test_accuracy_in_the_spelling_of_keras_3():
    figure = tc.viz.plot_history({"accuracy": [0.1, 0.2], "val_accuracy": [0.3, 0.4]})
    assert curves(figure) == {"train_acc": ([0, 1], [0.1, 0.2]), "val_acc": ([0, 1], [0.3, 0.4])}


def test_pyplot_is_not_touched(tmp_path):
    from matplotlib import pyplot

    pyplot.close("all")
    tc.viz.plot_history(HISTORY, tmp_path / "a.png")
    tc.viz.plot_confusion_matrix(np.eye(3), path=tmp_path / "b.png")
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(
    ("path", "error", "told"),
    [
        ("curve.bmp", ValueError, r"curve\.bmp"),
        ("missing/curve.png", FileNotFoundError, "missing, which does not exist"),
    ],
)
def test_no_file_is_left_behind(tmp_path, path, error, told):
    with pytest.raises(error, match=f"Received: .*{told}"):
        tc.viz.plot_history(HISTORY, tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_an_old_picture_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "curve.png"
    path.write_bytes(b"old")
    from matplotlib.figure import Figure

    def fail(self, file, **options):
        file.write(b"half of a pict")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        tc.viz.plot_history(HISTORY, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_equal_figures_make_equal_files(tmp_path):
    for name in ("a.pdf", "b.pdf"):
        tc.viz.plot_history(HISTORY, tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


# --- confusion matrix ------------------------------------------------------------------------------------------


def test_confusion_matrix_as_scikit_learn_counts_it(tmp_path):
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    counts = confusion_matrix(truth, guess)
    names = ["cat", "dog", "panda", "horse"]
    figure = tc.viz.plot_confusion_matrix(counts, names, path=tmp_path / "matrix.png")
    axes = figure.axes[0]
    assert [int(text.get_text()) for text in axes.texts] == counts.ravel().tolist(), "row by row"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == names
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    shares = confusion_matrix(truth, guess, normalize="true")
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    texts = tc.viz.plot_confusion_matrix(counts, normalize=True).axes[0].texts
    assert [text.get_text() for text in texts] == [f"{share:.2f}" for share in shares.ravel()]
    assert image.imread(tmp_path / "matrix.png").std() > 0.01


@pytest.mark.parametrize("count", [2, 10, 40])
@pytest.mark.parametrize("length", [1, 30, 100])
def test_names_of_classes_of_any_length_leave_room_for_the_matrix(count, length, tmp_path):
    """As drawn: no name meets another or leaves the figure, and cells hold their numbers."""
    names = [f"{i} " + "word " * (length // 5) for i in range(count)]
    counts = np.full((count, count), 12345)
    title = "Confusion matrix of a network with a name"
    figure = tc.viz.plot_confusion_matrix(counts, names, path=tmp_path / "matrix.png", title=title)
    axes, whole = figure.axes[0], figure.bbox.padded(1)
    texts = [*axes.get_yticklabels(), axes.title, axes.xaxis.label, axes.yaxis.label, figure.axes[1].yaxis.label]
    boxes = [text.get_window_extent() for text in texts]
    for i, box in enumerate(boxes):
        assert whole.contains(*box.min)
        assert whole.contains(*box.max)
        assert not any(box.overlaps(other) for other in boxes[:i])
    cell = axes.get_window_extent().width / count
    assert cell >= max((text.get_window_extent().width for text in axes.texts), default=16)
    lowest = min(tick.get_window_extent().y0 for tick in axes.get_xticklabels())
    assert axes.xaxis.label.get_window_extent().y1 <= lowest + 1


def test_a_long_title_of_curves_stays_within_the_figure(tmp_path):
    title = "Training loss and accuracy of a network with a long name " * 2
    figure = tc.viz.plot_history(HISTORY, tmp_path / "curves.png", title)
    box = figure.axes[0].title.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= figure.bbox.height


def test_letters_that_the_font_lacks_come_from_another(monkeypatch, tmp_path, recwarn):
    """A letter that one font of matplotlib's own lacks and another has."""
    from matplotlib.font_manager import findfont, get_font

    letter, first, other = "\N{CYRILLIC SMALL LETTER A}", "cmr10", "DejaVu Serif"
    found = [bool(get_font(findfont(name)).get_char_index(ord(letter))) for name in (first, other)]
    assert found == [False, True]
    monkeypatch.setattr("tinyconv.viz.figures.OTHER_FONTS", ("No Such Font", other))
    with rc_context({"font.family": first, "axes.formatter.use_mathtext": True}):
        tc.viz.plot_confusion_matrix(np.eye(2), [letter, "plain"], path=tmp_path / "matrix.png")
    assert not [str(warning.message) for warning in recwarn if "missing from font" in str(warning.message)]
    with rc_context({"font.family": [first]}):
        assert tc.viz.plot_confusion_matrix(np.eye(1), ["plain"]).axes[0].title.get_fontfamily() == [first]


def test_dollars_in_names_are_dollars(tmp_path):
    names = ["$5 to $10", "$\\frac$"]
    figure = tc.viz.plot_confusion_matrix(np.eye(2), names, path=tmp_path / "matrix.png")
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == names
    tc.viz.plot_images(np.zeros((2, 4, 4)), names, path=tmp_path / "images.png")


def test_a_class_without_samples():
    axes = tc.viz.plot_confusion_matrix([[0, 0], [1, 3]], normalize=True).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.00", "0.00", "0.25", "0.75"]


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        ([[1, 2]], None, "must be square.*Received: shape \\(1, 2\\)"),
        ([[1, -2], [0, 1]], None, "counts >= 0"),
        ([[np.nan]], None, "counts >= 0"),
        (np.eye(2), ["one"], "must name 2 classes. Received: 1"),
    ],
)
def test_bad_matrices(matrix, names, message):
    with pytest.raises(ValueError, match=message):
        tc.viz.plot_confusion_matrix(matrix, names)


@pytest.mark.parametrize("epochs", [1, 2, 3, 30])
def test_epochs_are_whole_numbers(epochs):
    figure = tc.viz.plot_history({"loss": list(range(epochs))})
    ticks = figure.axes[0].get_xticks()
    assert (ticks == ticks.round()).all()
    assert 0 in ticks
