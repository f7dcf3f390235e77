"""The labeling queue, and the labels that come back: as a CSV file or through Label Studio."""
