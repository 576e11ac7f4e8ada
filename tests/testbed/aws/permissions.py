"""IAM: whether a policy document allows a call, and what the sharing of a CA allows another account.

Of the policy language there is what policies for a private CA are written with: Effect, Action,
Resource, and the condition operators StringEquals, StringLike, ArnEquals, ArnLike with a plain key.
Anything else in a policy is an error, not a silent yes.
"""

import fnmatch

OPERATORS = {
    "StringEquals": lambda found, wanted: found == wanted,
    "StringLike": lambda found, wanted: fnmatch.fnmatchcase(found, wanted),
    "ArnEquals": lambda found, wanted: fnmatch.fnmatchcase(found, wanted),
    "ArnLike": lambda found, wanted: fnmatch.fnmatchcase(found, wanted),
}

# The AWS managed permissions of AWS RAM for a CA: what everybody gets, and a template each.
SHARED_ACTIONS = {
    "DescribeCertificateAuthority",
    "GetCertificate",
    "GetCertificateAuthorityCertificate",
    "ListPermissions",
    "ListTags",
}
SHARED_TEMPLATES = {
    "default": "EndEntityCertificate/V1",
    "client": "EndEntityClientAuthCertificate/V1",
    "server": "EndEntityServerAuthCertificate/V1",
    "subordinate": "SubordinateCACertificate_PathLen0/V1",
}


def as_list(value):
    return value if isinstance(value, list) else [value]


def allowed(policy, action, resource, context):
    """Whether a policy allows an action: some statement allows it and none denies it."""
    verdict = False
    for statement in as_list(policy["Statement"]):
        unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}
        if unknown or statement["Effect"] not in ("Allow", "Deny"):
            raise ValueError(f"policy: not understood: {unknown or statement['Effect']}")
        if not any(fnmatch.fnmatch(action.lower(), one.lower()) for one in as_list(statement["Action"])):
            continue
        if not any(fnmatch.fnmatchcase(resource, one) for one in as_list(statement["Resource"])):
            continue
        if not all(
            condition_holds(operator, key, values, context)
            for operator, pairs in statement.get("Condition", {}).items()
            for key, values in pairs.items()
        ):
            continue
        if statement["Effect"] == "Deny":
            return False
        verdict = True
    return verdict


def condition_holds(operator, key, values, context):
    if operator not in OPERATORS:
        raise ValueError(f"policy: not understood: condition operator {operator}")
    found = context.get(key)
    return found is not None and any(OPERATORS[operator](found, wanted) for wanted in as_list(values))


def shared_allows(grants, operation, template):
    """Whether a CA shared with these grants takes this call from another account."""
    if operation == "IssueCertificate":
        return any(SHARED_TEMPLATES.get(grant) == template for grant in grants)
    if operation == "RevokeCertificate":
        return "revoke" in grants
    return operation in SHARED_ACTIONS
