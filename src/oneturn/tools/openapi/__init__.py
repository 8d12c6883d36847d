"""HTTP APIs described by OpenAPI documents, as sources of tools."""

from .auth import ApiKey, Auth, Basic, Bearer, ClientCredentials, Credential
from .source import OpenApi, OpenApiSource

__all__ = [
    "ApiKey",
    "Auth",
    "Basic",
    "Bearer",
    "ClientCredentials",
    "Credential",
    "OpenApi",
    "OpenApiSource",
]
