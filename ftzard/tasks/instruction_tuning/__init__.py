"""Instruction tuning: an answer is written for an instruction."""
