"""What all tests share."""

import signal

# A background job of a shell ignores interrupts, one under nohup hang-ups, and so would every process that the tests
# start and then interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
