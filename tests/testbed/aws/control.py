"""What tests tell the emulator, apart from the service: POST /_control/VERB with JSON."""

from faults import Fault


def account_of(service, order):
    return service.accounts[order["accessKey"]]


def account(service, order):
    """A new account with everything of its own."""
    made = service.new_account(order.get("partition", "aws"))
    change(service, order | {"accessKey": made.access_key})
    return {"accessKey": made.access_key, "secretKey": made.secret_key, "number": made.number}


def change(service, order):
    """How an account is from now on."""
    found = account_of(service, order)
    found.issue_delay = order.get("issueDelay", found.issue_delay)
    found.create_delay = order.get("createDelay", found.create_delay)
    found.window = order.get("idempotencyWindow", found.window)
    found.expired = order.get("expired", found.expired)
    found.policy = order.get("policy", found.policy)
    found.quotas |= order.get("quotas", {})
    # A bucket that does not refill is empty after a known number of calls, however slow they are.
    found.refill = order.get("refill", found.refill)
    return {}


def fault(service, order):
    """One more fault for an account."""
    account_of(service, order).faults.append(Fault(order))
    return {}


def heal(service, order):
    """No faults any more."""
    found = account_of(service, order)
    found.faults, found.expired = [], False
    return {}


def share(service, order):
    """Shares a CA with another account, as AWS RAM does with these managed permissions."""
    with_whom = account_of(service, order).number
    service.authorities[order["authority"]].shared_with[with_whom] = order["grants"]
    return {}


def state(service, order):
    """What an account holds and what was asked of it."""
    found = account_of(service, order)
    return {
        "issued": found.issued(),
        "calls": found.calls,
        "authorities": [
            authority.describe() | {"Tags": authority.tags, "Issued": len(authority.issued)}
            for authority in found.authorities.values()
        ],
    }


VERBS = {"account": account, "change": change, "fault": fault, "heal": heal, "share": share, "state": state}
