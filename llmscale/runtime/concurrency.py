"""How many calls each endpoint may have in flight, within the open files of this process.

Without this, the calls that find no file for their socket fail and are tried again, for minutes.
"""

import logging
from collections.abc import Iterable

from llmscale.config import EndpointConfig
from llmscale.providers import Task, spec_of
from llmscale.runtime.models import capacity_of
from llmscale.runtime.open_files import connections_for

log = logging.getLogger(__name__)


def capacities(
    concurrency: int | None, endpoints: Iterable[EndpointConfig], task: Task
) -> dict[EndpointConfig, int]:
    """Return the calls in flight of each endpoint, fewer for all where open files are scarce."""
    found = {endpoint: capacity_of(concurrency, endpoint, task) for endpoint in endpoints}
    remote = [e for e in found if spec_of(e.model).is_remote]
    wanted = sum(found[endpoint] for endpoint in remote)
    available = connections_for(wanted)
    if available.connections < wanted:
        for endpoint in remote:
            found[endpoint] = max(1, found[endpoint] * available.connections // wanted)
        log.warning(
            "of %d calls at once only %d are made, since this process may open only %d files; "
            "raise that with ulimit -n %d, or lower --concurrency",
            wanted,
            sum(found[endpoint] for endpoint in remote),
            available.max_files,
            available.max_files + wanted - available.connections,
        )
    return found
