"""Who calls: the credentials a user configures, and the proof that goes with each request.

Credentials come from the settings only. The document says where an API key goes and which scheme an
operation wants; it is never asked where tokens come from. No credential is in any repr or error.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from ...errors import ConfigError, SourceError, ToolError
from .operations import Operation, SecurityScheme
from .request import CONNECTION_HEADERS, Proof, Request, header

if TYPE_CHECKING:
    from .network import Client

_TOKEN_BYTES = 256 * 1024  # of a token endpoint's answer
_EARLY = 30.0  # seconds before its expiry that a token is replaced, or a tenth of its life
_KEPT = 16  # tokens remembered for redaction


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token sent as `Authorization: Bearer …`."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in a header, a query parameter or a cookie.

    `place` and `name` are those of the document's apiKey scheme when they are left out.
    """

    key: str = field(repr=False)
    place: Literal["header", "query", "cookie"] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Basic:
    """A user name and a password, sent as `Authorization: Basic …`."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """OAuth 2.0 client credentials: a token is fetched, kept until shortly before it expires, and renewed.

    `send_as` says how the client shows id and secret to `token_url`: as HTTP basic, which RFC 6749
    asks every server to support, or as fields of the form.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    send_as: Literal["basic", "form"] = "basic"


Credential = Bearer | ApiKey | Basic | ClientCredentials
Auth = Credential | Mapping[str, Credential]
"""One credential, sent with every call; or credentials by the document's names of its schemes."""


class Keys:
    """The proof for each operation of one API.

    Args:
        auth: The configured credentials.
        headers: Static headers, sent with every request to the API itself.
        schemes: The security schemes the document declares.
        client: Fetches OAuth tokens.

    Raises:
        ConfigError: A credential names a scheme the document lacks, lacks a place the document does
            not give either, or cannot be sent in a header.
    """

    def __init__(
        self,
        auth: Auth | None,
        headers: Mapping[str, str],
        schemes: Mapping[str, SecurityScheme],
        client: Client,
    ) -> None:
        self._static = tuple(_checked(name, value) for name, value in headers.items())
        self._every: Credential | None = None
        self._named: dict[str, Credential] = {}
        if isinstance(auth, Mapping):
            self._named = {name: _settled(name, given, schemes) for name, given in auth.items()}
        elif auth is not None:
            self._every = _placed(auth, schemes)
        self._tokens = {
            credential: _Tokens(credential, client)
            for credential in (self._every, *self._named.values())
            if isinstance(credential, ClientCredentials)
        }

    async def proof(self, operation: Operation) -> Proof:
        """What to send with a call of `operation`.

        Raises:
            ToolError: The operation wants schemes that have no credentials.
            SourceError: An OAuth token could not be fetched; nothing was sent to the API.
        """
        headers, query, cookies = list(self._static), [], []
        for credential in self._chosen(operation):
            if isinstance(credential, ApiKey):
                if credential.place == "query":
                    query.append((credential.name, credential.key))
                elif credential.place == "cookie":
                    cookies.append(
                        (credential.name, quote(credential.key, safe="!#$&'()*+-./:<=>?@[]^_`{|}~"))
                    )
                else:
                    headers.append((credential.name, credential.key))
            else:
                headers.append(("Authorization", await self._authorization(credential)))
        last = {name.lower(): header(name, value) for name, value in headers}
        return Proof(tuple(last.values()), tuple(query), tuple(cookies))

    def renew(self, proof: Proof) -> bool:
        """Forget the OAuth tokens of a proof that was turned down. False when it had none."""
        sent = {value for _, value in proof.headers}
        forgotten = [tokens.forget(sent) for tokens in self._tokens.values()]
        return any(forgotten)

    def secrets(self) -> list[str]:
        """The OAuth tokens fetched so far."""
        return [token for tokens in self._tokens.values() for token in tokens.seen]

    def _chosen(self, operation: Operation) -> tuple[Credential, ...]:
        if self._every is not None:
            return (self._every,)
        # Proof is sent where there is one, also when an operation works without.
        for alternative in sorted(operation.security, key=bool, reverse=True):
            if all(name in self._named for name in alternative):
                return tuple(self._named[name] for name in alternative)
        if not operation.security or not self._named:
            return ()  # with no credentials at all the API itself is asked; static headers may do
        wanted = " or ".join(" and ".join(map(repr, names)) for names in operation.security)
        raise ToolError(f"This operation needs credentials for {wanted}, and none are configured.")

    async def _authorization(self, credential: Bearer | Basic | ClientCredentials) -> str:
        if isinstance(credential, Bearer):
            return f"Bearer {credential.token}"
        if isinstance(credential, Basic):
            return _basic(credential.username, credential.password)
        return f"Bearer {await self._tokens[credential].token()}"


