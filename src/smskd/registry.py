"""Finds methods, anchors, strategies, models and data sources by name.

A name is a built-in one, the name of an installed entry point, or ``package.module:Name``. Built-in names and those of
entry points are listed without importing what they stand for, and so without importing torch.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Collection
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from smskd.config.base import ComponentConfig
from smskd.config.importing import has, imported
from smskd.config.messages import mistake, shortened, shown
from smskd.config.numbers import is_boolean_as_number
from smskd.errors import UserError, nearest


@dataclass(frozen=True)
class Registry:
    """The things of one kind by name.

    Attributes:
        noun: what they are, for messages.
        group: of the entry points that add to them.
    """

    noun: str
    group: str

    def builtin_names(self) -> Collection[str]:
        """The names that come with the package."""
        raise NotImplementedError

    def builtin(self, name: str) -> Any:
        """The built-in thing of this name."""
        raise NotImplementedError

    def check(self, found: object, path: str) -> None:
        """Raises UserError where what a path leads to is not of this kind."""
        if not callable(found):
            raise UserError(f"{self.noun} '{path}' is not callable")

    def names(self) -> tuple[str, ...]:
        """The names of built-in and installed ones, sorted.

        Raises:
            UserError: two of them have the same name.
        """
        return tuple(sorted({*self.builtin_names(), *self._installed()}))

    def check_name(self, name: str) -> None:
        """Checks, without importing anything, that a name is one of :meth:`names` or a path.

        Raises:
            UserError: it is neither.
        """
        if ":" not in name and name not in self.builtin_names() and name not in self._installed():
            raise UserError(f"unknown {self.noun} '{shortened(name)}'{nearest(name, self.names())}")

    def find(self, name: str) -> Any:
        """The thing of this name.

        Args:
            name: built-in, of an entry point of the group, or ``package.module:Name``.

        Raises:
            UserError: there is none, or what was found is of another kind.
        """
        if ":" in name:
            return self._from_path(name)
        if name in self.builtin_names():
            return self.builtin(name)
        self.check_name(name)
        return self._from_path(self._installed()[name].value)

    def name_of(self, thing: object) -> str:
        """The name under which :meth:`find` finds a class, or the class of an object, again.

        That of a class defined within a function or in ``__main__`` is its path too, but only its own program finds it.
        """
        cls = thing if isinstance(thing, type) or inspect.isfunction(thing) else type(thing)
        path = f"{cls.__module__}:{cls.__qualname__}"
        for name, point in self._installed().items():
            if point.value == path:
                return name
        return path

    def _installed(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        builtin = self.builtin_names()
        for point in entry_points(group=self.group):
            if point.name in builtin:
                raise UserError(
                    f"the installed {self.noun} '{point.name}' ({point.value}) has the name of a built-in one; "
                    f"rename its entry point in the group {self.group}"
                )
            if point.name in found and found[point.name].value != point.value:
                raise UserError(
                    f"two installed entry points of the group {self.group} are called '{point.name}': "
                    f"{found[point.name].value} and {point.value}; uninstall one or name it as package.module:Name"
                )
            found[point.name] = point
        return found

    def _from_path(self, path: str) -> Any:
        module_name, _, attribute = path.partition(":")
        if not module_name or not attribute:
            raise UserError(f"{self.noun} '{path}': write package.module:Name")
        try:
            found: Any = imported(module_name)
        except UserError as error:
            raise UserError(f"{self.noun} '{path}': {error}") from error.__cause__
        for part in attribute.split("."):
            if not has(found, part):
                valid = [key for key, value in vars(found).items() if self._fits(value, key)]
                hint = nearest(part, valid) if valid else ""
                raise UserError(f"{self.noun} '{path}': '{module_name}' has no '{attribute}'{hint}")
            found = getattr(found, part)
        self.check(found, path)
        return found

    def _fits(self, value: object, name: str) -> bool:
        if name.startswith("_"):
            return False
        try:
            self.check(value, name)
        except UserError:
            return False
        return True


@dataclass(frozen=True)
class ClassRegistry(Registry):
    """Classes, each of which a file of a package of smskd defines: the file's name is the class's.

    Attributes:
        package: with the files.
        base: ``module:Class`` that they are subclasses of.
        helpers: files of the package that define none.
    """

    package: str
    base: str
    helpers: frozenset[str] = frozenset()

    def builtin_names(self) -> Collection[str]:
        return sorted(_files(self.package) - self.helpers)

    def builtin(self, name: str) -> Any:
        module = importlib.import_module(f"{self.package}.{name}")
        own = [
            value
            for key, value in vars(module).items()
            if self._fits(value, key) and value.__module__ == module.__name__
        ]
        if len(own) != 1:
            cls = self.base.partition(":")[2]
            raise TypeError(f"{module.__name__} must define one public subclass of {cls}, not {len(own)}")
        return own[0]

    def check(self, found: object, path: str) -> None:
        if not self._is_member(found):
            module, _, cls = self.base.partition(":")
            raise UserError(f"{self.noun} '{path}' is not a subclass of {module}.{cls}")
        if not is_dataclass(found):
            raise UserError(f"{self.noun} '{path}' is not a dataclass; put @dataclass(frozen=True) above the class")

    def make(self, component: ComponentConfig, where: str) -> Any:
        """An object of the class that a component names, with its options as the class's fields.

        Args:
            component: name and options.
            where: its place in the recipe, for messages.

        Raises:
            UserError: no such class, an unknown option, a value of a wrong type or out of range.
        """
        try:
            cls = self.find(component.name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        valid = [field.name for field in fields(cls)]
        for key in component.options:
            if key not in valid:
                hint = nearest(key, valid) if valid else "; it has none"
                raise UserError(f"{where}.{key}: unknown hyper-parameter of {component.name}{hint}")
        try:
            made = _adapter(cls).validate_python(component.options)
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join([where, *(str(part) for part in first["loc"])])
            raise UserError(f"{path}: {mistake(first)}") from None
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        except PydanticUserError as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"{where}: the types of the fields of {component.name} cannot be checked: {reason}"
            ) from error
        for key, value in component.options.items():
            if is_boolean_as_number(value, getattr(made, key)):
                raise UserError(f"{where}.{key}: must be a number, not {shown(value)}")
        return made

    def component_of(self, thing: Any) -> ComponentConfig:
        """Name and options from which :meth:`make` makes an equal object."""
        if not is_dataclass(thing):
            cls = type(thing).__name__
            raise UserError(f"{self.noun} {cls} is not a dataclass; put @dataclass(frozen=True) above the class")
        return ComponentConfig(self.name_of(thing), {field.name: _plain(thing, field.name) for field in fields(thing)})

    def name_of(self, thing: object) -> str:
        cls = thing if isinstance(thing, type) else type(thing)
        package, _, module = cls.__module__.rpartition(".")
        if package == self.package and module in self.builtin_names() and self.builtin(module) is cls:
            return module
        return super().name_of(thing)

    def _is_member(self, value: object) -> bool:
        module, _, name = self.base.partition(":")
        base = getattr(importlib.import_module(module), name)
        return inspect.isclass(value) and issubclass(value, base) and not inspect.isabstract(value)


@dataclass(frozen=True)
class FactoryRegistry(Registry):
    """Callables, of which a module lists the built-in ones.

    Attributes:
        names_in: ``module:function`` that gives the names without importing torch.
        find_in: ``module:function`` that gives the callable of a name.
        libraries: whose own names are names too, as ``library/NAME``; nothing is known of them before they are used.
    """

    names_in: str
    find_in: str
    libraries: frozenset[str] = frozenset()

    def check_name(self, name: str) -> None:
        library, slash, own = name.partition("/")
        if slash and library in self.libraries:
            if not own:
                raise UserError(f"model '{name}': the name of a network of {library} is missing behind the slash")
        elif slash and ":" not in name and name not in self._installed():
            valid = ", ".join(sorted(self.libraries))
            raise UserError(f"unknown model '{shortened(name)}': what stands before the slash must be one of {valid}")
        else:
            super().check_name(name)

    def builtin_names(self) -> Collection[str]:
        names: Collection[str] = _attribute(self.names_in)()
        return names

    def builtin(self, name: str) -> Any:
        return _attribute(self.find_in)(name)


def _plain(thing: Any, name: str) -> Any:
    """The value of a field as a recipe has it: a term within a term by its name and options."""
    value = getattr(thing, name)
    registry = next((registry for registry in (METHODS, ANCHORS) if registry._is_member(type(value))), None)
    return value if registry is None else registry.component_of(value).as_mapping()


@cache
def _files(package: str) -> frozenset[str]:
    """The public modules of a package of smskd, found once: nothing is added while a program runs."""
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    return frozenset(file.name for file in pkgutil.iter_modules([str(folder)]) if not file.name.startswith("_"))


@lru_cache(maxsize=256)
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _attribute(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


METHODS = ClassRegistry("method", "smskd.methods", "smskd.methods", "smskd.interfaces.terms:Method")
ANCHORS = ClassRegistry("anchor", "smskd.anchors", "smskd.anchors", "smskd.interfaces.terms:Anchor")
STRATEGIES = ClassRegistry(
    "strategy",
    "smskd.strategies",
    "smskd.strategies",
    "smskd.strategies.base:Strategy",
    frozenset({"base", "resolve", "resolved"}),
)
MODELS = FactoryRegistry(
    "model",
    "smskd.models",
    "smskd.models.zoo.names:names",
    "smskd.models.zoo.catalog:factory",
    frozenset({"timm", "torchvision", "transformers"}),
)
DATA = FactoryRegistry(
    "data source", "smskd.data", "smskd.data.sources.catalog:names", "smskd.data.sources.catalog:source"
)
