# SPDX-License-Identifier: BSD-3-Clause
"""Dataclasses as JSON documents that older and newer versions of the project exchange.

A field that is missing takes its default, one that is not known here is ignored; a value of the wrong type is a
ValueError that names its place. Fields may be int, float, str, bool, dictionaries by strings, dataclasses, lists of all
these, and `X | None`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: Any) -> Any:
    """The dataclass as what json.dumps takes."""
    return dataclasses.asdict(value)


def decode(cls: type[T], document: object, where: str = "document") -> T:
    """The dataclass that a parsed document describes."""
    if not isinstance(document, dict):
        raise ValueError(f"{where}: expected an object, found {type(document).__name__}")
    hints = typing.get_type_hints(cls)
    known = {
        field.name: _value(hints[field.name], document[field.name], f"{where}.{field.name}")
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.name in document
    }
    try:
        return cls(**known)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (hint,) = [part for part in typing.get_args(hint) if part is not type(None)]
        return _value(hint, value, where)
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast("type[Any]", hint), value, where)
    if origin is list:
        _demand(isinstance(value, list), "a list", value, where)
        (inner,) = typing.get_args(hint)
        return [_value(inner, item, f"{where}[{number}]") for number, item in enumerate(value)]
    if origin is dict:
        _demand(isinstance(value, dict), "an object", value, where)
        _, inner = typing.get_args(hint)
        return {key: _value(inner, item, f"{where}.{key}") for key, item in value.items()}
    if hint is float:
        _demand(isinstance(value, int | float) and not isinstance(value, bool), "a number", value, where)
        return float(value)
    fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    _demand(fits, hint.__name__, value, where)
    return value


def _demand(fits: bool, wanted: str, value: Any, where: str) -> None:
    if not fits:
        raise ValueError(f"{where}: expected {wanted}, found {type(value).__name__}")
