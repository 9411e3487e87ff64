"""Networks u(s, t, x), all called with times (B,) and states (B, *shape), and the registry of their names."""
