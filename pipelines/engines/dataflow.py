"""Google Cloud Dataflow, also where a Flex Template has it only write a job down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from earmark.pipelines.engines.remote import RemoteEngine
from earmark.pipelines.errors import UsageError
from earmark.transforms.storage import local_path, shown


class DataflowEngine(RemoteEngine):
    """Dataflow, whose workers are machines of their own."""

    reads_pubsub = True

    def check(self, named: Mapping[str, Iterable[str]]) -> None:
        """Check that nothing of it lies on this machine."""
        for name, uris in named.items():
            for uri in uris:
                if local_path(uri) is not None:
                    raise UsageError(
                        f"--{name} {shown(uri)}: Dataflow's workers cannot see it; name a gs:// URI"
                    )
