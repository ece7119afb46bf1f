"""Access check of HTTP requests: who may ask, by which name, from which page."""

import hmac
import ipaddress
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from tfpipe.serving.errors import RequestError
from tfpipe.serving.http.errors import error_response

PUBLIC_PATHS = (  # that need no token
    "/",
    "/healthz",
    "/docs",
    "/openapi.json",
    "/v2/health/live",
    "/v2/health/ready",
)


def headers_of(scope: Scope) -> dict[str, str]:
    """Returns the headers of a request by names in lower case; of equal names the first."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in reversed(scope["headers"])
    }


class AccessCheck:
    """ASGI application that refuses requests before another sees them.

    Without a token whoever reaches the server may ask it, and so may each page that a browser here
    has open: by a name of its own that resolves to this machine (DNS rebinding), or by sending a
    form. So without a token a request must call the server by an address, `localhost` or a name
    that is allowed; and no request may come from a page of another origin.
    """

    def __init__(self, app: ASGIApp, *, token: str, hosts: Iterable[str]):
        """Wraps an application.

        Args:
          app: answers requests that are not refused.
          token: bearer token that requests must have; "" for none.
          hosts: names of the server, besides localhost and addresses.
        """
        self._app, self._hosts = app, {"localhost", *(host.lower() for host in hosts)}
        self._expected = f"Bearer {token}".encode() if token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or has the application answer it."""
        try:
            self._check(scope)
        except RequestError as error:
            await error_response(error, closes=True)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = headers_of(scope)
        n_hosts = sum(name == b"host" for name, _ in scope["headers"])
        if n_hosts > 1 or (not n_hosts and scope["http_version"] != "1.0"):
            raise RequestError(400, f"The request has {n_hosts} Host headers. Send one.")
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise RequestError(400, "The Transfer-Encoding must be chunked.")
        authorization = headers.get("authorization", "").encode()
        is_public = scope["path"] in PUBLIC_PATHS
        if self._expected and not (is_public or hmac.compare_digest(authorization, self._expected)):
            raise RequestError(401, "The token is missing or wrong: Authorization: Bearer TOKEN.")
        host = headers.get("host", "")
        if not self._expected and not self._is_own(host):
            raise RequestError(
                403,
                "The server does not answer to the name in Host. Call it by its address, allow the "
                "name with --allow-host, or set a token.",
            )
        if scope["method"] in ("GET", "HEAD"):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and origin.partition("://")[2] != host:
            raise RequestError(403, "A page of another origin has sent this.")
        if origin is None and site not in ("same-origin", "none"):
            raise RequestError(403, "A page of another origin has sent this.")

    def _is_own(self, host: str) -> bool:
        """Whether Host has a name of the server, or an address, which no page can bring about."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if name.lower() in self._hosts or not host:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True
