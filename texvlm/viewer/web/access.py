"""Who may look: a token where the network can reach the viewer, and no page of another site ever.

A browser lets any page open a WebSocket to any address, this machine's own included, and says in Origin
which page it was. A page may also give its own name the address 127.0.0.1; the name shows in Host.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Access:
    """What a request must show.

    Attributes:
        token: that its address must carry; None asks for none.
        hosts: names that it may have been sent to; empty for any.
    """

    token: str | None
    hosts: frozenset[str]

    def refusal(self, *, host: str | None, origin: str | None, token: str | None) -> str | None:
        """Why a request is refused, one line; None when it is not.

        Args:
            host: its header Host.
            origin: its header Origin, which browsers send with WebSockets and other programs do not.
            token: of its address.
        """
        if self.token is not None and not secrets.compare_digest((token or "").encode(), self.token.encode()):
            return "the token is missing or wrong; open the address that texvlm view printed"
        if self.hosts and _name(host) not in self.hosts:
            return f"host {host!r:.80} is not this viewer's; open the address that texvlm view printed"
        own = (host or "").lower()
        if origin is not None and origin.lower() not in (f"http://{own}", f"https://{own}"):
            return f"origin {origin!r:.80} is another site; only the viewer's own page may connect"
        return None


def access_for(host: str) -> Access:
    """What requests must show to a viewer that listens on a host: a new token, unless only this machine can ask."""
    if is_loopback(host):
        return Access(None, LOOPBACK_NAMES | {host.lower()})
    return Access(secrets.token_urlsafe(16), frozenset())


def embedding_refusal(site: str | None) -> str | None:
    """Why a picture is refused to a page of another site, one line; None when it is not.

    Args:
        site: header Sec-Fetch-Site: what browsers know of the asking page where they send no Origin, as for an img.
    """
    if site in (None, "none", "same-origin"):  # no browser, an address that was typed, the viewer's own page
        return None
    return f"a page that is {site:.20} asks; only the viewer's own page may show pictures"


def is_loopback(host: str) -> bool:
    """Only this machine reaches it; a name other than localhost may mean anything."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str | None) -> str:
    """A Host header without its port."""
    try:
        return urlsplit(f"//{host or ''}").hostname or ""
    except ValueError:
        return ""
