"""The TLS of a handler's client: the certificate that it presents, and the authorities that it trusts.

The files are checked when the receiver starts, with an error that names the key. Otherwise OpenSSL would report a wrong
file at the first connection, in a message that names none of them, or ask for a passphrase on the terminal.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from receiver.errors import ConfigError, ConfigProblem
from receiver.paths import setting_path

MAX_FILE_BYTES = 4_194_304
"""The well-known authorities together have a twentieth of it."""

T = TypeVar("T")


def client_tls(certificate: str | None, key: str | None, ca: str | None, base: Path) -> ssl.SSLContext:
    """The TLS settings of a client, from PEM files.

    Args:
        certificate: of the client, followed by intermediate ones; presented to servers that request one.
        key: its private key, without a passphrase; by default in the certificate's file.
        ca: the certificates of authorities, trusted instead of the well-known ones.
        base: the folder of relative paths.

    Raises:
        ConfigError: a file cannot be used; each problem is at `certificate`, `key` or `ca`.
    """
    context = httpx.create_ssl_context() if ca is None else _trusting(_path("ca", ca, base))
    if certificate is not None:
        key_name, key_text = ("certificate", certificate) if key is None else ("key", key)
        _present(context, _path("certificate", certificate, base), key_name, _path(key_name, key_text, base))
    return context


def _trusting(file: Path) -> ssl.SSLContext:
    _parsed("ca", file, x509.load_pem_x509_certificates, "has no certificate in PEM format")
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        _refuse("ca", f"{file} cannot be used: {_reason(error)}")


def _present(context: ssl.SSLContext, file: Path, key_name: str, key_file: Path) -> None:
    chain = _parsed("certificate", file, x509.load_pem_x509_certificates, "has no certificate in PEM format")
    try:
        private = _parsed(
            key_name, key_file, lambda pem: load_pem_private_key(pem, None), "has no private key in PEM format"
        )
    except TypeError:
        _refuse(key_name, f"{key_file} is encrypted with a passphrase, which nobody could enter; decrypt it")
    if chain[0].public_key() != private.public_key():
        _refuse(key_name, f"{key_file} is not the key of the first certificate in {file}")
    try:
        context.load_cert_chain(file, key_file)
    except (OSError, ssl.SSLError) as error:
        _refuse("certificate", f"{file} cannot be used: {_reason(error)}")


def _parsed(name: str, file: Path, parse: Callable[[bytes], T], otherwise: str) -> T:
    try:
        return parse(_read(name, file))
    except ValueError:
        _refuse(name, f"{file} {otherwise}")


def _read(name: str, file: Path) -> bytes:
    try:
        # Without blocking: a pipe must not block the start.
        with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as opened:
            content = opened.read(MAX_FILE_BYTES + 1) if stat.S_ISREG(os.fstat(opened.fileno()).st_mode) else None
    except FileNotFoundError:
        _refuse(name, f"{file} does not exist")
    except OSError as error:
        _refuse(name, f"{file} cannot be read: {error.strerror}")
    if content is None:
        _refuse(name, f"{file} is not a file")
    if len(content) > MAX_FILE_BYTES:
        _refuse(name, f"{file} has more than {MAX_FILE_BYTES} bytes")
    return content


def _path(name: str, text: str, base: Path) -> Path:
    try:
        return setting_path(text, base)
    except ValueError as error:
        _refuse(name, str(error))


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__


def _refuse(name: str, what: str) -> NoReturn:
    raise ConfigError([ConfigProblem(name, what)]) from None
