"""The reasons for which a record, or a part of one, is not in the store. Names only."""

from typing import Final

JOURNAL_FULL: Final = "journal_full"
WRITE_ERROR: Final = "write_error"
ENCODE_ERROR: Final = "encode_error"
TORN_LINE: Final = "torn_line"
REJECTED: Final = "rejected"

ANONYMOUS_LEFT_OUT: Final = "anonymous_left_out"
TOKEN_UNIDENTIFIED: Final = "token_unidentified"  # noqa: S105 - a reason, no password
VALUE_TRUNCATED: Final = "value_truncated"
TEXT_REPLACED: Final = "text_replaced"
NUMBER_CLAMPED: Final = "number_clamped"
NOT_A_REQUEST: Final = "not_a_request"

# A whole record is missing, against anyone's wish.
LOST: Final = frozenset({JOURNAL_FULL, WRITE_ERROR, ENCODE_ERROR, TORN_LINE, REJECTED})

# What a process counts in the header of its segment, in header order. The commit adds torn and rejected lines.
REASONS: Final = (
    JOURNAL_FULL,
    WRITE_ERROR,
    ENCODE_ERROR,
    TORN_LINE,
    REJECTED,
    ANONYMOUS_LEFT_OUT,
    TOKEN_UNIDENTIFIED,
    VALUE_TRUNCATED,
    TEXT_REPLACED,
    NUMBER_CLAMPED,
    NOT_A_REQUEST,
)
