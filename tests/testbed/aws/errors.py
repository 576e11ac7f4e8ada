"""Errors as the service shapes them."""


class ServiceError(Exception):
    """An error of the JSON 1.1 protocol: `__type` and `message`, and an HTTP status."""

    def __init__(self, code, message, status=400, headers=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}


class Disconnect(Exception):
    """The connection is cut without an answer."""
