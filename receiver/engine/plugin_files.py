"""Loads the Python files of one folder as a package, so that they can share code.

`from ._helpers import slug` finds `_helpers.py` in the same folder. The folder is not on `sys.path`: a file called
`json.py` in it shadows nothing, and two folders that each have a `_helpers.py` do not conflict.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from receiver.errors import PluginError
from receiver.model.import_errors import import_failure, install_hint


class PluginFolder:
    """One folder's package.

    Args:
        folder: need not exist.
        kind: the prefix of the package's name.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.package = (
            f"{kind}_{hashlib.sha256(str(folder.resolve()).encode(errors='surrogateescape')).hexdigest()[:8]}"
        )
        if self.package in sys.modules:
            return
        package = ModuleType(self.package)
        package.__path__ = [str(folder)]
        sys.modules[self.package] = package

    def plugins(self) -> list[Path]:
        """Return the folder's `*.py` files, sorted, without those whose names begin with an underscore.

        Modules that were loaded from the folder earlier are removed from `sys.modules`: their files may have changed.

        Raises:
            PluginError: the folder cannot be listed.
        """
        try:
            files = sorted(file for file in self.folder.iterdir() if file.suffix == ".py")
        except (FileNotFoundError, NotADirectoryError):
            raise PluginError(f"{self.folder} is not a folder") from None
        except OSError as error:
            raise PluginError(f"{self.folder} cannot be listed: {error.strerror}") from None
        for name in [name for name in sys.modules if name.startswith(f"{self.package}.")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return [file for file in files if not file.name.startswith("_")]

    def load(self, file: Path) -> ModuleType:
        """Load one of the folder's files, unless another file has imported it already, and return the module.

        Raises:
            PluginError: it cannot be loaded; the message names file and line.
        """
        name = f"{self.package}.{file.stem.replace('.', '_')}"
        if name in sys.modules:
            return sys.modules[name]
        if file.exists() and not file.is_file():  # reading a pipe may never end
            raise PluginError(f"{file} is not a file")
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise PluginError(f"{file} cannot be loaded as a module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickle look it up
        try:
            spec.loader.exec_module(module)
        except KeyboardInterrupt:  # from the user
            raise
        except BaseException as error:  # SystemExit, too: a script may be in the folder by mistake
            sys.modules.pop(name, None)
            raise PluginError(f"{file} cannot be loaded: {self._failure(error)}") from error
        return module

    def _failure(self, error: BaseException) -> str:
        # The author does not know the package's generated name; relative imports write it as a dot.
        failure = import_failure(error, self.package).replace(f"{self.package}.", ".").replace(self.package, ".")
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (self.folder / f"{missing}.py").is_file():
            return f"{failure}; {missing}.py is in the same folder: write `from .{missing} import …`"
        return failure + install_hint(error, self.package)
