"""Beam's Python worker, which says on a pipe that it is connected to its taskmanager.

sdk_worker.py DESCRIPTOR [MARK]
"""

from __future__ import annotations

import os
import sys

from apache_beam.runners.worker import sdk_worker_main


class Harness(sdk_worker_main.SdkHarness):  # type: ignore[misc]
    """Beam's, which connects when it is made, and runs until it has no more work."""

    def run(self) -> None:
        """Say so, then work."""
        descriptor = int(sys.argv[1])
        os.write(descriptor, b"\n")
        os.close(descriptor)
        super().run()


if __name__ == "__main__":
    sdk_worker_main.SdkHarness = Harness
    sdk_worker_main.main(sys.argv)
