"""``delist jobs``: what `delist run` does when, how it went, and one job out of turn."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from delist.cli.context import Exit, context_of, leave
from delist.cli.output import document_of

if TYPE_CHECKING:
    from delist.build import Delist
    from delist.running import Service
    from delist.store.jobs import JobState

_POLL_S = 0.2


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(help="The periodic work of `delist run`.", no_args_is_help=True)
    commands.command("list")(list_jobs)
    commands.command("run")(run)
    app.add_typer(commands, name="jobs")


def list_jobs(ctx: typer.Context) -> None:
    """List all jobs: interval, last and next run, outcome. Frequent ones to the minute."""
    from delist.running import leads_somewhere
    from delist.running.work import Work
    from delist.store import jobs
    from delist.store.jobs import JobState

    context = context_of(ctx)
    with context.open() as delist:
        led = leads_somewhere(delist.database)
        with delist.database.read() as connection:
            states = jobs.every(connection)
        for job in Work(delist).jobs().values():
            state = states.get(job.id, JobState(id=job.id))
            document = {"interval_s": job.interval_s, "led": led} | document_of(state)
            if not led:  # nobody keeps what it says
                document |= {"next_run_at": None, "running_since": None}
            context.output.result(document, _text(state, job.interval_s, led=led))


def run(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(metavar="ID", help="The job, as `jobs list` calls it.")],
) -> None:
    """Run one job now: `delist run` does it if it is running, else this command. Waits."""
    from delist.running import Service

    context = context_of(ctx)
    with context.open() as delist:
        service = Service(delist)
        service.job(job)
        state = _run_here(delist, service, job) or _ask_for(delist, job)
        context.output.result(document_of(state), f"{state.id}  {state.outcome} {state.error}")
    leave(Exit.DONE if state.outcome == "done" else Exit.FAILED)


def _run_here(delist: "Delist", service: "Service", job: str) -> "JobState | None":
    """Run it in this process, which leads meanwhile; None where another leads."""
    from delist.running import Leader

    leader = Leader(delist.database, delist.settings.jobs)
    try:
        if not leader.take():
            return None
        delist.create()
        return service.run_job(job)
    finally:
        leader.release()


def _ask_for(delist: "Delist", job: str) -> "JobState":
    """Ask whoever leads, and wait until it is done."""
    from delist.errors import BusyError
    from delist.running import leads_somewhere
    from delist.store import jobs

    with delist.database.write() as connection:
        jobs.ask(connection, job, now=delist.clock())
    while True:
        time.sleep(_POLL_S)
        with delist.database.read() as connection:
            state = jobs.every(connection).get(job)
        if state is None:
            raise BusyError("`delist run` has no such job: its configuration is another one")
        if state.requested_at is None:
            return state
        if not leads_somewhere(delist.database):
            raise BusyError("`delist run` ended meanwhile; the next one runs the job")


def _text(state: "JobState", interval_s: float, *, led: bool) -> str:
    ended = "never" if state.ended_at is None else f"{state.ended_at:%Y-%m-%d %H:%M:%S}Z"
    words = [f"{state.id:<18} every {interval_s:g} s, last {ended} {state.outcome}".rstrip()]
    if state.failures:
        words.append(f"{state.error} {state.failures} times in a row")
    if led and state.running_since is not None:
        words.append(f"running since {state.running_since:%H:%M:%S}Z")
    if led and state.next_run_at is not None:
        words.append(f"next {state.next_run_at:%Y-%m-%d %H:%M:%S}Z")
    return ", ".join(words)
