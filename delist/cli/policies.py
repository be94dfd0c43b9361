"""``delist policy``: the policy in force, and what another one would do."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delist.cli.context import context_of
from delist.cli.output import document_of
from delist.cli.people import operator
from delist.cli.steps import take_in
from delist.model import CaseState

if TYPE_CHECKING:
    from delist.governance.explaining import Explanation
    from delist.governance.simulation import SimulationReport

policy_app = typer.Typer(
    help="The policy: what the machine may do, and what people must do.", no_args_is_help=True
)

PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="A policy file.")]
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(policy_app, name="policy")


@policy_app.command("show")
def show(ctx: typer.Context) -> None:
    """Show the policy in force: its text, and who applied it when."""
    context = context_of(ctx)
    with context.open() as delist:
        found = delist.governance.in_force()
    when = f"{found.applied_at:%Y-%m-%d %H:%M}Z" if found.applied_at else "nobody has applied any"
    head = f"# In force: version {found.version}, by {found.applied_by}, {when}"
    context.output.result(document_of(found), f"{head}\n{found.text}".rstrip())


@policy_app.command("history")
def history(ctx: typer.Context) -> None:
    """List the policies that were applied, the newest first."""
    context = context_of(ctx)
    with context.open() as delist:
        for entry in delist.governance.history():
            text = (
                f"{entry.applied_at:%Y-%m-%d %H:%M}Z  version {entry.version:<12}  "
                f"{entry.applied_by}: {entry.reason}"
            )
            context.output.result(document_of(entry), text)


@policy_app.command("explain")
def explain(
    ctx: typer.Context,
    case_id: Annotated[str, typer.Argument(metavar="CASE")],
    actor: Annotated[
        str | None, typer.Option(help="Who looks, for the audit log; default: the account.")
    ] = None,
) -> None:
    """Show why a case stands where it stands, by the policy in force and what is true now."""
    context = context_of(ctx)
    with context.open() as delist:
        found = delist.governance.explain(case_id, actor=actor or operator())
    context.output.result(_explained(found), "\n".join(_explained_text(found)))


@policy_app.command("simulate")
def simulate(
    ctx: typer.Context,
    file: PolicyFile,
    limit: Annotated[
        int, typer.Option(min=0, help="Most cases that are named; 0 for all.")
    ] = _SHOWN,
) -> None:
    """Show what a policy would do to the stored cases, before it is put in force."""
    context = context_of(ctx)
    with context.open() as delist, context.output.progress("simulate") as advance:
        report = delist.governance.simulate(
            file, on_progress=lambda done, total: advance(done, total, f"{done} cases")
        )
    changes = sorted(report.changes.values(), key=lambda change: (change.after, change.case_id))
    for change in islice(changes, limit or None):
        document = document_of(change)
        text = f"{document['case_id']}  {_would(change.after)} ({change.reason})"
        context.output.result(document, text)
    unnamed = len(changes) - limit if limit else 0
    if unnamed > 0:
        context.output.error(f"{unnamed} more cases would change; --limit 0 names all")
    _show_sums(ctx, report)


@policy_app.command("apply")
def apply(
    ctx: typer.Context,
    file: PolicyFile,
    actor: Annotated[str, typer.Option(help="Who puts it in force.")],
    reason: Annotated[str, typer.Option(help="Why, for the record; no addresses, no names.")],
) -> None:
    """Put a policy in force; every case is looked at again."""
    context = context_of(ctx)
    with context.open() as delist:
        enacted = delist.governance.apply(file, actor=actor, reason=reason)
        context.output.result(document_of(enacted) | {"intake": take_in(context, delist)})


def _would(state: CaseState) -> str:
    return {
        CaseState.SUPPRESSED: "would be suppressed",
        CaseState.QUARANTINED: "would be held",
        CaseState.OPEN: "would wait for a person",
    }.get(state, f"would be {state.value}")


def _show_sums(ctx: typer.Context, report: "SimulationReport") -> None:
    moves = [
        {"before": before, "after": after, "cases": number}
        for (before, after), number in sorted(report.moves.items())
        if number
    ]
    changed = report.changes.values()
    suppressed, held = CaseState.SUPPRESSED, CaseState.QUARANTINED
    reasons = sorted(report.reasons.items())
    document = {
        "version": report.version,
        "cases": report.cases,
        "changed": len(report.changes),
        "suppressed": sum(change.after is suppressed for change in changed),
        "lifted": sum(change.before is suppressed for change in changed),
        "held": sum(change.after is held for change in changed),
        "reasons": dict(reasons),
        "stopped_signals": len(report.stopped),
        "moves": moves,
        "complete": report.complete,
    }
    lines = [
        f"version {report.version}: {document['changed']} of {report.cases} cases would change",
        *(f"  {move['before']} -> {move['after']}: {move['cases']}" for move in moves),
        *(f"  because of {name}: {number}" for name, number in reasons),
    ]
    if report.stopped:
        lines.append(f"  signals that brakes would stop: {len(report.stopped)}")
    context_of(ctx).output.result(document, "\n".join(lines))


def _explained(found: "Explanation") -> dict[str, Any]:
    last = found.last
    return {
        "id": found.case.id,
        "state": found.case.state,
        "state_now": found.now.state,
        "policy_version": found.policy_version,
        "action": found.action,
        "reason": found.proposal.reason if found.proposal else None,
        "checks": [document_of(check) for check in found.checks],
        "verdict": found.now.verdict,
        "decided_at": found.now.decided_at,
        "pending": found.now.pending,
        "pending_by": found.now.pending_by,
        "disputed": found.now.disputed,
        "people_needed": found.people_needed,
        "rulings": [document_of(r, "case_id", "content_sha256", "checks") for r in found.rulings],
        "brakes": [document_of(brake, "id") for brake in found.brakes],
        "group": {
            "cases": found.group_size,
            "verdicts": {verdict.value: n for verdict, n in found.group_verdicts.items()},
        },
        "caps": {
            scope: {"today": today, "most": most} for scope, (today, most) in found.budget.items()
        },
        "last_decision": None
        if last is None
        else document_of(last, "case_id", "content_sha256", "checks")
        | {"checks": found.last_checks},
    }


def _explained_text(found: "Explanation") -> list[str]:
    case, now, last = found.case, found.now, found.last
    proposal = found.proposal
    proposed = f"{proposal.action.value}: {proposal.reason}" if proposal else "nothing matches"
    lines = [
        f"case {case.id} is {case.state.value}; looked at now it would be {now.state.value}",
        f"policy {found.policy_version} proposes {proposed}",
        *(f"  {check.says.value:<7}  {check.name}: {check.text}" for check in found.checks),
        f"people: {now.verdict or 'nobody has decided'}; {found.people_needed} needed",
    ]
    if now.pending:
        lines.append(f"  {now.pending_by} says {now.pending.value}, a second person has to agree")
    if now.disputed:
        lines.append("  two people disagree, a third has to decide")
    lines += [
        f"brake on {brake.kind.value}: {brake.code} ({brake.detail}), by {brake.set_by}"
        for brake in found.brakes
    ]
    verdicts = ", ".join(f"{n} {verdict.value}" for verdict, n in found.group_verdicts.items())
    lines.append(
        f"near-duplicates: {found.group_size} cases{f'; others: {verdicts}' if verdicts else ''}"
    )
    lines += [f"cap {scope}: {today} of {most}" for scope, (today, most) in found.budget.items()]
    if last is not None:
        lines.append(
            f"last decided {last.decided_at:%Y-%m-%d %H:%M}Z under version "
            f"{last.policy_version}: {last.action.value}, {last.reason}"
        )
        lines += [
            f"  {check['says']:<7}  {check['name']}: {check['text']}" for check in found.last_checks
        ]
    return lines
