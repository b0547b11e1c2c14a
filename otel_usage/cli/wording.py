"""How numbers of things are told to people."""


def counted(count: int, noun: str) -> str:
    """The number and the noun, with an "s" unless it is one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
