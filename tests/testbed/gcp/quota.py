"""Quotas: token buckets that start full and refill evenly."""

import time

from errors import ServiceError

# Calls a second, as documented; creating CAs is 5 a minute.
DOCUMENTED = {
    "certificates.create ENTERPRISE": 7.0,
    "certificates.create DEVOPS": 25.0,
    "certificates.create project": 100.0,
    "certificateAuthorities.create": 5 / 60,
    "certificates.list": 10.0,
    "mutations": 40.0,
    "requests": 400.0,
}
BURST = {"certificateAuthorities.create": 5}


class Quotas:
    def __init__(self, overrides):
        self.rates = DOCUMENTED | overrides
        self.buckets = {}

    def take(self, quota, subject=""):
        """Takes one from a bucket, of which each `subject` has one; an error if it is empty."""
        rate = self.rates[quota]
        size = BURST.get(quota, max(1.0, rate))
        size = max(size, rate)
        at = time.monotonic()
        left, since = self.buckets.get((quota, subject), (size, at))
        left = min(size, left + (at - since) * rate)
        if left < 1:
            self.buckets[quota, subject] = (left, at)
            raise ServiceError(
                "RESOURCE_EXHAUSTED",
                f"Quota exceeded for quota metric '{quota}' and limit '{rate:g} per second' of service "
                "'privateca.googleapis.com'.",
                retry_after=max(1, round((1 - left) / rate)),
            )
        self.buckets[quota, subject] = (left - 1, at)
