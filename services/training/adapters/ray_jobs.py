"""Ray's Jobs API, by its REST interface: https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html

Ray's own client would tie this service to the cluster's release of Ray and of Python, and is 380 MB.
"""

from __future__ import annotations

import http
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis.errors import Unavailable

# Seconds for an answer of the head, which has it in memory.
PATIENCE = 10.0
OWNER = "mlapi.job_id"
GOING = frozenset(("PENDING", "RUNNING"))


@dataclass(frozen=True)
class RayJob:
    """What Ray knows of one. owner: whose it is, empty for what we did not submit.

    code: the exit status of its command, −n for signal n, None without one. message: what became of it; the
    end of its log when its command failed. end: seconds since 1970.
    """

    name: str
    owner: str
    status: str
    code: int | None = None
    message: str = ""
    end: float | None = None

    @property
    def goes_on(self) -> bool:
        """Whether it waits for a machine, or runs there."""
        return self.status in GOING


class RayJobs:
    """The jobs of one cluster. url: of its dashboard. token: what the cluster asks for, empty if nothing.

    Raises Unavailable when the cluster does not answer, or does not let us in.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._url = f"{url.rstrip('/')}/api/jobs/"
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def submit(
        self, name: str, owner: str, command: str, environment: Mapping[str, str], *, cpus: int, gpus: int
    ) -> None:
        """Starts a shell command on whichever machine has as many free; one name is taken once."""
        request = {
            "submission_id": name,
            "entrypoint": command,
            "entrypoint_num_cpus": cpus,
            "entrypoint_num_gpus": gpus,
            "metadata": {OWNER: owner},
            "runtime_env": {"env_vars": dict(environment)},
        }
        try:
            self._call("POST", "", request)
        except Unavailable:
            # Taken already, by an earlier try of ours whose answer was lost: Ray says that as a failure.
            if self.get(name) is None:
                raise

    def get(self, name: str) -> RayJob | None:
        """The job; None when it is not known."""
        found = self._call("GET", name)
        return None if found is None else _job(found)

    def all(self) -> list[RayJob]:
        """Every job that the cluster remembers."""
        return [_job(one) for one in self._call("GET", "") or [] if one.get("submission_id")]

    def stop(self, name: str) -> None:
        """Ends it: SIGTERM, and SIGKILL after the seconds of its RAY_JOB_STOP_WAIT_TIME_S."""
        self._call("POST", f"{name}/stop")

    def forget(self, name: str) -> None:
        """Deletes what is kept of one that has ended; no effect on others."""
        self._call("DELETE", name)

    def _call(self, method: str, path: str, body: object = None) -> Any:
        """The answer; None for 404."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return _refused(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable("SERVICE_UNAVAILABLE", f"Ray does not answer: {_brief(error)}.") from None


def _refused(error: urllib.error.HTTPError) -> None:
    """None for what is not there; raises for the rest."""
    with error:
        text = error.read().decode(errors="replace").strip()
    if error.code == http.HTTPStatus.NOT_FOUND:
        return
    last = text.splitlines()[-1] if text else ""
    if error.code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        message = f"Ray does not let this service in ({error.code}); see RAY_AUTH_TOKEN."
        raise Unavailable("SERVICE_UNAVAILABLE", message)
    raise Unavailable("SERVICE_UNAVAILABLE", f"Ray answered {error.code}: {last[:200]}")


def _brief(error: Exception) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__


def _job(found: Mapping[str, Any]) -> RayJob:
    end = found.get("end_time")
    return RayJob(
        found["submission_id"],
        (found.get("metadata") or {}).get(OWNER, ""),
        found["status"],
        found.get("driver_exit_code"),
        found.get("message") or "",
        None if end is None else end / 1000,
    )
