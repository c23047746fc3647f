"""A component of Spin's SDK for Python. The last segment of the path says what it does."""

from spin_sdk import http
from spin_sdk.http import Request, Response


class HttpHandler(http.Handler):
    async def handle_request(self, request: Request) -> Response:
        path = request.uri.partition("?")[0]
        match path.rpartition("/")[2]:
            case "facts":
                lines = [f"{request.method} {request.uri}"]
                lines += [f"{name}: {value}" for name, value in request.headers.items()]
                return Response(200, {"content-type": "text/plain"}, "\n".join(lines).encode())
            case "echo":
                return Response(200, {"content-type": "application/octet-stream"}, request.body)
            case "status":
                return Response(418, {"x-b": "1, 3", "x-a": "2"}, b"short and stout")
            case "trap":
                raise KeyError("no page of that name")
            case _:
                return Response(404, {}, b"nothing here")
