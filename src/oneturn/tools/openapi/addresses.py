"""Which addresses requests may go to: the public internet, and what the settings add to it.

The judgement is made on an address, never on a name, because a name can mean another address by
the time it is used. Addresses that carry an IPv4 address inside (mapped, 6to4, NAT64) are judged by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from ...errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GLOBAL_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"))
)
# Not reachable from outside either, and older versions of Python do not say so.
_SPECIAL = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20"))


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be connected to besides public addresses.

    `hosts` are names whose private and loopback addresses are allowed; `networks` are addresses
    and networks that are allowed whatever they are.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, allowed: Iterable[str]) -> Reach:
        """What a setting such as `("127.0.0.1", "10.0.0.0/8", "api.internal")` allows.

        Raises:
            ConfigError: An entry is neither a host name, an address nor a network.
        """
        hosts: set[str] = set()
        networks: list[Network] = []
        for entry in allowed:
            text = entry.strip().removeprefix("[").removesuffix("]")
            try:
                networks.append(ip_network(text))
            except ValueError:
                if not text or set(text) & set("/:@?#* ") or text.replace(".", "").isdecimal():
                    raise ConfigError(
                        f"allow_private has {entry!r}, which is neither a host name nor an address nor a "
                        "network; write for example '127.0.0.1', '10.0.0.0/8' or 'api.internal'."
                    ) from None
                hosts.add(_plain(text))
        return cls(frozenset(hosts), tuple(networks))

    def objection(self, host: str, address: str) -> str:
        """What kind of address this is when it may not be used; empty when it may."""
        where = _unwrapped(ip_address(address))
        kind = _kind(where)
        if not kind or any(where in network for network in self.networks):
            return ""
        if kind in ("private", "loopback") and _plain(host) in self.hosts:
            return ""
        return kind


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _kind(address: Address) -> str:
    """What keeps an address from being public, in a word; empty for a public one."""
    if address in _METADATA:
        return "metadata service"
    for word, holds in (
        ("unspecified", address.is_unspecified),
        ("loopback", address.is_loopback),
        ("link-local", address.is_link_local),
        ("multicast", address.is_multicast),
    ):
        if holds:
            return word
    if isinstance(address, IPv6Address):
        if address.is_site_local or address in IPv6Network("fc00::/7"):
            return "private"
        if address not in _GLOBAL_V6:
            return "reserved"
    if address.is_reserved or any(address in network for network in _SPECIAL):
        return "reserved"
    return "" if address.is_global else "private"
