"""Keys of the journal: one that signs checkpoints, and one for each run that is encrypted.

The signing key is Ed25519 and stays in a file of its owner's. A run's data key is random and kept in
the journal, wrapped with the operator's master key: whoever drops the wrapped key has deleted the run,
while its hash chain still verifies.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import ConfigError, JournalCorrupt

_NONCE = 12  # bytes; random, which AES-GCM allows for four billion messages of one key
_WRAPPING = b"oneturn run key 1"


class RunKey:
    """The data key of one run. `wrapped` is what the journal keeps of it."""

    def __init__(self, key: bytes, wrapped: bytes) -> None:
        self.wrapped = wrapped
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """Encrypt. `associated` is what it belongs to, and must be given again to read it."""
        return _seal(self._cipher, data, associated)

    def open(self, data: bytes, associated: bytes) -> bytes:
        """Decrypt. Raises JournalCorrupt when it was changed, moved or encrypted with another key."""
        return _open(self._cipher, data, associated, "An encrypted part of the journal cannot be read")


class Vault:
    """Makes and unwraps the data keys of runs.

    Args:
        master: The operator's key, 32 random bytes.

    Raises:
        ConfigError: It has another length.
    """

    def __init__(self, master: bytes) -> None:
        if len(master) != 32:
            raise ConfigError(
                f"The master key of the journal has {len(master)} bytes, not 32. "
                "Make one with `openssl rand -hex 32`."
            )
        self._cipher = AESGCM(master)

    @classmethod
    def from_text(cls, text: str) -> Vault:
        """From 64 hexadecimal digits, as an environment variable or a file has them."""
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text.strip()):
            raise ConfigError(
                "The master key of the journal is not 64 hexadecimal digits. "
                "Make one with `openssl rand -hex 32`."
            )
        return cls(bytes.fromhex(text.strip()))

    def new_key(self) -> RunKey:
        """A random data key for a new run."""
        key = AESGCM.generate_key(256)
        return RunKey(key, _seal(self._cipher, key, _WRAPPING))

    def unwrap(self, wrapped: bytes) -> RunKey:
        """The data key of a run. Raises JournalCorrupt when it was made with another master key."""
        refusal = "The key of an encrypted run does not fit the master key"
        return RunKey(_open(self._cipher, wrapped, _WRAPPING, refusal), wrapped)


class PublicKey:
    """What anybody needs to check signatures; `str` of it is one short word that `parse` reads."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    def __str__(self) -> str:
        return "ed25519:" + base64.b64encode(self._key.public_bytes_raw()).decode()

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Raises ConfigError when it is no public key."""
        kind, _, spelled = text.strip().partition(":")
        try:
            if kind != "ed25519":
                raise ValueError
            return cls(Ed25519PublicKey.from_public_bytes(base64.b64decode(spelled, validate=True)))
        except (ValueError, binascii.Error):
            raise ConfigError(
                "That is not a public key of a journal, which looks like ed25519:9Yx4… and ends in =."
            ) from None

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's for the message."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """Signs checkpoints. Kept in a file only its owner may read; see `at`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def at(cls, path: str | Path) -> SigningKey:
        """The key in a file, made there if there is none yet; several processes get the same one.

        Raises:
            ConfigError: The file is no such key, cannot be read or made, or others may read it.
        """
        path = Path(path)
        try:
            if not path.exists():
                _make(path)
            if path.stat().st_mode & 0o077:
                raise ConfigError(
                    f"Others may read the signing key {path}. If they may have, remove it for a new one; "
                    "otherwise `chmod 600` it."
                )
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise ConfigError(
                f"The signing key {path} cannot be read or made: {error.strerror}. "
                "Look at the permissions of its folder, or name another file."
            ) from error
        except (ValueError, TypeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{path} holds no signing key. Name another file.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path} holds a key of another kind; Ed25519 is needed. Name another file.")
        return cls(key)

    @property
    def public(self) -> PublicKey:
        """Its public half, to be kept where nobody who writes the journal can change it."""
        return PublicKey(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        return self._key.sign(message)


def _make(path: Path) -> None:
    """Put a new key in place at once and whole, unless another process was first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()


def _seal(cipher: AESGCM, data: bytes, associated: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + cipher.encrypt(nonce, data, associated)


def _open(cipher: AESGCM, data: bytes, associated: bytes, refusal: str) -> bytes:
    try:
        return cipher.decrypt(data[:_NONCE], data[_NONCE:], associated)
    except (InvalidTag, ValueError):
        raise JournalCorrupt(
            f"{refusal}: it was changed, or another master key was given. Look at the key first."
        ) from None