class _Tokens:
    """The current token of one client; callers that need a new one share one request for it."""

    def __init__(self, credential: ClientCredentials, client: Client) -> None:
        self._credential = credential
        self._client = client
        self._lock = asyncio.Lock()
        self._token = ""
        self._good_until = 0.0
        self.seen: deque[str] = deque(maxlen=_KEPT)

    async def token(self) -> str:
        async with self._lock:
            if not self._token or time.monotonic() >= self._good_until:
                self._token, life = await self._fetch()
                self._good_until = time.monotonic() + life - min(_EARLY, life / 10)
                self.seen.append(self._token)
            return self._token

    def forget(self, sent: Iterable[str]) -> bool:
        """Forget the token if it was among those sent. Whether any of ours was."""
        ours = {f"Bearer {token}" for token in self.seen}.intersection(sent)
        if f"Bearer {self._token}" in ours:
            self._token = ""
        return bool(ours)

    async def _fetch(self) -> tuple[str, float]:
        from .retry import with_retries

        credential = self._credential
        request = _token_request(credential)
        answer = await with_retries(
            lambda: self._client.send(request, _TOKEN_BYTES), repeatable=True, retries=2, patience=None
        )
        try:
            parsed = json.loads(answer.body)
            parsed = parsed if isinstance(parsed, dict) else {}
        except (ValueError, RecursionError):
            parsed = {}
        token = parsed.get("access_token")
        token = token.strip() if isinstance(token, str) else ""
        if answer.status != 200 or not token:
            said = str(parsed.get("error") or answer.reason)[:100]
            host = urlsplit(credential.token_url).hostname
            raise SourceError(
                f"{host} gave no OAuth token ({answer.status} {said}); check client_id, client_secret and "
                "scopes. Nothing was sent to the API."
            )
        if (
            not token.isascii()
            or not token.isprintable()
            or str(parsed.get("token_type", "bearer")).lower() != "bearer"
        ):
            raise SourceError("The OAuth token is not a bearer token; nothing was sent to the API.")
        return token, _life(parsed.get("expires_in"))


def known_secrets(auth: Auth | None, headers: Mapping[str, str]) -> list[str]:
    """Every configured string that must not be shown, in each form in which it is sent."""
    found = [*headers.values(), *(value.partition(" ")[2] for value in headers.values())]
    for credential in auth.values() if isinstance(auth, Mapping) else [auth]:
        if isinstance(credential, Bearer):
            found.append(credential.token)
        elif isinstance(credential, ApiKey):
            found += [credential.key, quote(credential.key, safe=""), quote_plus(credential.key)]
        elif isinstance(credential, Basic):
            found += [credential.password, _basic(credential.username, credential.password)[6:]]
        elif isinstance(credential, ClientCredentials):
            secret = credential.client_secret
            found += [secret, quote_plus(secret), _client_basic(credential)[6:]]
    # HTTP drops blanks around a header's value, so what comes back in an error has none.
    return list(dict.fromkeys(plain for secret in found if (plain := secret.strip())))


def _checked(name: str, value: str) -> tuple[str, str]:
    if name.lower() in CONNECTION_HEADERS:
        raise ConfigError(f"The header {name!r} is set by HTTP itself and cannot be configured.")
    try:
        return header(name, value)
    except ToolError:
        raise ConfigError(f"{name[:60]!r} and its value cannot be sent as a header.") from None


def _settled(name: str, credential: Credential, schemes: Mapping[str, SecurityScheme]) -> Credential:
    scheme = schemes.get(name)
    if scheme is None:
        known = ", ".join(map(repr, schemes)) or "none"
        raise ConfigError(f"auth names the security scheme {name!r}; the document declares {known}.")
    return _placed(credential, {name: scheme})


def _placed(credential: Credential, schemes: Mapping[str, SecurityScheme]) -> Credential:
    """A credential that knows where it goes, and can go there."""
    if isinstance(credential, ClientCredentials):
        parts = urlsplit(credential.token_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ConfigError("auth has a token_url that is not a plain http or https URL.")
        return credential
    if isinstance(credential, Bearer):
        _checked("Authorization", credential.token)
        return _given(credential, credential.token)
    if isinstance(credential, Basic):
        return _given(credential, credential.username + credential.password)
    _given(credential, credential.key)
    place, name = credential.place, credential.name
    if place is None or not name:
        keys = [scheme for scheme in schemes.values() if scheme.type == "apiKey"]
        keys = [scheme for scheme in keys if place in (None, scheme.place) and name in ("", scheme.name)]
        if len(keys) != 1:
            raise ConfigError(
                f"The document has {len(keys)} API key schemes that fit; give the API key its place "
                "('header', 'query' or 'cookie') and name, or name the scheme."
            )
        place, name = keys[0].place, keys[0].name
    if place != "query":
        _checked(name, credential.key)
    return ApiKey(credential.key, place, name)


def _given(credential: Credential, value: str) -> Credential:
    if not value:
        raise ConfigError("auth has an empty credential; is its environment variable set?")
    return credential


def _token_request(credential: ClientCredentials) -> Request:
    form = {"grant_type": "client_credentials"}
    if credential.scopes:
        form["scope"] = " ".join(credential.scopes)
    proof: tuple[tuple[str, str], ...] = ()
    if credential.send_as == "form":
        form |= {"client_id": credential.client_id, "client_secret": credential.client_secret}
    else:
        proof = (("Authorization", _client_basic(credential)),)
    headers = (
        ("Accept", "application/json"),
        ("User-Agent", "oneturn"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    )
    return Request("POST", credential.token_url, headers, proof, urlencode(form).encode())


def _client_basic(credential: ClientCredentials) -> str:
    """HTTP basic for a client, whose parts RFC 6749 wants form-encoded first."""
    return _basic(quote_plus(credential.client_id), quote_plus(credential.client_secret))


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _life(expires_in: Any) -> float:
    """Seconds a token lives; an hour when the server does not say."""
    try:
        return min(max(float(expires_in), 0.0), 86_400.0)
    except (TypeError, ValueError, OverflowError):
        return 3_600.0
