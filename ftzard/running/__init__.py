"""How runs are launched, served, watched and ended."""
