"""Names become objects, and objects plain data."""

import json

import numpy as np
import pytest

from tinyconv import losses, registry
from tinyconv.registry import Configurable, Registry


def shapes() -> Registry:
    found = Registry("shape")

    @found.register("box")
    class FlatSquare(Configurable):
        def __init__(self, side=1.0, name=None):
            self.side, self.name = side, name or "flat_square"

    @found.register()
    class Cube(FlatSquare):
        def __init__(self, depth, **rest):
            super().__init__(**rest)
            self.depth = depth

    return found


@pytest.mark.parametrize("name", ["FlatSquare", "flat_square", "flatsquare", "FLAT_SQUARE", "box"])
def test_names_ignore_case_and_underscores(name):
    assert type(shapes().get(name)).__name__ == "FlatSquare"


def test_get_takes_names_classes_configurations_and_objects():
    found = shapes()
    square = found.get("box")
    assert found.get(square) is square
    assert isinstance(found.get(type(square)), type(square))
    assert found.get({"class_name": "Cube", "config": {"depth": 3, "side": 2.0}}).get_config() == {
        "depth": 3, "side": 2.0, "name": "flat_square",
    }  # fmt: skip


def test_arguments_handed_on_by_kwargs_belong_to_the_configuration():
    cube = shapes().find("cube")(4, side=2.0)
    assert type(cube).from_config(cube.get_config()).get_config() == cube.get_config()
    assert repr(cube) == "Cube(depth=4, side=2.0)"


def test_unknown_names_list_near_matches():
    with pytest.raises(ValueError, match=r"Unknown shape. Did you mean 'FlatSquare'\? Received: 'flat_sqare'"):
        shapes().get("flat_sqare")
    with pytest.raises(ValueError, match="Expected one of 'FlatSquare', 'Cube'. Received: 'zzz'"):
        shapes().get("zzz")


@pytest.mark.parametrize("wrong", [3, None, [], {"class": "Cube"}, {"class_name": "Cube", "config": 3}])
def test_get_rejects_what_is_no_identifier(wrong):
    with pytest.raises(ValueError, match="Received"):
        shapes().get(wrong)


def test_a_name_is_never_imported():
    for name in ("os.system", "numpy.float32", "tinyconv.losses.mse", "__class__"):
        with pytest.raises(ValueError, match="Unknown loss"):
            losses.get(name)


def test_users_register_classes_under_their_package():
    @registry.register(package="tests")
    class Own(losses.Loss):
        def __init__(self, power=2, name=None, reduction="sum"):
            super().__init__(name, reduction)
            self.power = power

        def call(self, y_true, y_pred):
            return abs(y_true - y_pred) ** self.power

    data = json.loads(json.dumps(registry.serialize(Own(3))))
    assert data["class_name"] == "tests>Own"
    again = losses.get(data)
    assert isinstance(again, Own)
    assert again([0.0], [2.0]).item() == 8.0
    with pytest.raises(ValueError, match="Did you mean 'tests>Own'"):
        losses.get("tests>Owm")


def test_bare_decorator_and_package_of_users():
    @registry.register
    def doubled(x):
        return 2 * x

    assert registry.name_of(doubled) == "Custom>doubled"
    assert Registry("function").get("Custom>doubled") is doubled


def test_custom_objects_hold_within_their_context_only():
    class Mine(losses.Loss):
        pass

    for name in ("Mine", "package>Mine"):
        with registry.custom_objects({"Mine": Mine}):
            assert isinstance(losses.get(name), Mine)
        with pytest.raises(ValueError, match="Unknown loss"):
            losses.get(name)


def test_a_users_object_must_be_of_the_right_kind():
    with registry.custom_objects({"Odd": dict}), pytest.raises(ValueError, match="Expected a loss"):
        losses.get("Odd")


def test_what_is_not_registered_is_named_for_custom_objects():
    class Unknown(losses.Loss):
        pass

    plain = registry.serialize(Unknown())
    assert plain["class_name"] == "Custom>Unknown"
    with registry.custom_objects({"Unknown": Unknown}):
        assert type(losses.get(plain)) is Unknown
    with pytest.raises(ValueError, match="Expected 'Unknown', .* pass custom_objects={'Unknown': Unknown}"):
        losses.get(plain)


def test_what_has_no_name_or_no_arguments_cannot_be_saved():
    for value in (lambda x: x, type("Plain", (), {})):
        with pytest.raises(ValueError, match="Only functions with a name and classes with get_config can be saved"):
            registry.serialize({"f": [value]})


def test_serialize_converts_containers_and_arrays():
    value = {"a": (1, np.float32(0.5)), "b": np.arange(3), "c": [losses.Huber(2.0)], "d": None, "e": losses.mse}
    plain = registry.serialize(value)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["a"] == [1, 0.5]
    assert plain["b"] == [0, 1, 2]
    assert plain["c"][0]["config"]["delta"] == 2.0
    assert plain["e"] == "mean_squared_error"
