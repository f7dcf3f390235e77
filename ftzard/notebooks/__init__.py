"""The chapters: one notebook per step, and what each of them opens with."""
