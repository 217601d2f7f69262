"""Imports left out that nothing needs which computes on shapes alone: a third of the time that an estimate takes.

diffusers asks torch's compiler to let some functions alone, which imports all of the compiler, and every model of it
imports what it could be combined with: peft, transformers, packages for packed weights and for attention. Diffusers'
pipelines cannot be imported any more by a process that has left them out: it computes on shapes, and ends.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

COMPILER, TRANSFORMERS, LIBRARY = "torch._dynamo", "transformers", "diffusers"
# Where it says which packages it has found, as it takes them into account when a model is imported or asked.
PACKAGES = (
    "peft", "transformers", "accelerate", "bitsandbytes", "torchao", "gguf", "optimum_quanto", "nvidia_modelopt",
    "auto_round", "kernels", "xformers", "flash_attn", "flashinfer", "sageattention",
)  # fmt: skip
FLAGS = {
    "diffusers.utils.import_utils": tuple(f"_{package}_available" for package in PACKAGES),
    "diffusers.utils": ("USE_PEFT_BACKEND",),
}
# What every family imports: where that cannot be had so, the process begins again and leaves nothing out.
COMMON = ("diffusers.models.transformers.transformer_wan", "diffusers.models.autoencoders.autoencoder_kl_wan")
BEGUN_AGAIN = "ESTIMATE_WITH_WHOLE_IMPORTS"


class _Absent(ModuleType):
    """Stands for the compiler: what should not be compiled stays as it is."""

    @staticmethod
    def allow_in_graph(function: Any) -> Any:
        return function

    @staticmethod
    def disable(function: Any = None, *_given: Any, **_named: Any) -> Any:
        return (lambda one: one) if function is None else function


class _Whole:
    """Finds the compiler's own modules once more of it is asked for, all of it imported first."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if not name.startswith(f"{COMPILER}.") or not isinstance(sys.modules.get(COMPILER), _Absent):
            return None
        bring_back()
        importlib.import_module(COMPILER)
        return ModuleSpec(name, _There())


class _There(Loader):
    """Gives what is imported already."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: it has been."""


@contextmanager
def lean_imports() -> Iterator[None]:
    """Leave out, while inside, what is said above; nothing where diffusers or the compiler is imported already."""
    if {LIBRARY, COMPILER} & sys.modules.keys() or BEGUN_AGAIN in os.environ:
        yield
        return
    undo: list[Callable[[], object]] = [bring_back]
    try:
        try:
            _leave_out(undo)
            for name in COMMON:
                importlib.import_module(name)
        except (ImportError, AttributeError, RuntimeError):  # another version of diffusers, which needs more
            _begin_again()
        yield
    finally:
        for step in undo:
            step()


def bring_back() -> None:
    """Let be imported from now on what was left out."""
    if isinstance(sys.modules.get(COMPILER), _Absent):
        del sys.modules[COMPILER]
    if sys.modules.get(TRANSFORMERS, torch) is None:
        del sys.modules[TRANSFORMERS]


def _leave_out(undo: list[Callable[[], object]]) -> None:
    absent = sys.modules[COMPILER] = _Absent(COMPILER)
    absent.__path__ = [str(Path(torch.__file__).parent / "_dynamo")]
    importlib.import_module(f"{COMPILER}.config")  # the one part of it that tensors without data look into
    absent.__path__ = []
    finder: Any = _Whole()
    sys.meta_path.insert(0, finder)
    undo.append(partial(sys.meta_path.remove, finder))
    for place, names in FLAGS.items():
        said = vars(importlib.import_module(place))
        undo.append(partial(said.update, {name: said[name] for name in names if name in said}))
        said.update(dict.fromkeys(said.keys() & set(names), False))
    sys.modules[TRANSFORMERS] = None  # type: ignore[assignment]  # as the import system says that there is none


def _begin_again() -> None:
    """Become the same process anew: half of a library cannot be taken back."""
    os.environ[BEGUN_AGAIN] = "yes"
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - no shell is wanted
