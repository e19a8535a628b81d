"""Who somebody is: tokens, the keys that sign them, and the ways to say no.

`tokens` signs and reads (the only file that knows the library), `keys` keeps our keys, `provider` those
of an OpenID provider, `claims` is what a token says. Time is an argument throughout.
"""

from server.auth.claims import Token, issue, read, sign
from server.auth.credentials import Credentials
from server.auth.keys import Keys, keys_of
from server.auth.refusals import IdentityUnavailable, NotAllowed, TokenExpired, TokenRefused, Verify

__all__ = [
    "Credentials",
    "IdentityUnavailable",
    "Keys",
    "NotAllowed",
    "Token",
    "TokenExpired",
    "TokenRefused",
    "Verify",
    "issue",
    "keys_of",
    "read",
    "sign",
]
