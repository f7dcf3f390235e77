"""Label the rows that a workspace asks for, as a person would: python label.py WORKSPACE ANSWERS.

ANSWERS is a CSV file with the columns text and label.
"""

import csv
import sys

import ftzard

if __name__ == "__main__":
    folder, answers = sys.argv[1:]
    with open(answers, encoding="utf-8", newline="") as file:
        known = {row["text"]: row["label"] for row in csv.DictReader(file)}
    workspace = ftzard.open_workspace(folder)
    queue = workspace.queue()
    workspace.submit_labels({row.id: known[row.text] for row in queue.itertuples()})
    print(f"{len(queue)} rows labelled")
