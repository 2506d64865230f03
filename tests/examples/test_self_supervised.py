"""Learning without labels: losses against their formulas in float64 NumPy, the teacher against the exact average."""

import re

import numpy as np
import pytest

import tinyconv as tc
from examples import self_supervised as program


def embeddings(n=5, size=4, seed=0):
    """Embeddings of length 1 of two views of n pictures."""
    z = np.random.default_rng(seed).normal(size=(n, 2, size))
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def squared_distances(z):
    """Of each first view to its own second one and to the second one of the picture before."""
    first, second = z[:, 0], z[:, 1]
    return ((first - second) ** 2).sum(1), ((first - np.roll(second, 1, 0)) ** 2).sum(1)


def expected_pair_loss(z):
    own, other = squared_distances(z)
    return np.concatenate([own, np.maximum(1 - np.sqrt(other), 0) ** 2]).mean()


def expected_triplet_loss(z):
    own, other = squared_distances(z)
    return np.maximum(own - other + 0.5, 0).mean()


def expected_simclr_loss(z):
    """T. Chen et al., arXiv 2002.05709, equation 1, with temperature 0.2."""
    views, n = np.concatenate([z[:, 0], z[:, 1]]), len(z)
    losses = []
    for i in range(2 * n):
        scores = np.exp(views @ views[i] / 0.2)
        losses.append(-np.log(scores[(i + n) % (2 * n)] / (scores.sum() - scores[i])))
    return np.mean(losses)


@pytest.mark.parametrize("name", ["pair", "triplet", "simclr"])
def test_losses(name):
    z = embeddings()
    expected = globals()[f"expected_{name}_loss"](z)
    assert program.LOSSES[name](tc.Tensor(z)).item() == pytest.approx(expected, rel=1e-6)
    tc.testing.check_gradients(program.LOSSES[name], [z])


@pytest.mark.parametrize("name", ["pair", "triplet"])
def test_well_separated_views_cost_nothing(name):
    z = np.repeat(np.eye(4)[:, None], 2, axis=1)  # equal views, other pictures at a distance of sqrt(2)
    assert program.LOSSES[name](tc.Tensor(z)).item() == pytest.approx(0, abs=1e-12)


def test_teacher_is_the_moving_average_of_the_student():
    tc.set_seed(0)
    model = program.TeacherStudent(momentum=0.9)
    x = np.random.default_rng(0).random((12, 28, 28, 1), np.float32)
    model.compile(tc.optimizers.Adam(0.01), jit_compile=True)
    teacher = [weight.astype(np.float64) for weight in model.teacher.get_weights()]
    start = model.student.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(teacher, start, strict=True))
    for _ in range(5):  # the last ones are replayed
        model.train_on_batch(x)
        teacher = [0.9 * t + 0.1 * s for t, s in zip(teacher, model.student.get_weights(), strict=True)]
    trained = [weight.requires_grad for weight in model.student.weights]
    assert sum(trained) == 10  # kernels and biases of five layers; not the statistics of the normalisation
    for found, wanted, is_trained in zip(model.teacher.get_weights(), teacher, trained, strict=True):
        if is_trained:
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    means = [w.numpy() for w in model.teacher.weights if "moving_mean" in w.name]
    assert means
    assert all(np.abs(mean).max() > 0 for mean in means)  # the teacher normalises batches, too
    changed = [not np.array_equal(a, b) for a, b in zip(start, model.student.get_weights(), strict=True)]
    assert any(changed)
    assert not {id(w) for w in model.teacher.weights} & {id(w) for w in model.trainable_weights}


def test_byol_compares_no_pictures():
    """Its loss is a mean over pictures: those of a batch do not meet, unlike in SimCLR."""
    z = np.concatenate([embeddings(6, seed=1), embeddings(6, seed=2)], axis=1)  # (6, 4, E)
    model = program.TeacherStudent()
    whole = model.compute_loss(None, None, tc.Tensor(z)).item()
    single = [model.compute_loss(None, None, tc.Tensor(z[i : i + 1])).item() for i in range(6)]
    assert whole == pytest.approx(np.mean(single), rel=1e-9)
    p1, p2, t1, t2 = np.moveaxis(z, 1, 0)
    assert whole == pytest.approx((((p1 - t2) ** 2).sum(1) + ((p2 - t1) ** 2).sum(1)).mean(), rel=1e-9)


def test_holes():
    pictures = np.random.default_rng(0).random((20, 28, 28, 1), np.float32) + 1
    cut, holes = program.cut_holes(pictures, np.random.default_rng(1))
    assert (holes.sum(axis=(1, 2)) == 144).all()
    assert ((cut[..., 0] == 0) == (holes == 1)).all()
    assert len({hole.tobytes() for hole in holes}) > 10
    restored = pictures + np.where(holes, 0.5, 7)[..., None]
    assert program.error_in_holes(restored, pictures, holes) == pytest.approx(0.25, rel=1e-5)


def run(method, folder, capsys, *options):
    before, after = program.main([method, "--quick", "--output", str(folder), *options])
    printed = capsys.readouterr().out
    first, last = map(float, re.search(r"loss (\d+\.\d{4}) -> (\d+\.\d{4})", printed).groups())
    assert last < first
    assert f"{before:.4f} with random weights, {after:.4f} after training" in printed
    encoder = tc.load_model(folder / f"self_supervised_{method}.tinyconv")
    assert encoder.output_shape == (None, 128)
    return printed


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pair", "triplet", "simclr"])
def test_views_of_one_picture_get_nearer(method, tmp_path, capsys):
    printed = run(method, tmp_path, capsys)
    before, after = map(float, re.findall(r"nearer to the same picture's view, \w+: (\d\.\d{4})", printed))
    assert after > before + 0.05


@pytest.mark.slow
def test_byol(tmp_path, capsys):
    run("byol", tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--augmented",)])
def test_inpainting_is_better_than_the_mean_colour(options, tmp_path, capsys):
    printed = run("inpaint", tmp_path, capsys, *options)
    mean = float(re.search(r"mean colour \d\.\d+: (\d\.\d{4})", printed).group(1))
    assert float(re.search(r"restored: (\d\.\d{4})", printed).group(1)) < mean
    assert (tmp_path / "self_supervised_inpainted.png").read_bytes().startswith(b"\x89PNG")
