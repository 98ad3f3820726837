"""How many calls each endpoint may have in flight, within the open files of this process.

Without this, the calls that find no file for their socket fail and are tried again, for minutes.
"""

import logging
from collections.abc import Iterable

from llmscale.config import EndpointConfig
from llmscale.providers import Task, spec_of
from llmscale.runtime.models import capacity_of
from llmscale.runtime.open_files import room_for

log = logging.getLogger(__name__)


def capacities(
    concurrency: int | None, endpoints: Iterable[EndpointConfig], task: Task
) -> dict[EndpointConfig, int]:
    """Return the calls in flight of each endpoint, all of them less where there is no room."""
    found = {endpoint: capacity_of(concurrency, endpoint, task) for endpoint in endpoints}
    remote = [e for e in found if spec_of(e.model).is_remote]
    wanted = sum(found[endpoint] for endpoint in remote)
    room = room_for(wanted)
    if room.connections < wanted:
        for endpoint in remote:
            found[endpoint] = max(1, found[endpoint] * room.connections // wanted)
        log.warning(
            "of %d calls at once only %d are made, since this process may open only %d files; "
            "raise that with ulimit -n %d, or lower --concurrency",
            wanted,
            sum(found[endpoint] for endpoint in remote),
            room.max_files,
            room.max_files + wanted - room.connections,
        )
    return found
