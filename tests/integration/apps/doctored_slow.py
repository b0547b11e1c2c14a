"""Starts something beside itself while it is imported, and then does not come back."""

import os
import subprocess
import sys
import time
from pathlib import Path

other = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
Path(os.environ["SITE_DIRECTORY"], "pids").write_text(f"{os.getpid()} {other.pid}")
if "SITE_HANGS" in os.environ:
    time.sleep(600)
app = None.__class__
