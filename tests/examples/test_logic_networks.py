"""The logic networks: truth tables by Python's own operators."""

import numpy as np
import pytest

import tinyconv as tc
from examples import logic_networks as program

CASES = [(False, False), (False, True), (True, False), (True, True)]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("A", lambda a, b: a),
        ("A AND B", lambda a, b: a and b),
        ("A OR B", lambda a, b: a or b),
        ("A AND NOT B", lambda a, b: a and not b),
    ],
)
def test_mcculloch_pitts(name, function):
    outputs = program.mcculloch_pitts(program.MCCULLOCH_PITTS[name]).predict(program.INPUTS, verbose=0)
    assert outputs.ravel().tolist() == [float(function(a, b)) for a, b in CASES]


def test_xor_by_hand_and_its_hidden_units():
    model = program.xor_by_hand()
    assert model.predict(program.INPUTS, verbose=0).ravel().tolist() == [float(a != b) for a, b in CASES]
    hidden = model.layers[0](program.INPUTS).numpy()
    assert hidden.T.tolist() == [[float(a and b) for a, b in CASES], [float(a or b) for a, b in CASES]]


def test_a_step_at_zero_is_one():
    assert program.threshold_layer([[1]], [0])(np.zeros((1, 1), np.float32)).item() == 1


def test_a_single_unit_cannot_learn_xor():
    tc.set_seed(0)
    model, _ = program.learn_xor(hidden=0, epochs=200)
    right = ((model.predict(program.INPUTS, verbose=0) > 0.5) == (program.XOR > 0.5)).sum()
    assert right <= 3


def test_zeros_keep_neurons_equal_and_random_weights_do_not():
    tc.set_seed(0)
    equal = program.train_from_equal_weights("zeros", epochs=20)
    assert (equal == equal[:, :1]).all()
    assert np.abs(equal).max() > 0  # they did learn
    assert len(np.unique(program.train_from_equal_weights("glorot_uniform", epochs=20), axis=1).T) == 4


def test_linear_layers_in_a_chain_are_one():
    x = np.linspace(-9, 9, 7, dtype=np.float32)[:, None]
    np.testing.assert_allclose(program.chain().predict(x, verbose=0), 10 * x + 1, rtol=1e-6)


def test_the_program(tmp_path, capsys):
    assert program.main(["--output", str(tmp_path / "new")])
    lines = capsys.readouterr().out.splitlines()
    assert next(line.split() for line in lines if "NOT B (A is 1)" in line)[-4:] == ["1", "0", "1", "0"]
    assert next(line.split() for line in lines if "XOR by hand" in line)[-4:] == ["0", "1", "1", "0"]
    assert any("learned XOR: yes" in line for line in lines)
    assert (tmp_path / "new" / "xor.png").read_bytes().startswith(b"\x89PNG")
