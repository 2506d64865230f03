"""Names for classes: what a user types (``"adam"``) or a file holds becomes an object, and back again.

Each kind of object (losses, optimizers, ...) has one :class:`Registry`. A name finds only what was registered:
nothing is imported or evaluated. Classes of users join with :func:`register`, under ``"package>Name"``.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from tinyconv.revision import Revised

__all__ = [
    "Configurable", "Registry", "arguments_of", "custom_objects", "name_of", "register", "serialize", "set_name",
    "snake_case",
]  # fmt: skip

T = TypeVar("T")

_UNREGISTERED = "Custom>"  # before names of classes and functions of users that were not registered
_names: dict[Any, str] = {}  # registered class or function -> its name in files
_registered: dict[str, Any] = {}  # "package>Name" -> class or function
_scope: ContextVar[Mapping[str, Any]] = ContextVar("tinyconv_custom_objects", default=MappingProxyType({}))


class Configurable(Revised):
    """An object that its constructor's arguments describe.

    The rule: every argument is kept as an attribute of the same name. Arguments that ``**kwargs`` hands on are looked
    up in the base class.

    Examples
    --------
    >>> from tinyconv.registry import Configurable
    >>> class Scale(Configurable):
    ...     def __init__(self, factor=1.0):
    ...         self.factor = factor
    >>> Scale(2.0).get_config(), Scale.from_config({"factor": 3.0})
    ({'factor': 2.0}, Scale(factor=3.0))
    """

    def _argument(self, name: str) -> Any:
        """The value of an argument of the constructor, as it is now."""
        return getattr(self, name)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data that JSON can hold."""
        return {name: serialize(self._argument(name)) for name in arguments_of(type(self))}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """An object equal to the one whose :meth:`get_config` gave ``config``."""
        return cls(**config)

    def __repr__(self) -> str:
        """The class and the arguments that differ from their defaults (names that were made up are left out)."""
        defaults = {k: d for k, d in arguments_of(type(self)).items() if (k, d) != ("name", None)}
        shown = [f"{k}={self._argument(k)!r}" for k, d in defaults.items() if not _same(self._argument(k), d)]
        return f"{type(self).__name__}({', '.join(shown)})"


class Registry:
    """The objects of one kind, by name; case and underscores do not count (``"mean_squared_error"``).

    Parameters
    ----------
    kind : str
        What is kept here, for error messages: ``"loss"``.
    base : type, optional
        Class that every object of this kind is an instance of; by default functions are welcome too.

    Examples
    --------
    >>> from tinyconv.registry import Configurable, Registry
    >>> animals = Registry("animal")
    >>> @animals.register("kitty")
    ... class HouseCat(Configurable):
    ...     def __init__(self, lives=9):
    ...         self.lives = lives
    >>> animals.get("house_cat"), animals.get("kitty").lives
    (HouseCat(), 9)
    >>> animals.get({"class_name": "HouseCat", "config": {"lives": 8}})
    HouseCat(lives=8)
    >>> animals.get("housecart")
    Traceback (most recent call last):
    ValueError: Unknown animal. Did you mean 'HouseCat'? Received: 'housecart'
    """

    def __init__(self, kind: str, base: type | None = None) -> None:
        self.kind, self.base = kind, base
        self._one = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        self._entries: dict[str, Any] = {}
        self._spellings: dict[str, str] = {}

    def register(self, *aliases: str) -> Callable[[T], T]:
        """Decorator that enters a class or function under its own name and ``aliases``."""

        def enter(entry: T) -> T:
            name = _names.setdefault(entry, entry.__name__)  # type: ignore[attr-defined]
            for spelling in (name, *aliases):
                self._entries[_key(spelling)] = entry
                self._spellings[_key(spelling)] = spelling
            return entry

        return enter

    def names(self) -> list[str]:
        """Every name and alias, in the order of registration."""
        return list(self._spellings.values())

    def find(self, name: str) -> Any:
        """The class or function called ``name``.

        Raises
        ------
        ValueError
            For an unknown name; the message lists names that look alike.
        """
        entry = _find_users(name) or self._entries.get(_key(name))
        if entry is not None:
            return entry
        if name.startswith(_UNREGISTERED):
            own = name.removeprefix(_UNREGISTERED)
            raise ValueError(f"Expected {own!r}, which is not tinyconv's: pass custom_objects={{{own!r}: {own}}}")
        spellings = {**self._spellings, **{_key(users): users for users in (*_registered, *_scope.get())}}
        close = [repr(spellings[key]) for key in difflib.get_close_matches(_key(name), spellings)]
        known = ", ".join(repr(_names[entry]) for entry in dict.fromkeys(self._entries.values()))
        hint = f"Did you mean {' or '.join(close)}?" if close else f"Expected one of {known}."
        raise ValueError(f"Unknown {self.kind}. {hint} Received: {name!r}")

    def get(self, identifier: Any) -> Any:
        """The object that ``identifier`` means.

        Parameters
        ----------
        identifier : str, dict, class or object
            A name (the class is then called without arguments), ``{"class_name": ..., "config": ...}`` as
            :func:`serialize` gives it, a class, or the object itself, which is returned as it is.
        """
        found = identifier
        if isinstance(identifier, str):
            found = self.find(identifier)
        elif isinstance(identifier, dict):
            found = self._from_config(identifier)
        found = found() if isinstance(found, type) else found
        if not (isinstance(found, self.base) if self.base else callable(found) or isinstance(found, Configurable)):
            raise ValueError(f"Expected {self._one}: a name, a configuration or an object. Received: {identifier!r}")
        return found

    def _from_config(self, identifier: dict[str, Any]) -> Any:
        name, config = identifier.get("class_name"), identifier.get("config", {})
        if not isinstance(name, str) or not isinstance(config, dict):
            raise ValueError(
                f"The configuration of {self._one} must have the form {{'class_name': name, 'config': arguments}}. "
                f"Received: {identifier!r}"
            )
        entry = self.find(name)
        if not hasattr(entry, "from_config"):
            raise ValueError(f"{name!r} is a function and takes no configuration. Received: {identifier!r}")
        return entry.from_config(config)


