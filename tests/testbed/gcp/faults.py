"""What a test makes go wrong, on purpose and a given number of times."""

from errors import ServiceError

FIELDS = {"method", "when", "effect", "status", "retryAfter", "seconds", "times"}
EFFECTS = {"cut", "error", "delay", "wrongCa", "truncate", "reverseChain", "noRoot", "raw"}


class Faults:
    def __init__(self):
        self.active = []

    def add(self, fault):
        unknown = set(fault) - FIELDS
        if unknown or fault["effect"] not in EFFECTS or fault.get("when", "before") not in ("before", "after"):
            raise ServiceError("INVALID_ARGUMENT", f"not a fault: {fault}")
        self.active.append({"when": "before", "method": "*", "times": 1_000_000} | fault)

    def clear(self):
        self.active = []

    def take(self, method, when, *effects):
        """The first fault that fits, used up by one."""
        for fault in self.active:
            fits = fault["method"] in ("*", method) and fault["when"] == when and fault["effect"] in effects
            if fits and fault["times"] > 0:
                fault["times"] -= 1
                return fault
        return None
