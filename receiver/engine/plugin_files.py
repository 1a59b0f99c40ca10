"""Python files of one folder, loaded as a package of their own, so that they can share code.

`from ._helpers import slug` finds `_helpers.py` in the same folder. The folder is not put on `sys.path`: a file in it
called `json.py` shadows nothing, and two folders that each have a `_helpers.py` do not meet.
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
        folder: need not be there.
        kind: what the package's name begins with.
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
        """The folder's `*.py` files, in their order; those that begin with an underscore are no plugins.

        Modules loaded from the folder before are removed from `sys.modules`: their files may have changed.

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
        """The module in one of the folder's files; once, also where another file has imported it before.

        Raises:
            PluginError: it cannot be loaded; the message names file and line.
        """
        name = f"{self.package}.{file.stem.replace('.', '_')}"
        if name in sys.modules:
            return sys.modules[name]
        if file.exists() and not file.is_file():  # to read a pipe may take for ever
            raise PluginError(f"{file} is not a file")
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise PluginError(f"{file} cannot be loaded as a module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickles look their module up
        try:
            spec.loader.exec_module(module)
        except KeyboardInterrupt:  # somebody wants to end us
            raise
        except BaseException as error:  # a script that was dropped there by mistake ends with sys.exit
            sys.modules.pop(name, None)
            raise PluginError(f"{file} cannot be loaded: {self._failure(error)}") from error
        return module

    def _failure(self, error: BaseException) -> str:
        # The package's name is ours: in the folder's files it is a dot.
        failure = import_failure(error, self.package).replace(f"{self.package}.", ".").replace(self.package, ".")
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (self.folder / f"{missing}.py").is_file():
            return f"{failure}; {missing}.py is in the same folder: write `from .{missing} import …`"
        return failure + install_hint(error, self.package)