def register(package: Any = None, name: str | None = None) -> Any:
    """Decorator that makes a user's class or function known to files, under ``"package>name"``.

    Keras calls it ``register_keras_serializable``. Without it, files hold ``"Custom>name"``, and whoever loads them
    passes ``custom_objects``.

    Parameters
    ----------
    package : str, optional
        Keeps equal names of different authors apart; ``"Custom"`` by default, ``""`` for the bare name.
    name : str, optional
        Name in files; the class's or function's own by default.

    Examples
    --------
    >>> from tinyconv.registry import register, serialize
    >>> @register("my_package")
    ... def twice(x):
    ...     return 2 * x
    >>> serialize(twice)
    'my_package>twice'
    """
    if callable(package):  # @register without parentheses
        return register()(package)

    def enter(entry: T) -> T:
        if isinstance(entry, type) and not hasattr(entry, "get_config"):
            raise ValueError(f"A registered class must have get_config. Received: {entry!r}")
        own = entry.__module__.partition(".")[0] == "tinyconv"
        prefix = ("" if own else "Custom") if package is None else package
        full = f"{prefix}>{name or entry.__name__}".lstrip(">")  # type: ignore[attr-defined]
        _registered[full] = entry
        _names[entry] = full
        return entry

    return enter


@contextlib.contextmanager
def custom_objects(objects: Mapping[str, Any]) -> Iterator[None]:
    """Within this context, names also find ``objects`` (name to class or function), with or without a package.

    Examples
    --------
    >>> from tinyconv import losses, registry
    >>> class MyLoss(losses.Loss):
    ...     pass
    >>> with registry.custom_objects({"MyLoss": MyLoss}):
    ...     losses.get("MyLoss")
    MyLoss()
    """
    token = _scope.set({**_scope.get(), **objects})
    try:
        yield
    finally:
        _scope.reset(token)


def objects_in_scope() -> dict[str, Any]:
    """What :func:`custom_objects` lets names find here."""
    return dict(_scope.get())


def set_name(entry: Any, name: str) -> None:
    """Let files know a class or function by ``name``, under which a :class:`Registry` finds something equal to it."""
    _names[entry] = name


def name_of(entry: Any) -> str:
    """The name under which files know a class or function; without registration, whoever loads must say what it means.

    Raises
    ------
    ValueError
        For what has no name, such as a lambda, and for objects whose arguments are not known.
    """
    if entry in _names:
        return _names[entry]
    name = getattr(entry, "__name__", "")
    if not name.isidentifier() or (isinstance(entry, type) and not hasattr(entry, "get_config")):
        raise ValueError(
            "Only functions with a name and classes with get_config can be saved. Own ones are best registered: "
            f"decorate yours with @tinyconv.registry.register(). Received: {entry!r}"
        )
    return f"{_UNREGISTERED}{name}"


def serialize(value: Any) -> Any:
    """``value`` as plain data that JSON can hold, from which ``get`` of the right module makes an equal object.

    Registered functions and classes become their names, objects ``{"class_name": ..., "config": ...}``; containers are
    converted entry by entry; numbers, strings and None stay.

    Examples
    --------
    >>> from tinyconv import losses
    >>> from tinyconv.registry import serialize
    >>> serialize(losses.MeanSquaredError(name="error"))
    {'class_name': 'MeanSquaredError', 'config': {'reduction': 'sum_over_batch_size', 'name': 'error', 'dtype': None}}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [serialize(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: serialize(entry) for key, entry in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, type) or inspect.isroutine(value):
        return name_of(value)
    return {"class_name": name_of(type(value)), "config": value.get_config()}


_NETWORKS = "tinyconv.applications"  # whose own layers are known to files once it is imported


def _find_users(name: str) -> Any:
    """What users, or the networks of ``applications``, registered or put in scope as ``name``, else None."""
    if name.startswith(f"{_NETWORKS}>"):
        importlib.import_module(_NETWORKS)
    scope = _scope.get()
    return scope.get(name, scope.get(name.rpartition(">")[2], _registered.get(name)))


def snake_case(class_name: str) -> str:
    """``MaxPooling2D`` -> ``max_pooling2d``: Keras's rule for names made of class names."""
    return re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", class_name.strip("_")).lower()


def _key(name: str) -> str:
    return name.replace("_", "").lower()


def arguments_of(cls: type, base: type = object) -> dict[str, Any]:
    """Names and defaults of a constructor's arguments, those that ``**kwargs`` hands to classes up to ``base`` too."""
    found: dict[str, Any] = {}
    for owner in cls.__mro__:
        if "__init__" not in owner.__dict__ or owner is object or issubclass(base, owner):
            continue
        parameters = list(inspect.signature(owner.__init__).parameters.values())[1:]  # type: ignore[misc]
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        for parameter in named:
            found.setdefault(parameter.name, parameter.default)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and not isinstance(value, np.ndarray) and value == default
