"""What all tests share."""

import signal

# A background job of a shell ignores interrupts, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
