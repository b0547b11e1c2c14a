"""What is kept of a secret instead of the secret."""

import hashlib
import hmac
import secrets

# Low for a password store; an example should answer quickly.
_SCRYPT_COST = 2**11


def new_token() -> str:
    return "dp_" + secrets.token_hex(20)


def hash_token(token: str) -> str:
    """A token is long and random, so one fast hash is enough, and it can be looked up."""
    return hashlib.sha256(token.encode()).hexdigest()


def hash_password(password: str) -> str:
    salt = secrets.token_hex(8)
    return f"{salt}${_scrypt(password, salt)}"


def verify_password(password: str, stored: str) -> bool:
    salt, _, expected = stored.partition("$")
    return hmac.compare_digest(_scrypt(password, salt), expected)


def _scrypt(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=salt.encode(), n=_SCRYPT_COST, r=8, p=1).hex()
