"""By which way an endpoint is reached: directly, or through a proxy that the environment names. Pure; nothing is asked.

The HTTP library would read the environment itself, and send a question for this machine to the cluster's proxy, or end
in a traceback for a proxy that it cannot speak to. So the way is chosen here, once, for runs, gradings and the doctor.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple

from judges.gateway.redaction import keep_secret
from judges.verdict import JudgeConfigError

_SOCKS = ("socks5", "socks5h")


class Proxy(NamedTuple):
    """A proxy of the environment: the variable that names it, and its address as the HTTP library takes it."""

    variable: str
    url: str

    @property
    def address(self) -> str:
        """Variable and address, without user name and password."""
        return f"{self.variable}={_without_user(self.url)}"


def proxy_for(base_url: str, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy through which `base_url` is asked; None = directly, as every address of this machine is.

    `environment`: variable -> value; the lower-case names count first, as for curl. Raises JudgeConfigError for a proxy
    that cannot work.
    """
    try:
        address = urllib.parse.urlsplit(base_url)
        host, port = address.hostname or "", address.port
    except ValueError:  # not an address at all: asking it says so
        return None
    if is_loopback(host) or _is_exempt(host, port, environment):
        return None
    for name in (f"{address.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if value := environment.get(variable, "").strip():
                proxy = Proxy(variable, value if "://" in value else f"http://{value}")
                if fault := _fault(proxy):
                    raise JudgeConfigError(
                        f"judge.base_url={base_url} would be asked through {proxy.address} of the environment, {fault}."
                        f" Unset {variable}, correct it, or add {host} to NO_PROXY."
                    )
                return proxy
    return None


def is_loopback(host: str) -> bool:
    """True for a host that is this machine: localhost and the loopback and unspecified addresses, however written."""
    name = host.casefold().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    plain = getattr(address, "ipv4_mapped", None) or address
    return bool(plain.is_loopback or plain.is_unspecified)


def _is_exempt(host: str, port: int | None, environment: Mapping[str, str]) -> bool:
    """Whether NO_PROXY names the host: by name, by the end of its name, as HOST:PORT, by network, or with "*"."""
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if urllib.request.proxy_bypass_environment(host if port is None else f"{host}:{port}", {"no": exempt}):  # type: ignore[attr-defined]
        return True
    return any(_is_within(host, entry.strip()) for entry in exempt.split(",") if "/" in entry)


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _fault(proxy: Proxy) -> str:
    """Return why this proxy cannot work, as the end of a sentence; "" = it may."""
    try:
        address = urllib.parse.urlsplit(proxy.url)
        host, _ = address.hostname, address.port
    except ValueError as error:
        return f"which is no address ({error})"
    if address.password:
        keep_secret(urllib.parse.unquote(address.password))
        keep_secret(address.password)
    if not host:
        return "which names no host"
    if address.scheme in _SOCKS:
        known = importlib.util.find_spec("socksio") is not None
        return "" if known else "and a SOCKS proxy needs the package socksio, which is not installed"
    if address.scheme not in ("http", "https"):
        return f"whose scheme is {address.scheme!r}, expected http, https or socks5"
    return ""


def _without_user(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
