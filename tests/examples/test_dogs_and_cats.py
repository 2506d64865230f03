"""The three ways to tell cats from dogs, on small generated photos; VGG16 has random weights there."""

import numpy as np
import pytest

import tinyconv as tc
from examples import common
from examples import dogs_and_cats as program


def test_shapes_and_parameters():
    model = program.build_small_network()
    assert model.count_params() == 1_212_513
    pools = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, tc.layers.MaxPooling2D)]
    assert pools == [(74, 74, 32), (36, 36, 32), (17, 17, 64)]
    assert program.build_top().count_params() == 2_097_665


@pytest.mark.parametrize(("blocks", "trained"), [((5,), 7_079_424), ((4, 5), 12_979_200)])
def test_freezing(blocks, trained):
    model = program.compose(program.build_base(150, None), program.build_top(), blocks)
    assert sum(weight.size for weight in model.trainable_weights) == trained + 2_097_665
    assert model.count_params() == 16_812_353


def test_fine_tuning_leaves_frozen_blocks_as_they_are():
    tc.set_seed(0)
    model = program.compose(program.build_base(32, None), program.build_top((1, 1, 512)))
    base, top = model.layers[1:]
    before = {layer.name: layer.get_weights() for layer in base.layers}
    top_before = top.get_weights()
    model.compile(tc.optimizers.SGD(0.1), loss="binary_crossentropy")
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    model.fit(x, np.array([0, 1, 0, 1]), verbose=0)
    for layer in base.layers:
        same = [np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True)]
        assert not any(same) if layer.name.startswith("block5_conv") else all(same), layer.name
    assert not any(np.array_equal(a, b) for a, b in zip(top_before, top.get_weights(), strict=True))


def test_photos_are_split_by_name_and_labelled_by_folder(tmp_path):
    common.write_animals(tmp_path, seed=0, count=10)
    args = program.parse_arguments(["scratch", "--dataset", str(tmp_path), "--size", "32", "-b", "4"])
    train, validation = program.flow(args, "training"), program.flow(args, "validation")
    for flow, part in ((train, slice(2, None)), (validation, slice(2))):
        cats, dogs = (sorted((tmp_path / kind).iterdir())[part] for kind in ("cats", "dogs"))
        assert [tmp_path / name for name in flow.filenames] == cats + dogs
        assert flow.classes.tolist() == [0] * len(cats) + [1] * len(dogs)


def test_scaling(tmp_path):
    """VGG16 expects BGR less ImageNet's means; the slides only divide by 255."""
    common.write_animals(tmp_path, seed=0, count=5)
    folder = ["--dataset", str(tmp_path), "--size", "32", "-b", "2"]
    batches = {}
    for name in ("imagenet", "slides"):
        args = program.parse_arguments(["bottleneck", *folder, "--scaling", name])
        batches[name] = program.flow(args, "validation", labels=False, **program.scaling(args))[0]
    expected = batches["slides"][..., ::-1] * 255 - np.float32([103.939, 116.779, 123.68])
    np.testing.assert_allclose(batches["imagenet"], expected, atol=1e-3)


def test_fine_tuning_needs_a_trained_top(tmp_path):
    with pytest.raises(FileNotFoundError, match="examples.dogs_and_cats bottleneck --output"):
        program.main(["fine-tune", "--quick", "--output", str(tmp_path)])


def test_fine_tuning_starts_from_the_trained_top(tmp_path, monkeypatch):
    top = program.build_top((1, 1, 512))
    top.save_weights(tmp_path / program.TOP_FILE)
    given = []
    monkeypatch.setattr(program, "fit", lambda *arguments, **options: given.append(arguments))
    model, _ = program.fine_tune(program.parse_arguments(["fine-tune", "--quick", "--output", str(tmp_path)]))
    for ours, theirs in zip(model.layers[2].get_weights(), top.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    optimizer = given[0][1]
    assert (type(optimizer), optimizer.learning_rate, optimizer.momentum) == (tc.optimizers.SGD, 1e-6, 0.9)


def test_settings_of_the_exercise(tmp_path, monkeypatch):
    """More dropout, a penalty on the kernels, smaller steps; photos are turned and shifted; as many parameters."""
    given = []
    monkeypatch.setattr(program, "fit", lambda *arguments, **options: given.append(arguments))
    for way in ("bottleneck", "fine-tune"):
        args = program.parse_arguments([way, "--exercise", "--quick", "--output", str(tmp_path)])
        common.make_folder(tmp_path)
        program.WAYS[way](args)
    (top, rmsprop, *_), (_, sgd, _, photos) = given
    assert top.count_params() == program.build_top((1, 1, 512)).count_params()
    assert [layer.rate for layer in top.layers if isinstance(layer, tc.layers.Dropout)] == [0.8]
    dense = [layer for layer in top.layers if isinstance(layer, tc.layers.Dense)]
    penalty = 0.01 * sum(float((layer.get_weights()[0].astype(np.float64) ** 2).sum()) for layer in dense)
    assert float(sum(loss.numpy() for loss in top.losses)) == pytest.approx(penalty, rel=1e-5)
    assert (rmsprop.learning_rate, sgd.learning_rate, sgd.momentum) == (1e-4, 3e-6, 0.9)
    generator = photos.image_data_generator
    assert (generator.rotation_range, generator.width_shift_range, generator.shear_range) == (40, 0.2, 0.2)


def test_settings_of_the_slides(tmp_path):
    args = program.parse_arguments(["scratch"])
    assert (args.size, args.batch_size, args.epochs) == (150, 16, 50)
    common.write_animals(tmp_path, seed=0, count=5)
    args = program.parse_arguments(["scratch", "--dataset", str(tmp_path)])
    generator = program.flow(args, "training", **program.AUGMENTATION).image_data_generator
    assert (generator.shear_range, generator.zoom_range, generator.horizontal_flip) == (0.2, (0.8, 1.2), True)


@pytest.mark.slow
def test_the_three_ways(tmp_path, capsys):
    output = ["--quick", "--output", str(tmp_path / "new")]
    program.main(["scratch", *output])
    last = program.main(["bottleneck", *output])
    printed = capsys.readouterr().out
    assert "on 32 photos" in printed
    assert f"validation accuracy: {last:.4f} after 4 epochs" in printed
    features = np.load(tmp_path / "new" / "bottleneck_features_validation.npy")
    assert features.shape == (8, 1, 1, 512)
    assert (np.load(tmp_path / "new" / "bottleneck_features_train.npy") >= 0).all()  # a ReLU is before the pooling
    top = tc.load_model(tmp_path / "new" / "dogs_and_cats_bottleneck.tinyconv")
    labels = np.repeat([0, 1], 4)
    assert ((top.predict(features, verbose=0).ravel() > 0.5) == labels).mean() == pytest.approx(last)
    program.main(["fine-tune", *output])
    assert "training 7211009 of 14846273 parameters" in capsys.readouterr().out  # 7,079,424 + 131,585
    for way in ("scratch", "bottleneck", "fine_tune"):
        for ending in (".png", ".txt", ".tinyconv"):
            assert (tmp_path / "new" / f"dogs_and_cats_{way}{ending}").is_file()
