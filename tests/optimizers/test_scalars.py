"""The numbers of an update are put into tensors only where they changed."""

import copy
import pickle

import numpy as np
import pytest

import tinyconv as tc

NAMES = ["SGD", "Adam", "AdamW", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Ftrl", "Lion"]


@pytest.mark.parametrize("name", NAMES)
def test_changed_settings_take_effect_in_the_next_update(name):
    """Beside an optimizer that is made anew for every update, and so puts all numbers anew."""
    make = getattr(tc.optimizers, name)
    one, weights = make(0.1), [tc.Tensor([1.0, -2.0], requires_grad=True) for _ in range(2)]
    rng = np.random.default_rng(0)
    state = None
    for rate in (0.1, 0.1, 0.02, 0.02, 0.1):
        gradient = rng.normal(size=2)
        one.learning_rate = rate
        one.apply([gradient], weights[:1])
        fresh = make(rate)
        fresh.build(weights[1:])
        if state is not None:
            fresh.set_state({**state, "learning_rate": rate} if "learning_rate" in state else state)
        fresh.apply([gradient], weights[1:])
        state = fresh.get_state()
        np.testing.assert_array_equal(weights[0].numpy(), weights[1].numpy())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
def test_copies_go_on_as_the_original(copied):
    weight = tc.Tensor([1.0], requires_grad=True)
    optimizer = tc.optimizers.SGD(0.5, momentum=0.5)
    optimizer.apply([[1.0]], [weight])
    pair = copied([optimizer, weight])
    for opt, w in ([optimizer, weight], pair):
        opt.apply([[1.0]], [w])
        assert w.item() == 1.0 - 0.5 - (0.25 + 0.5)
