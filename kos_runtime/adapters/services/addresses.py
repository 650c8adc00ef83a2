"""Which addresses a service may lie at.

A name is resolved once and connected to by the address that was looked at, so an answer of the name server that changes
in between (rebinding) leads nowhere. All addresses of a name must be allowed: one that is not says that somebody tries.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Where clouds tell a machine its own credentials. Never reached, whatever a configuration allows.
METADATA: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32")
)  # fmt: skip
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.ip_network("64:ff9b:1::/48")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")


class AddressRefused(Exception):
    """A service's name leads to where services may not be. Nothing was sent."""

    def __init__(self, host: str, address: str, why: str) -> None:
        super().__init__(host, address, why)
        self.host, self.address, self.why = host, address, why

    def __str__(self) -> str:
        at = "" if self.host == self.address else f" is at {self.address}, which"
        return f"{self.host}{at} {self.why}"


def check_address(host: str, text: str, allowed: Sequence[str], *, encrypted: bool) -> None:
    """Refuse an address that is not of the public internet, unless it lies in an allowed network.

    Raises:
        AddressRefused: It is refused; or it is public, and what is sent there would not be encrypted.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    ways = [address, *_inside(address)]
    for each in ways:
        if any(each in network for network in METADATA):
            raise AddressRefused(host, text, "is a metadata or link-local address, which is never reached")
    networks = [ipaddress.ip_network(network) for network in allowed]
    if any(each in network for each in ways for network in networks):
        return
    for each in ways:
        if not each.is_global or each.is_multicast or each.is_reserved or each.is_unspecified:
            hint = f"; if that is meant, write allow_private: [{each}/{each.max_prefixlen}]"
            raise AddressRefused(host, text, f"is no public address ({_word(each)}){hint}")
    if not encrypted:
        raise AddressRefused(host, text, "is public, and http:// is not encrypted; use https://")


def _inside(address: Address) -> list[Address]:
    """Return the IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address] = [each for each in (address.ipv4_mapped, address.sixtofour) if each is not None]
    if address.teredo is not None:
        found += address.teredo
    if address in _NAT64 or address in _NAT64_LOCAL or (address in _COMPATIBLE and int(address) > 1):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _word(address: Address) -> str:
    if address.is_loopback:
        return "loopback"
    if address.is_multicast:
        return "multicast"
    return "private" if address.is_private else "reserved"
