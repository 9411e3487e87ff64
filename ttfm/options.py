"""Options of losses, networks, data and training: read from signatures, checked before any job runs.

A factory's keyword parameters *are* its options: their annotations give the JSON schema that an experiment is validated
against, their defaults the values an experiment may leave out. Nothing is declared twice.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Range:
    """Bounds of a number, as metadata of ``Annotated``: ``low`` <= value <= ``high``, or strictly where ``open_``.

    ``open_`` names the strict ends: "", "low", "high" or "both"; ``multiple_of`` asks for a multiple.
    """

    low: float | None = None
    high: float | None = None
    open_: Literal["", "low", "high", "both"] = ""
    multiple_of: int | None = None

    def schema(self) -> dict[str, float]:
        """The bounds as JSON-schema keywords."""
        bounds: dict[str, float] = {}
        if self.multiple_of is not None:
            bounds["multipleOf"] = self.multiple_of
        if self.low is not None:
            bounds["exclusiveMinimum" if self.open_ in ("low", "both") else "minimum"] = self.low
        if self.high is not None:
            bounds["exclusiveMaximum" if self.open_ in ("high", "both") else "maximum"] = self.high
        return bounds


Positive = Annotated[float, Range(0, open_="low")]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Decay = Annotated[float, Range(0, 1, open_="high")]
Count = Annotated[int, Range(1)]

_SCALARS = {int: "integer", float: "number", bool: "boolean", str: "string"}


def _type_schema(hint: Any) -> dict[str, Any]:
    origin = get_origin(hint)
    if origin is Annotated:
        base, *metadata = get_args(hint)
        schema = _type_schema(base)
        for item in metadata:
            if isinstance(item, Range):
                schema |= item.schema()
        return schema
    if origin is Literal:
        return {"enum": list(get_args(hint))}
    if origin is list:
        return {"type": "array", "items": _type_schema(get_args(hint)[0])}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_type_schema(part) for part in get_args(hint)]}
    if hint is type(None):
        return {"type": "null"}
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    raise TypeError(f"an option of type {hint!r} cannot be written in an experiment")


def _default(factory: Callable[..., Any], name: str, default: Any) -> Any:
    """A parameter's default as a value; that of a dataclass's list is made by a factory."""
    made = {field.name: field.default_factory for field in fields(factory)} if is_dataclass(factory) else {}
    make = made.get(name, MISSING)
    return default if make is MISSING else make()


def schema_of(factory: Callable[..., Any], skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """JSON schema of the options of ``factory``: one property per parameter, its default included.

    Args:
        factory: a class (a dataclass included) or function whose annotated parameters are options.
        skip: parameters that the caller fills in and an experiment must not.

    Raises:
        TypeError: if a parameter's annotation is not an int, float, bool, str, Literal, list or union of these.
    """
    # A dataclass's inherited fields are annotated in their own modules' words; only its class hints know those.
    plain = inspect.isclass(factory) and not is_dataclass(factory)
    hints = get_type_hints(factory.__init__ if plain else factory, include_extras=True)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in inspect.signature(factory).parameters.items():
        if name in skip:
            continue
        properties[name] = _type_schema(hints[name])
        if parameter.default is parameter.empty:
            required.append(name)
        else:
            properties[name]["default"] = _default(factory, name, parameter.default)
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}


def fill(schema: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with the defaults of ``schema`` for every option left out, in the schema's order."""
    defaults = {name: entry["default"] for name, entry in schema["properties"].items() if "default" in entry}
    filled = defaults | values
    return {name: filled[name] for name in schema["properties"] if name in filled}
