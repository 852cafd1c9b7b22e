raise RuntimeError("no compiler for this")
