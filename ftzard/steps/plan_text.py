"""The estimate for a job as text."""

from ftzard.config import effects, listing, unusual
from ftzard.config.pipeline import JOBS
from ftzard.core.durations import duration_text
from ftzard.steps.plan import Plan, megabytes, room


def lines(plan: Plan) -> list[str]:
    """Return the plan as lines of text."""
    rows = ", ".join(f"{count:,} {side}" for side, count in plan.rows.items() if count)
    t, output = plan.tokens, [f"{plan.job}: {', '.join(JOBS[plan.job])}"]
    output.append(f"rows      {rows}; from {plan.source}")
    output.append(f"tokens    {t.real:,} in a pass, {t.padded:,} with padding ({t.padding:.1%}); "
                f"{t.cut:,} cut from {t.rows_cut:,} rows")
    if plan.config:
        output += [f"warning   {line}" for line in unusual.warnings(plan.config, JOBS[plan.job])]
        read = effects.keys_of(plan.job, plan.config.config.task.kind) - {
            line.partition("=")[0] for line in plan.not_used}
        for key, value, source in listing.not_default(plan.config, read):
            output.append(f"config    {f'{key}={value}':<44}  {source}")
        output.append("          every other value it reads is a default; 'ftzard config' shows "
                      "all")
    output += [f"not used  {line.replace(' is not used', '', 1)}" for line in plan.not_used]
    if plan.sizes is None or plan.memory is None:
        return [*output, *(f"assumed   {line}" for line in plan.assumptions)]
    quantised = f", {plan.sizes.quantised} layers quantised" if plan.sizes.quantised else ""
    output.append(f"base      {plan.base}: {plan.sizes.parameters:,} parameters{quantised}")
    if plan.training:
        one = plan.training
        rank = "" if one.method == "full" else f", rank {one.rank}"
        output.append(f"trains    {plan.sizes.trainable:,} parameters ({one.method}{rank})")
        output.append(f"steps     {one.steps:,} in {one.step}: {one.trials} × {one.epochs} epochs "
                      f"of {one.rows:,} rows, {one.batch_size} a step")
    parts = plan.memory.to_dict()
    total = parts.pop("total_mb")
    shares = ", ".join(f"{name.removesuffix('_mb')} {size:,.0f}" for name, size in parts.items()
                       if size >= 0.5)
    output.append(f"memory    {total:,.0f} MB at the peak: {shares}")
    output.append(f"          largest batch {plan.batch[0]} rows of {plan.batch[1]} tokens")
    free = f"{megabytes(room(plan.device)):,.0f} MB are free on {plan.device.name}"
    output.append(f"fits      {'yes' if plan.fits else 'NO'}: {free}")
    for change, size in plan.changes:
        output.append(f"          {change:<36} {megabytes(size):,.0f} MB"
                    + (", fits" if size <= room(plan.device) else ""))
    if plan.changes and plan.changes[-1][1] > room(plan.device):
        output.append("          nothing here makes it fit: take a smaller base or a larger device")
    output.append(f"time      about {duration_text(plan.seconds)} at {plan.rate:,.0f} tokens/s")
    output += plan.cluster.lines() if plan.cluster else []
    return [*output, *(f"assumed   {line}" for line in plan.assumptions)]
