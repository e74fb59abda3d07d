"""Fixtures for the tests of models: they build .tflite files of a few bytes.

`tiny_model` and `layered_model` build models of audio, `odd_model` what is none, and `new_graph`
anything, operator by operator: see small_models.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from earmark.models.metadata.writing import pack
from tests.models.fen import FEN
from tests.models.small_models import Graph, Layer, Port, Steps, constant, layered, linear


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., bytes]:
    """A model whose scores are `weights @ frame`, weights float32 [classes, samples]."""
    return linear


@pytest.fixture(scope="session")
def layered_model() -> Callable[..., bytes]:
    """A model of several outputs, each a layer on the frame or a hidden layer: see `layered`."""
    return layered


@pytest.fixture(scope="session")
def odd_model() -> Callable[..., bytes]:
    """A model that computes nothing, with these inputs and with outputs that are always zero."""
    return constant


@pytest.fixture(scope="session")
def new_graph() -> type[Graph]:
    """A model that grows, one operator after the other."""
    return Graph


@pytest.fixture(scope="session")
def port() -> type[Port]:
    return Port


@pytest.fixture(scope="session")
def layer() -> type[Layer]:
    return Layer


@pytest.fixture(scope="session")
def steps() -> type[Steps]:
    return Steps


@pytest.fixture(scope="session")
def bare(tiny_model: Callable[..., bytes]) -> bytes:
    """Scores of 0.8, 0.4 and 0.2 where all samples are 1."""
    return tiny_model(np.array([[0.1] * 8, [0.05] * 8, [0.025] * 8], np.float32))


@pytest.fixture(scope="session")
def two_headed(odd_model: Callable[..., bytes], port: Callable[..., Any]) -> bytes:
    return odd_model([port([1, 8])], [port([1, 3]), port([1, 2])])


@pytest.fixture(scope="session")
def described(bare: bytes) -> bytes:
    return pack(bare, FEN)
