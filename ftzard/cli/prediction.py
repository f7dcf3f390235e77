"""Commands that use a registered model: predict, compare, export."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ftzard.cli.arguments import A_PATH, AsJson, InWorkspace
from ftzard.cli.printing import (
    complain,
    say,
    say_data,
    say_json,
    say_value,
    show_whole,
    telling,
)
from ftzard.errors import FtzardError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def predict(
    what: Annotated[list[str] | None, typer.Argument(
        metavar="[MODEL] [FILE|-|TEXT…]",
        help="MODEL: champion (the default), challenger, previous, base or NAME@VERSION. Then a "
             ".txt, .jsonl, .csv or .parquet file, '-' or nothing for what is piped in, or texts. "
             "With a file also compute=ray, to predict it on a cluster.")] = None,
    workspace: InWorkspace = None,
    kind: Annotated[str | None, typer.Option(
        "--format", help="txt, jsonl or csv; default: by the file's name or its first line."
    )] = None,
    column: Annotated[str | None, typer.Option(
        "--text", help="Column with the text; default: data.text_column.")] = None,
    encoding: Annotated[str | None, typer.Option(
        help="Encoding of the input; default: data.encoding.")] = None,
    delimiter: Annotated[str | None, typer.Option(
        help="What separates the cells of CSV, as ';'; default: data.delimiter.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Texts too as JSON.")] = False,
) -> None:
    """Predict texts, a file or a stream. A line of JSON for each of its lines, in order."""
    from ftzard import api
    from ftzard.registry import predict as predicting

    place, query = api.open_workspace(workspace), predicting.understood(what or [])
    if query.source is None:
        file_options = {"--format": kind, "--text": column, "--encoding": encoding,
                        "--delimiter": delimiter}
        for option in (name for name, value in file_options.items() if value is not None):
            raise FtzardError(f"{option} goes with a file or a pipe, and texts were given; leave "
                              "it out.")
        for row in place.predict(query.texts, query.model, **{} if as_json else {"say": complain}):
            if as_json:
                say_json(json.dumps(row, ensure_ascii=False))
            else:
                say_data(predicting.shown(row))
        return
    if query.source == predicting.STREAM and sys.stdin.isatty():
        print("texts, one per line; Ctrl-D ends them", file=sys.stderr)
    tally = predicting.predict_stream(place.paths, query, say_json, kind=kind, column=column,
                                      encoding=encoding, delimiter=delimiter)
    if tally.bad:
        numbers = ", ".join(map(str, tally.bad[:10])) + (", …" if len(tally.bad) > 10 else "")
        raise FtzardError(f"{len(tally.bad):,} of {tally.lines:,} lines could not be predicted; "
                          f"their errors are in the output: line {numbers}.")


@app.command()
def compare(
    first: Annotated[str, typer.Argument(
        help="champion, challenger, previous, base or NAME@VERSION.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    more: Annotated[list[str] | None, typer.Argument(
        help="More models, each compared with the first.")] = None,
    workspace: InWorkspace = None,
    file: Annotated[Path | None, typer.Option(
        help="A labelled file; default: the test rows of all batches.", **A_PATH)] = None,
    examples: Annotated[int, typer.Option(
        help="How many texts to show on which they disagree.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Write it as a page, too.", **A_PATH)] = None,
    as_json: AsJson = False,
) -> None:
    """Compare models on the same rows. Scores, where they disagree, speed and memory."""
    from ftzard import api
    from ftzard.cli import model_tables
    from ftzard.registry import compare as comparing

    place = api.open_workspace(workspace)
    comparison, *others = (place.compare(
        first, other, file=file, say=(lambda line: None) if as_json else say)
        for other in (second, *(more or ())))
    if html is not None:
        comparing.report(comparison, html, others=others)
    if as_json:
        values = [{**one.to_dict(), "verdict": one.verdict()} for one in (comparison, *others)]
        say_value({**values[0], "others": values[1:]} if others else values[0])
        return
    for one in (comparison, *others):
        show_whole(model_tables.score_table(one))
        say(one.verdict())
        for line in model_tables.rows_compared(one, examples):
            say(line)
        if examples and len(one.disagreements):
            show_whole(model_tables.disagreement_table(one, examples))
    if html is not None:
        say(f"page: {html}")


@app.command()
def export(
    model: Annotated[str, typer.Argument(
        help="champion, challenger, previous or NAME@VERSION.")],
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.", **A_PATH)],
    adapter: Annotated[bool, typer.Option("--adapter", help="As peft's adapter.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="As one model.")] = False,
    tolerance: Annotated[float | None, typer.Option(
        help="Largest difference of its logits; default: what rounding explains."
    )] = None,
    push_to: Annotated[str | None, typer.Option(
        "--push", help="A hub's repository to upload to; the token is HF_TOKEN's.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Write a model as transformers and peft load it. With its card, without FTzard."""
    from ftzard import api

    if adapter == merged:
        raise FtzardError("say what to export: --adapter or --merged.")
    done = api.open_workspace(workspace).export(
        model, folder, form="adapter" if adapter else "merged", tolerance=tolerance, push=push_to,
        say=telling(as_json))
    if as_json:
        say_value(asdict(done))
        return
    say(f"✓ {done.model} is in {done.folder}; loaded by transformers, its logits differ by at "
        f"most {done.parity['largest']:.2g} on {done.parity['rows']} texts, "
        f"{done.parity['changed']} with another {done.output}"
        + (f"; pushed to {done.url}" if done.url else ""))
