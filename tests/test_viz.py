"""Pictures of training, without a display."""

import numpy as np
import pytest
from matplotlib import image

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


def test_style_does_not_leak():
    import matplotlib

    before = dict(matplotlib.rcParams)
    tc.viz.plot_history(HISTORY)
    assert dict(matplotlib.rcParams) == before
