"""The fixtures of the end-to-end tests, for tests that are too long to be among them."""

import importlib.util
import pathlib
import sys

_path = pathlib.Path(__file__).resolve().parents[1] / "e2e/conftest.py"
_spec = importlib.util.spec_from_file_location("e2e_conftest", _path)
sys.modules["e2e_conftest"] = _module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

from e2e_conftest import *  # noqa: E402, F403
